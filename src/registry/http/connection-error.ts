import { type ErrorCode, messageOf, PushError, RESUME } from "../../errors.ts";
import { certificateIssuer, serverCertificate } from "./certificate-issuer.ts";
import { describeProxy, type HttpProxy } from "./proxy.ts";

/** The codes of Bun and its TLS library for a certificate from an unknown authority. */
const UNTRUSTED = new Set([
  "UNABLE_TO_VERIFY_LEAF_SIGNATURE",
  "UNABLE_TO_GET_ISSUER_CERT",
  "UNABLE_TO_GET_ISSUER_CERT_LOCALLY",
  "SELF_SIGNED_CERT_IN_CHAIN",
  "DEPTH_ZERO_SELF_SIGNED_CERT",
]);

/** Bun's codes for a failure to reach the proxy. */
const PROXY_PROBLEMS: Readonly<Record<string, string>> = {
  ECONNREFUSED: "nothing listens there",
  ConnectionRefused: "nothing listens there",
  ENOTFOUND: "its host name is unknown",
  EAI_AGAIN: "its host name is unknown",
  ERR_INVALID_ARG_VALUE: "this is not a valid address",
};

/** Creates the error for a request without a response. */
export async function connectionError(
  cause: unknown,
  method: string,
  url: URL,
  proxy?: HttpProxy,
): Promise<PushError> {
  const code = cause instanceof Error && "code" in cause ? String(cause.code) : "";
  const failure = (code: ErrorCode, message: string, hint: string) =>
    new PushError(code, message, { hint, cause });
  if (proxy !== undefined) {
    const [, refusal] = /refused to open a tunnel: (\d{3})/.exec(messageOf(cause)) ?? [];
    const problem = refusal === undefined ? PROXY_PROBLEMS[code] : refusalOf(refusal, url);
    if (problem !== undefined) return proxyError(proxy, problem, cause);
  }
  if (code === "ECONNREFUSED" || code === "ConnectionRefused") {
    return failure(
      "CONNECTION_REFUSED",
      `Cannot connect to ${url.origin}: the connection was refused.`,
      "Check the host and the port, and that the registry is running.",
    );
  }
  if (code === "ENOTFOUND" || code === "EAI_AGAIN") {
    return failure(
      "HOST_UNKNOWN",
      `Cannot connect to ${url.origin}: the host name "${url.hostname}" is unknown.`,
      "Check the spelling of the registry and your network connection.",
    );
  }
  if (UNTRUSTED.has(code)) {
    const issuer = await certificateIssuer(url);
    const authority = issuer === undefined ? "an unknown authority" : `an unknown authority, "${issuer}"`;
    return failure(
      "TLS_UNTRUSTED",
      `Cannot trust ${url.origin}: its certificate is from ${authority} (${code}).`,
      "If this is your own authority, your company's or Cloudflare WARP's, save its certificate as a PEM file and add --ca-file ca.pem (or set NODE_EXTRA_CA_CERTS=ca.pem). If not, the traffic may be intercepted.",
    );
  }
  if (code.startsWith("CERT_") || code.startsWith("ERR_TLS_CERT")) {
    const { problem, hint } = await certificateProblem(code, url);
    return failure("TLS_UNTRUSTED", `Cannot trust ${url.origin}: ${problem} (${code}).`, hint);
  }
  if (code === "EPROTO" || code.includes("SSL") || code.includes("TLS")) {
    return failure(
      "TLS_UNSUPPORTED",
      `Cannot connect to ${url.origin}: the server does not use TLS.`,
      'For a plain HTTP registry, add --insecure or put "http://" in front of the target. If the server requires a client certificate, add --cert and --key.',
    );
  }
  // Bun appends advice for programmers.
  const reason = messageOf(cause).replace(/\s*For more information, pass `verbose.*$/s, "");
  return failure(
    "CONNECTION_LOST",
    `The connection broke during ${method} ${url.origin}${url.pathname}: ${reason}`,
    url.protocol === "http:"
      ? `${RESUME} If the registry requires HTTPS, leave out --insecure, or put https:// in front of the target.`
      : `${RESUME} If this is a plain HTTP registry, put http:// in front of the target.`,
  );
}

/** Creates the error for a proxy that cannot be used. */
export function proxyError(proxy: HttpProxy, problem: string, cause?: unknown): PushError {
  return new PushError("PROXY_FAILED", `Cannot use the proxy in ${describeProxy(proxy)}: ${problem}.`, {
    hint: `Correct ${proxy.name}, such as ${proxy.name}=http://USER:PASSWORD@proxy.example.com:3128, or connect without a proxy: add the registry's host to NO_PROXY.`,
    cause,
  });
}

function refusalOf(status: string, { hostname }: URL): string {
  if (status === "407") return "it requires a login, or does not accept this one (407)";
  return `it refused to connect to "${hostname}" (${status})`;
}

/** Describes the problem of a certificate whose authority is trusted. */
async function certificateProblem(code: string, url: URL) {
  const certificate = await serverCertificate(url);
  if (code === "ERR_TLS_CERT_ALTNAME_INVALID") {
    const names = (certificate?.names ?? []).slice(0, 5).map((name) => `"${name}"`);
    const others = names.length === 0 ? "another name" : names.join(", ");
    return {
      problem: `its certificate is for ${others}, not for "${url.hostname}"`,
      hint: "Use the name of the certificate in the target, or install a certificate for this name at the registry.",
    };
  }
  const day = certificate?.validTo.toISOString().slice(0, 10);
  const problems: Readonly<Record<string, string>> = {
    CERT_HAS_EXPIRED: `its certificate expired${day === undefined ? "" : ` on ${day}`}`,
    CERT_NOT_YET_VALID: "its certificate is not valid yet",
  };
  return {
    problem: problems[code] ?? "its certificate is not valid",
    hint: "Check this machine's clock. If it is right, the registry needs a new certificate.",
  };
}
