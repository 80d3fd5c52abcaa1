import { type ErrorCode, RegistryError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import { bearerChallenge } from "../auth/challenge.ts";
import { explainLoginRequired, explainRefusedCredentials } from "../auth/explain-refusal.ts";
import { pullScope } from "../auth/scope.ts";
import type { Repository } from "../registry.ts";
import { type Answer, describe, type RegistryRequest } from "./send-once.ts";
import { printable, quoteErrors, readSpecErrors } from "./spec-errors.ts";

/** Throws a `RegistryError` that says what to do, unless the answer has one of the wanted statuses. */
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
  const said = status === 416 ? "" : quoteErrors(errors, secrets);
  // The address may come from a Location, and is no more to be trusted than the message.
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

function deedOf(name: string, { scopes }: RegistryRequest): string {
  if (name === "") return "do this";
  return scopes?.includes(pullScope(name)) ? `read "${name}"` : `push to "${name}"`;
}

type Explanation = { readonly code: ErrorCode; readonly reason: string; readonly hint?: string };

function explain({ registry, name }: Repository, request: RegistryRequest, answer: Answer): Explanation {
  const { status, headers, url, text } = answer;
  if (status === 400 && /HTTP request (?:was sent )?to (?:an )?HTTPS/i.test(text)) {
    return {
      code: "TLS_UNEXPECTED",
      reason: `${registry.origin} expects TLS, but was spoken to in plain HTTP.`,
      hint: "Leave --insecure and INSECURE_HTTP_PUSH out, or put https:// in front of the target.",
    };
  }
  // nginx: ssl_verify_client
  if (
    status === 400 &&
    /<title>400 (?:No required SSL certificate was sent|The SSL certificate error)/i.test(text)
  ) {
    return {
      code: "TLS_UNTRUSTED",
      reason: `${url.origin} wants a client certificate that it trusts.`,
      hint: "Name the files of the certificate and its key: --cert client.pem --key client-key.pem",
    };
  }
  if (status === 401)
    return { code: "UNAUTHORIZED", ...explainUnauthorized({ registry, name }, request, answer) };
  if (status === 403) {
    return {
      code: "DENIED",
      reason: `The registry refuses to let this user ${deedOf(name, request)}.`,
      hint: "Check the user's rights, and the name of the repository.",
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
  const location = headers.get("location");
  if (status >= 300 && status < 400 && location !== null && URL.canParse(location, url.href)) {
    return {
      code: "REGISTRY_FAILED",
      reason: `${url.origin} sends elsewhere what is to be pushed.`,
      hint: `Name the place that it leads to in the target: ${new URL(location, url).origin}`,
    };
  }
  return { code: "REGISTRY_FAILED", reason: "The registry did not do what was asked." };
}

function explainUnauthorized(
  { registry, name }: Repository,
  request: RegistryRequest,
  { url, headers }: Answer,
): Omit<Explanation, "code"> {
  if (url.origin !== registry.origin) {
    return {
      reason: `${registry.origin} leads to ${url.origin}, which wants a user name and a password of its own.`,
      hint: "If that is the registry, name it in the target: credentials go to no other host than the target's.",
    };
  }
  const credentials = registry.auth.credentials();
  if (credentials === undefined) return explainLoginRequired(registry.origin);
  // The token is fresh, so the user is known. Token servers leave out the rights that a user does not have.
  if (bearerChallenge(headers) !== undefined) {
    return {
      reason: `${registry.origin} does not let this user ${deedOf(name, request)}: a new token was refused, too.`,
      hint: "Check the user's rights, and the name of the repository.",
    };
  }
  // serverless-registry's realm is the address that was asked for. With a JWT public key it ignores passwords.
  const isServerlessRegistry = /^Basic realm="https?:\/\/[^"]*\/v2\//i.test(
    headers.get("www-authenticate") ?? "",
  );
  return explainRefusedCredentials(registry.origin, credentials, { isServerlessRegistry });
}
