import { z } from "zod";
import { type ErrorCode, RegistryError } from "../errors.ts";
import { formatBytes } from "../format.ts";
import type { Registry } from "./registry.ts";
import type { RegistryRequest, RegistryResponse } from "./send.ts";

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
const ERRORS = z.object({ errors: z.array(z.object({ code: z.string(), message: z.string().optional() })) });

/** Throws a `RegistryError` that says what to do, unless the answer has one of the wanted statuses. */
export function expectStatus(
  registry: Registry,
  request: RegistryRequest,
  response: RegistryResponse,
  ...wanted: readonly number[]
): void {
  if (wanted.includes(response.status)) return;
  const errors = parseErrors(response);
  const { code, reason, hint } = explain(registry, request, response);
  // serverless-registry puts its whole upload state into a 416: no message, then.
  const said =
    response.status === 416
      ? []
      : errors.map(({ code, message }) => [code, message].filter(Boolean).join(": "));
  const answered = `${request.method} ${response.url.origin}${response.url.pathname} answered ${response.status}`;
  throw new RegistryError(
    code,
    // A Location, and so an address, is the server's word as much as its message is.
    `${reason} ${printable(answered, registry)}${said.length > 0 ? ` (${printable(said.join("; "), registry)})` : ""}.`,
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
  if (status === 413) {
    const size = request.body?.size ?? 0;
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
  if (/^bearer\b/i.test(headers.get("www-authenticate") ?? "")) {
    return {
      reason: `${registry.origin} wants a token from its token server, which chunkpush cannot get yet.`,
    };
  }
  if (url.origin !== registry.origin) {
    return {
      reason: `${registry.origin} leads to ${url.origin}, which wants a user name and a password of its own.`,
      hint: "If that is the registry, name it in the target: credentials go to no other host than the target's.",
    };
  }
  if (registry.authorization === undefined) {
    return {
      reason: `${registry.origin} wants a user name and a password.`,
      hint: 'Pass them: echo "$PASSWORD" | USERNAME_REGISTRY=me bun run index.ts … (and leave SKIP_AUTH unset)',
    };
  }
  return {
    reason: `${registry.origin} does not accept this user name and password.`,
    hint: "Check USERNAME_REGISTRY, and what is piped in. An environment variable that is not set gives an empty password.",
  };
}

function parseErrors({ text }: RegistryResponse): z.infer<typeof ERRORS>["errors"] {
  try {
    return ERRORS.parse(JSON.parse(text)).errors;
  } catch {
    // A proxy's page, or nothing: the status has to do.
    return [];
  }
}

/**
 * What a server says may steer a terminal, or repeat what it was sent: only what can be printed is kept, not much of
 * it, and nothing secret.
 */
export function printable(text: string, registry: Registry): string {
  const discreet = secretsOf(registry).reduce((said, secret) => said.replaceAll(secret, "***"), text);
  return discreet.replace(/[^\x20-\x7e]+/g, " ").slice(0, 300);
}

/** What was sent to prove who pushes, in the forms in which it might come back. */
function secretsOf({ authorization = "" }: Registry): string[] {
  const token = authorization.slice(authorization.indexOf(" ") + 1);
  const password = Buffer.from(token, "base64")
    .toString("utf8")
    .replace(/^[^:]*:/, "");
  return [token, password, encodeURIComponent(password)].filter(Boolean);
}
