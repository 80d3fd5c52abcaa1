import { PushError } from "../../errors.ts";
import type { ExtraHeaders } from "./extra-headers.ts";

/**
 * Throws `UNAUTHORIZED` for an answer of Cloudflare Access in front of a registry, which redirects to a login page. If
 * followed, that page would look like a registry that answers 200.
 *
 * https://developers.cloudflare.com/cloudflare-one/identity/service-tokens/
 */
export function assertPastAccess(
  { headers, url, text }: { readonly headers: Headers; readonly url: URL; readonly text: string },
  sent: ExtraHeaders,
): void {
  const location = URL.parse(headers.get("location") ?? "", url.href);
  const isLogin =
    location?.pathname.startsWith("/cdn-cgi/access/login") === true ||
    (headers.get("content-type")?.startsWith("text/html") === true &&
      /\bcloudflareaccess\.com\b|\/cdn-cgi\/access\/|<title>[^<]*Cloudflare Access/i.test(text));
  if (!isLogin) return;
  throw Object.keys(sent).length === 0
    ? new PushError("UNAUTHORIZED", `${url.origin} is behind Cloudflare Access, which requires a login.`, {
        hint: "Create a service token there, allow it with a policy whose action is Service Auth, and set CHUNKPUSH_HEADERS to two lines: CF-Access-Client-Id: … and CF-Access-Client-Secret: …",
      })
    : new PushError(
        "UNAUTHORIZED",
        `${url.origin} is behind Cloudflare Access, which does not accept the headers that were sent.`,
        {
          hint: "Check CF-Access-Client-Id and CF-Access-Client-Secret, whether the service token has expired, and that a policy whose action is Service Auth allows it.",
        },
      );
}
