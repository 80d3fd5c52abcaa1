import { PushError, RegistryError } from "../errors.ts";
import { isLoopback } from "../oci/address.ts";
import { apiHost, type Reference } from "../oci/reference.ts";
import { recallLimits } from "../store/upload-notes.ts";
import { authenticate } from "./auth/authenticate.ts";
import type { Credentials, RenewCredentials } from "./auth/credentials.ts";
import { pullScope, pushScope } from "./auth/scope.ts";
import { exchangePersistently } from "./http/send.ts";
import type { Answer } from "./http/send-once.ts";
import { isPage, quotePage } from "./http/spec-errors.ts";
import { isTransient } from "./http/transient.ts";
import type { Call, Registry } from "./registry.ts";
import { registrySlots } from "./slots.ts";
import { linkRate } from "./upload/link-rate.ts";

/** The retries of a greeting whose connection breaks: the host or port is probably wrong. */
const GREETING_BREAKS = 2;

export type ConnectOptions = Pick<
  Registry,
  "headers" | "trust" | "proxy" | "retries" | "stallTimeoutMs" | "notes" | "onExchange"
> & {
  /** The greeting asks for the scope of its repository, if it has one, so that one token serves the push. */
  readonly target: Pick<Reference, "scheme" | "host"> & { readonly repository?: string };
  readonly credentials: Credentials | undefined;
  /** Renews the credentials when they expire. @default they are not renewed */
  readonly renewCredentials?: RenewCredentials | undefined;
  /** The right that the greeting asks for. @default "push" */
  readonly access?: "pull" | "push" | undefined;
  /** Uses plain HTTP unless the target has a scheme. */
  readonly insecure: boolean;
  /** The number of concurrent uploads. */
  readonly parallel: number;
  /** The user's chunk size. With it, the limits that earlier pushes saved are not loaded. */
  readonly chunkBytes?: number | undefined;
  /** Called with the registry's origin before the first request. */
  readonly onAddressed?: (origin: string) => void;
};

/** Creates the registry of a target. Sends nothing. */
export async function registryAt(options: ConnectOptions): Promise<Registry> {
  const { target, credentials, headers, trust, proxy, retries, stallTimeoutMs, notes } = options;
  // A URL drops the default port, and writes an address in one form.
  const { origin } = new URL(`${schemeOf(options)}://${apiHost(target)}`);
  // Saved limits may be about another chunk size than the user's.
  const noted = options.chunkBytes === undefined ? await recallLimits(notes, origin) : {};
  const address = {
    origin,
    headers,
    trust,
    proxy,
    retries,
    stallTimeoutMs,
    notes,
    onExchange: options.onExchange,
    ...registrySlots(options.parallel),
    learned: {
      maxBodyBytes: noted.maxBodyBytes,
      toldBodyBytes: noted.maxBodyBytes,
      toldAtMs: noted.toldAtMs,
      wholePuts: noted.wholePuts,
      emptyPuts: noted.emptyPuts,
    },
    link: linkRate(noted.bytesPerSecond),
  };
  return { ...address, auth: authenticate(address, credentials, options.renewCredentials) };
}

/**
 * Greets the registry (GET /v2/), so that a wrong password, a wrong port or an unknown certificate fails before any work.
 * Retries failures of the server as usual, but broken connections and silence only a few times: the cause may be a mistake
 * in the command. Throws `NOT_A_REGISTRY`, and the errors of requests.
 */
export async function connect(options: ConnectOptions, call: Call): Promise<Registry> {
  const registry = await registryAt(options);
  const { origin } = registry;
  options.onAddressed?.(origin);
  const { target } = options;
  const { repository: name = "" } = target;
  const scopeOf = options.access === "pull" ? pullScope : pushScope;
  const scopes = name === "" ? [] : [scopeOf(name)];
  const request = { method: "GET", url: new URL(`${origin}/v2/`), scopes } as const;
  let breaks = 0;
  const isRetryable = (error: unknown) =>
    error instanceof RegistryError ? isTransient(error) : isBroken(error) && ++breaks <= GREETING_BREAKS;
  const onRetry: Call["onRetry"] = (retry) =>
    call.onRetry(
      isBroken(retry.error)
        ? { ...retry, attempt: breaks, retries: Math.min(GREETING_BREAKS, retry.retries) }
        : retry,
    );
  // Some registries answer 404 here, but serve their repositories. The first blob shows everything else.
  const answer = await exchangePersistently(
    { registry, name },
    request,
    [200, 404],
    { ...call, onRetry },
    isRetryable,
  );
  if (answer.status === 200 && isPage(answer)) throw notRegistry(registry, target.host, answer);
  return registry;
}

/** Registries whose website has another host. */
const REGISTRY_OF_SITE: Readonly<Record<string, string>> = {
  "hub.docker.com": "docker.io",
  "github.com": "ghcr.io",
  "gitlab.com": "registry.gitlab.com",
};

function notRegistry(registry: Registry, host: string, answer: Answer): PushError {
  const page = quotePage(answer, registry.auth.secrets());
  const other = REGISTRY_OF_SITE[host];
  return new PushError(
    "NOT_A_REGISTRY",
    `${registry.origin} is a website, not a registry: GET ${answer.url.origin}${answer.url.pathname} answered 200${page}.`,
    {
      hint:
        other === undefined
          ? "Check the host in the target: a registry often has another host than its website. A login page in front of a registry looks the same."
          : `The registry of this site is "${other}".`,
    },
  );
}

function isBroken(error: unknown): boolean {
  return error instanceof PushError && (error.code === "CONNECTION_LOST" || error.code === "STALLED");
}

/** Chooses the scheme by Docker's rule, unless the user chooses it. */
function schemeOf({ target, insecure }: ConnectOptions): "http" | "https" {
  return target.scheme ?? (insecure || isLoopback(new URL(`http://${target.host}`)) ? "http" : "https");
}
