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

/** A greeting that breaks off more often is probably meant for another server. */
const GREETING_BREAKS = 2;

export type ConnectOptions = Pick<
  Registry,
  "headers" | "trust" | "proxy" | "retries" | "stallTimeoutMs" | "notes" | "onExchange"
> & {
  /** The scope of its repository, if it names one, is asked for in the greeting, so that one token serves the push. */
  readonly target: Pick<Reference, "scheme" | "host"> & { readonly repository?: string };
  readonly credentials: Credentials | undefined;
  /** Gets new ones when they end. @default they are all there are */
  readonly renewCredentials?: RenewCredentials | undefined;
  /** What is to be done there. @default "push" */
  readonly access?: "pull" | "push" | undefined;
  /** Uses plain HTTP unless the target says otherwise. */
  readonly insecure: boolean;
  /** Blobs on their way at a time. */
  readonly parallel: number;
  /** The user's chunk size. With it, the limits that earlier pushes noted are not loaded. */
  readonly chunkBytes?: number | undefined;
  /** Called with the registry's origin before anything is sent there. */
  readonly onAddressed?: (origin: string) => void;
};

/** Makes the registry of a target. Nothing is sent there yet. */
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
 * Greets the registry, so that a wrong password, a wrong port or an unknown certificate shows before any work is done.
 * A server at fault is asked again as always. One that breaks off or is silent is asked a few times only, because the
 * cause may be a mistake in the command.
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
  // 404: a registry that serves its repositories, but not this path. The first blob shows everything else.
  const onRetry: Call["onRetry"] = (retry) =>
    call.onRetry(
      isBroken(retry.error)
        ? { ...retry, attempt: breaks, retries: Math.min(GREETING_BREAKS, retry.retries) }
        : retry,
    );
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

/** Docker's rule, unless the user says otherwise. */
function schemeOf({ target, insecure }: ConnectOptions): "http" | "https" {
  return target.scheme ?? (insecure || isLoopback(new URL(`http://${target.host}`)) ? "http" : "https");
}
