import { type ErrorCode, messageOf, PushError } from "../../errors.ts";
import { certificateIssuer } from "./certificate-issuer.ts";

/** Codes of Bun and its TLS library for a certificate from an unknown authority. */
const UNTRUSTED = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
]);

/** Explains why a request got no response. */
export async function connectionError(cause: unknown, method: string, url: URL): Promise<PushError> {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const failure = (code: ErrorCode, message: string, hint: string) =>
    new PushError(code, message, { hint, cause });
  if (code === "ECONNREFUSED" || code === "ConnectionRefused") {
    return failure(
      "CONNECTION_REFUSED",
      `Cannot connect to ${url.origin}: the connection was refused.`,
      "Check the host and the port, and that the registry runs.",
    );
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return failure(
      "HOST_UNKNOWN",
      `Cannot connect to ${url.origin}: the name ${url.hostname} is not known.`,
      "Check the spelling of the registry, and your network.",
    );
  }
  if (UNTRUSTED.has(code)) {
    const issuer = await certificateIssuer(url);
    const authority = issuer === undefined ? "an unknown authority" : `an unknown authority, "${issuer}"`;
    return failure(
      "TLS_UNTRUSTED",
      `Cannot trust ${url.origin}: its certificate is from ${authority} (${code}).`,
      "If that is yours, your company's or Cloudflare WARP's, get its certificate and name the file: --ca-file ca.pem, or NODE_EXTRA_CA_CERTS=ca.pem. If not, somebody may be listening in.",
    );
  }
  if (code.startsWith("CERT_") || code.startsWith("ERR_TLS_CERT")) {
    return failure(
      "TLS_UNTRUSTED",
      `Cannot trust ${url.origin}: ${messageOf(cause)} (${code}).`,
      "Check the registry's name, its certificate, and this machine's clock.",
    );
  }
  if (code === "EPROTO" || code.includes("SSL") || code.includes("TLS")) {
    return failure(
      "TLS_EXPECTED",
      `Cannot connect to ${url.origin}: no TLS is spoken there.`,
      'If the registry is a plain HTTP one, say so with --insecure or "http://" in front of the target. If it asks for a client certificate, name it with --cert and --key.',
    );
  }
  // Bun appends advice for programmers.
  const reason = messageOf(cause).replace(/\s*For more information, pass `verbose.*$/s, "");
  return failure(
    "CONNECTION_LOST",
    `The connection broke during ${method} ${url.origin}${url.pathname}: ${reason}`,
    url.protocol === "http:"
      ? "Run the same command again. If the registry expects TLS, leave --insecure out, or put https:// in front of the target."
      : "Run the same command again. If the registry is a plain HTTP one, put http:// in front of the target.",
  );
}
