import { type ErrorCode, RESUME, RegistryError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import { bearerChallenge } from "../auth/challenge.ts";
import { explainLoginRequired, explainRefusedCredentials } from "../auth/explain-refusal.ts";
import { pullScope } from "../auth/scope.ts";
import type { Repository } from "../registry.ts";
import { type Answer, describe, type RegistryRequest } from "./send-once.ts";
import { isPage, printable, quoteErrors, quotePage, readSpecErrors } from "./spec-errors.ts";

/** Throws a `RegistryError` with advice unless the answer has one of the wanted statuses. */
export function expectStatus(
  at: Repository,
  request: RegistryRequest,
  answer: Answer,
  wanted: readonly number[],
): void {
  const { status, headers, url, text } = answer;
  if (wanted.includes(status)) return;
  const errors = readSpecErrors(text);
  const secrets = at.registry.auth.secrets();
  const { code, reason, ...advice } = explain(at, request, answer);
  // serverless-registry puts its whole upload state into the message of a 416.
  const said = status === 416 ? "" : quoteErrors(errors, secrets) || quotePage(answer, secrets);
  // The address may come from a Location, so it is as untrusted as the message.
  const answered = printable(`${describe({ method: request.method, url })} answered ${status}`, secrets);
  throw new RegistryError(
    code,
    `${reason} ${answered}${said}.`,
    {
      status,
      specCodes: errors.map((error) => error.code),
      namedDigests: text.match(/sha256:[0-9a-f]{64}/g) ?? [],
      headers,
      url: url.href,
    },
    advice,
  );
}

function actionOf(name: string, { scopes }: RegistryRequest): string {
  if (name === "") return "do this";
  return scopes?.includes(pullScope(name)) ? `read "${name}"` : `push to "${name}"`;
}

type Explanation = { readonly code: ErrorCode; readonly reason: string; readonly hint?: string };

function explain({ registry, name }: Repository, request: RegistryRequest, answer: Answer): Explanation {
  const { status, url, text } = answer;
  if (status === 400 && /HTTP request (?:was sent )?to (?:an )?HTTPS/i.test(text)) {
    return {
      code: "TLS_REQUIRED",
      reason: `${registry.origin} requires HTTPS, but was asked over plain HTTP.`,
      hint: "Leave out --insecure and INSECURE_HTTP_PUSH, or put https:// in front of the target.",
    };
  }
  // nginx answers so with ssl_verify_client.
  if (
    status === 400 &&
    /<title>400 (?:No required SSL certificate was sent|The SSL certificate error)/i.test(text)
  ) {
    return {
      code: "TLS_CLIENT_CERTIFICATE",
      reason: `${url.origin} requires a client certificate that it trusts.`,
      hint: "Name the files of the certificate and its key: --cert client.pem --key client-key.pem",
    };
  }
  if (status === 401)
    return { code: "UNAUTHORIZED", ...explainUnauthorized({ registry, name }, request, answer) };
  if (status === 403 && isPage(answer)) {
    return {
      code: "DENIED",
      reason: `${url.origin} refuses this request with a web page, as firewalls do.`,
      hint: "Ask the operator of the firewall or proxy in front of the registry to allow this machine.",
    };
  }
  if (status === 403) {
    return {
      code: "DENIED",
      reason: `The registry refuses to let this user ${actionOf(name, request)}.`,
      hint: "Check the user's rights and the name of the repository.",
    };
  }
  const size = request.body?.size ?? 0;
  if (status === 413 && size > 0) {
    return {
      code: "BODY_TOO_LARGE",
      reason: `The registry, or a proxy in front of it, refuses a body of ${formatBytes(size)}.`,
      hint: `Send smaller chunks: --chunk-size ${Math.max(1, Math.floor(size / 2_000_000))}MB`,
    };
  }
  return explainRest(name, request, answer);
}

function explainRest(
  name: string,
  request: RegistryRequest,
  { status, headers, url, text }: Answer,
): Explanation {
  const codes = readSpecErrors(text).map(({ code }) => code);
  const location = headers.get("location");
  if (status >= 300 && status < 400 && location !== null && URL.canParse(location, url.href)) {
    return {
      code: "REDIRECT_REFUSED",
      reason: `${url.origin} redirects uploads to another address.`,
      hint: `Name that one in the target: ${new URL(location, url).origin}`,
    };
  }
  // A POST begins an upload. A registry without the repository answers with a code.
  const isUnknown = request.method === "POST" && (status === 404 || status === 405 || status < 300);
  if (isUnknown && codes.length === 0) {
    return {
      code: "NOT_A_REGISTRY",
      reason: `${url.origin} does not accept images.`,
      hint: "Check the registry's host and port. If they are right, the repository may have to be created first.",
    };
  }
  if (status === 429) {
    return {
      code: "RATE_LIMITED",
      reason: "The registry limits the rate of requests.",
      hint: "Run the same command again later; it resumes.",
    };
  }
  if (codes.includes("NAME_UNKNOWN")) {
    return {
      code: "REGISTRY_REFUSED",
      reason: `The registry does not have the repository "${name}".`,
      hint: "Check its name. At this registry it may have to be created first.",
    };
  }
  if (status >= 500) {
    return {
      code: "REGISTRY_FAILED",
      reason: "The registry failed.",
      hint: `${RESUME} If it fails again, the registry's log says why.`,
    };
  }
  const code = status >= 400 ? "REGISTRY_REFUSED" : "REGISTRY_UNSUPPORTED";
  return { code, reason: "Unexpected response from the registry:" };
}

function explainUnauthorized(
  { registry, name }: Repository,
  request: RegistryRequest,
  { url, headers }: Answer,
): Omit<Explanation, "code"> {
  if (url.origin !== registry.origin) {
    return {
      reason: `${registry.origin} leads to ${url.origin}, which requires a user name and a password of its own.`,
      hint: "If that is the registry, name it in the target: credentials are only sent to the target's host.",
    };
  }
  const credentials = registry.auth.credentials();
  if (credentials === undefined) return explainLoginRequired(registry.origin);
  // The token is new, so the user is known. Token servers leave out rights that the user does not have.
  if (bearerChallenge(headers) !== undefined) {
    return {
      reason: `${registry.origin} does not let this user ${actionOf(name, request)}: a new token was refused as well.`,
      hint: "Check the user's rights and the name of the repository.",
    };
  }
  // serverless-registry's realm is the requested address. With a JWT public key it ignores passwords.
  const isServerlessRegistry = /^Basic realm="https?:\/\/[^"]*\/v2\//i.test(
    headers.get("www-authenticate") ?? "",
  );
  return explainRefusedCredentials(registry.origin, credentials, { isServerlessRegistry });
}
