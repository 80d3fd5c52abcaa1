import { type ErrorCode, RegistryError } from "../../errors.ts";
import { formatBytes } from "../../format.ts";
import { bearerChallenge } from "../auth/challenge.ts";
import type { Registry } from "../registry.ts";
import type { RegistryRequest, RegistryResponse } from "./send.ts";
import { printable, quoteErrors, readSpecErrors } from "./spec-errors.ts";

/** Throws a `RegistryError` that says what to do, unless the answer has one of the wanted statuses. */
export function expectStatus(
  registry: Registry,
  request: RegistryRequest,
  response: RegistryResponse,
  ...wanted: readonly number[]
): void {
  if (wanted.includes(response.status)) return;
  const errors = readSpecErrors(response.text);
  const secrets = registry.auth.secrets();
  const { code, reason, hint } = explain(registry, request, response);
  // serverless-registry puts its whole upload state into a 416: no message, then.
  const said = response.status === 416 ? "" : quoteErrors(errors, secrets);
  const answered = `${request.method} ${response.url.origin}${response.url.pathname} answered ${response.status}`;
  throw new RegistryError(
    code,
    // A Location, and so an address, is the server's word as much as its message is.
    `${reason} ${printable(answered, secrets)}${said}.`,
    {
      status: response.status,
      specCodes: errors.map((error) => error.code),
      namedDigests: response.text.match(/sha256:[0-9a-f]{64}/g) ?? [],
      headers: response.headers,
      url: response.url.href,
    },
    hint === undefined ? {} : { hint },
  );
}

type Explanation = { readonly code: ErrorCode; readonly reason: string; readonly hint?: string };

function explain(registry: Registry, request: RegistryRequest, response: RegistryResponse): Explanation {
  const { status, text, headers } = response;
  if (status === 400 && /HTTP request (?:was sent )?to (?:an )?HTTPS/i.test(text)) {
    return {
      code: "TLS_UNEXPECTED",
      reason: `${registry.origin} expects TLS, but was spoken to in plain HTTP.`,
      hint: "Leave --insecure and INSECURE_HTTP_PUSH out, or put https:// in front of the target.",
    };
  }
  if (status === 401) return { code: "UNAUTHORIZED", ...explainUnauthorized(registry, response) };
  if (status === 403) {
    return {
      code: "DENIED",
      reason: `The registry refuses to let this user push to "${registry.repository}".`,
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
  if (status >= 300 && status < 400 && location !== null && URL.canParse(location, response.url.href)) {
    return {
      code: "REGISTRY_FAILED",
      reason: `${response.url.origin} sends elsewhere what is to be pushed.`,
      hint: `Name the place that it leads to in the target: ${new URL(location, response.url.href).origin}`,
    };
  }
  return { code: "REGISTRY_FAILED", reason: "The registry did not do what was asked." };
}

function explainUnauthorized(
  registry: Registry,
  { url, headers }: RegistryResponse,
): Omit<Explanation, "code"> {
  if (url.origin !== registry.origin) {
    return {
      reason: `${registry.origin} leads to ${url.origin}, which wants a user name and a password of its own.`,
      hint: "If that is the registry, name it in the target: credentials go to no other host than the target's.",
    };
  }
  if (registry.auth.isAnonymous) {
    return {
      reason: `${registry.origin} wants a user name and a password.`,
      hint: 'Log in with docker login, or pass them: echo "$PASSWORD" | USERNAME_REGISTRY=me bun run index.ts … (and leave SKIP_AUTH unset)',
    };
  }
  // The token was fresh, and so the user is known. Token servers leave out the rights that a user has not.
  if (bearerChallenge(headers) !== undefined) {
    return {
      reason: `${registry.origin} does not let this user push to "${registry.repository}": a new token was refused, too.`,
      hint: "Check the user's rights, and the name of the repository.",
    };
  }
  return {
    reason: `${registry.origin} does not accept this user name and password.`,
    hint: "Check USERNAME_REGISTRY, and what is piped in: a variable that is not set gives an empty password. Or log in again, where they come from docker login.",
  };
}
