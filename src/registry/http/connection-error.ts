import { messageOf, PushError } from "../../errors.ts";
import { certificateIssuer } from "./certificate-issuer.ts";

/** The codes of Bun and its TLS library for an untrusted certificate. */
const UNTRUSTED = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
]);

/** Explains in the user's terms why a request got no answer. */
export async function connectionError(cause: unknown, method: string, url: URL): Promise<PushError> {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const what = `${method} ${url.origin}${url.pathname}`;
  if (code === "ECONNREFUSED" || code === "ConnectionRefused") {
    return new PushError(
      "CONNECTION_REFUSED",
      `Cannot connect to ${url.origin}: the connection was refused.`,
      {
        hint: "Check the host and the port, and that the registry runs.",
        cause,
      },
    );
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return new PushError(
      "HOST_UNKNOWN",
      `Cannot connect to ${url.origin}: the name ${url.hostname} is not known.`,
      {
        hint: "Check the spelling of the registry, and your network.",
        cause,
      },
    );
  }
  if (UNTRUSTED.has(code)) {
    const issuer = await certificateIssuer(url);
    const authority = issuer === undefined ? "an unknown authority" : `an unknown authority, "${issuer}"`;
    return new PushError(
      "TLS_UNTRUSTED",
      `Cannot trust ${url.origin}: its certificate is from ${authority} (${code}).`,
      {
        hint: "If that is yours, your company's or Cloudflare WARP's, get its certificate and name the file: --ca-file ca.pem, or NODE_EXTRA_CA_CERTS=ca.pem. If not, somebody may be listening in.",
        cause,
      },
    );
  }
  if (code.startsWith("CERT_") || code.startsWith("ERR_TLS_CERT")) {
    return new PushError("TLS_UNTRUSTED", `Cannot trust ${url.origin}: ${messageOf(cause)} (${code}).`, {
      hint: "Check the registry's name, its certificate, and this machine's clock.",
      cause,
    });
  }
  if (code === "EPROTO" || code.includes("SSL") || code.includes("TLS")) {
    return new PushError("TLS_EXPECTED", `Cannot connect to ${url.origin}: no TLS is spoken there.`, {
      hint: 'If the registry is a plain HTTP one, say so with --insecure or "http://" in front of the target.',
      cause,
    });
  }
  // Bun adds advice for programmers.
  const reason = messageOf(cause).replace(/\s*For more information, pass `verbose.*$/s, "");
  return new PushError("CONNECTION_LOST", `The connection broke during ${what}: ${reason}`, {
    hint:
      url.protocol === "http:"
        ? "Run the same command again. If the registry expects TLS, leave --insecure out, or put https:// in front of the target."
        : "Run the same command again. If the registry is a plain HTTP one, put http:// in front of the target.",
    cause,
  });
}
