import { PushError, RegistryError } from "../errors.ts";
import { apiHost, isLoopback, type Reference } from "../oci/reference.ts";
import { type RetryPolicy, retry } from "../retry.ts";
import { recallLearned } from "../store/upload-notes.ts";
import { authenticate } from "./auth/authenticate.ts";
import type { Credentials } from "./auth/credentials.ts";
import { expectStatus } from "./http/expect-status.ts";
import { send } from "./http/send.ts";
import { isTransient, retryAfterMs } from "./http/transient.ts";
import type { Trust } from "./http/trust.ts";
import type { Registry } from "./registry.ts";
import { linkRate } from "./upload/link-rate.ts";
import { uploadSlots } from "./upload/slots.ts";

/** How often a greeting may be lost on the way before it is taken for one to somebody else. */
const GREETING_BREAKS = 2;

export type ConnectOptions = {
  readonly target: Reference;
  readonly credentials: Credentials | undefined;
  /** Plain HTTP where the target does not say otherwise. */
  readonly insecure: boolean;
  readonly trust: Trust;
  readonly retryPolicy: RetryPolicy;
  readonly stallTimeoutMs: number;
  /** Chunks on their way at a time. */
  readonly parallel: number;
  /** The user's word on the size of chunks: then what earlier pushes learned about it is not asked. */
  readonly chunkBytes?: number | undefined;
  readonly memory: Registry["memory"];
  /** Told where the registry is, before anything is sent there. */
  readonly onAddressed?: (origin: string) => void;
};

/**
 * Greets the registry, so that a wrong password, a wrong port or an unknown certificate is found out before any
 * work is done. A server that is at fault is asked again like everywhere, and one that breaks off or is silent a
 * little: that may be a mistake in the command, as whatever else goes wrong here most often is.
 */
export async function connect(options: ConnectOptions): Promise<Registry> {
  const { target, credentials, trust, retryPolicy, stallTimeoutMs } = options;
  // As requests have it: without a default port, and with an address in its one form.
  const { origin } = new URL(`${schemeOf(options)}://${apiHost(target)}`);
  options.onAddressed?.(origin);
  const { memory } = options;
  // The user's word makes a guess of it needless, and may be about another limit than the one that was met.
  const noted = options.chunkBytes === undefined ? await recallLearned({ memory, origin }) : undefined;
  const address = {
    origin,
    repository: target.repository,
    trust,
    retryPolicy,
    stallTimeoutMs,
    memory,
    slots: uploadSlots(options.parallel),
    learned: noted?.learned ?? { maxBodyBytes: undefined, wholePuts: undefined },
    link: linkRate(noted?.bytesPerSecond),
    signal: retryPolicy.signal,
  };
  const registry: Registry = { ...address, auth: authenticate(address, credentials) };
  const request = { method: "GET", url: new URL(`${registry.origin}/v2/`) } as const;
  let breaks = 0;
  const isWorthAnother = (error: unknown) =>
    error instanceof RegistryError ? isTransient(error) : isBroken(error) && ++breaks <= GREETING_BREAKS;
  await retry(retryPolicy, isWorthAnother, retryAfterMs, async () =>
    // 404: a registry that serves its repositories, but not this path. All else will show at the first blob.
    expectStatus(registry, request, await send(registry, request), 200, 404),
  );
  return registry;
}

function isBroken(error: unknown): boolean {
  return error instanceof PushError && (error.code === "CONNECTION_LOST" || error.code === "STALLED");
}

/** Docker's rule, and the user's word above it. */
function schemeOf({ target, insecure }: ConnectOptions): "http" | "https" {
  return target.scheme ?? (insecure || isLoopback(target) ? "http" : "https");
}
