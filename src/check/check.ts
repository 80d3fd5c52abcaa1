import { type Credentials, type RenewCredentials, usernameOf } from "../registry/auth/credentials.ts";
import { type ConnectOptions, registryAt } from "../registry/connect.ts";
import { proxyOf } from "../registry/http/send-once.ts";
import { type ClientCertificate, readTrust } from "../registry/http/trust.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import type { Call } from "../registry/registry.ts";
import { checkClock, checkRegistryApi, checkTls, greet } from "./greet.ts";
import { checkLargestBody } from "./largest-body.ts";
import { checkName, checkProxy, checkTcp } from "./reach.ts";
import { checkChunks, checkLogin, checkPush, checkResume } from "./rights.ts";
import { type OnStep, type Step, type StepName, stepRunner } from "./steps.ts";
import { cancelTrial, type TrialUpload } from "./trial-upload.ts";

export type CheckOptions = Pick<
  ConnectOptions,
  "target" | "headers" | "insecure" | "chunkBytes" | "proxy" | "stallTimeoutMs"
> & {
  readonly caFiles: readonly string[];
  readonly skipVerify: boolean;
  readonly clientCertificate: ClientCertificate | undefined;
  /** Rejects with a `PushError` if the credentials cannot be read. Undefined: anonymous. */
  readonly login: Promise<
    | {
        readonly credentials: Credentials;
        readonly from?: string | undefined;
        readonly renew?: RenewCredentials | undefined;
      }
    | undefined
  >;
  /** The cache folder, with the notes of earlier pushes. A check only reads them. */
  readonly cacheDirectory: string;
  readonly cacheOwners: readonly number[];
  /** The size from which the search for the largest body starts. Undefined: no search. */
  readonly uploadBytes: number | undefined;
  readonly environment: Readonly<Record<string, string | undefined>>;
};

export type Checked = {
  readonly origin: string;
  /** Whether no step failed: a push can work. */
  readonly ready: boolean;
  readonly steps: readonly Step[];
};

/** Few: a check shows the present state, and can be run again. */
const RETRIES = { count: 1, baseDelayMs: 500 };

/** Replaces a longer stall timeout. */
const MAX_STALL_MS = 10_000;

async function connectOptions(options: CheckOptions) {
  const { caFiles, skipVerify, clientCertificate, cacheDirectory, cacheOwners, stallTimeoutMs } = options;
  return {
    ...options,
    trust: await readTrust({ caFiles, skipVerify, clientCertificate }),
    retries: RETRIES,
    parallel: 1,
    stallTimeoutMs: Math.min(stallTimeoutMs, MAX_STALL_MS),
    notes: { directory: cacheDirectory, owners: cacheOwners },
  };
}

/**
 * Connects to a registry step by step, as a push does, and reports each step. Writes nothing on this machine, and cancels
 * the uploads that it begins at the registry. Throws `USAGE` and `FILE_FAILED` for unusable options, and the signal's
 * reason.
 */
export async function checkRegistry(
  options: CheckOptions,
  onStep: OnStep,
  signal: AbortSignal,
): Promise<Checked> {
  const call: Call = { signal, onRetry: () => {} };
  // It may reject before the step "Login" awaits it.
  options.login.catch(() => undefined);
  const connecting = await connectOptions(options);
  const stranger = await registryAt({ ...connecting, credentials: undefined });
  const url = new URL(stranger.origin);
  const { repository = "" } = options.target;
  const runner = stepRunner(onStep, signal);
  const after = (needed: StepName) => {
    if (runner.passed(needed)) return undefined;
    const failed = runner.steps.find(({ state }) => state === "failed");
    return `not checked, because of ${failed?.step ?? needed}`;
  };

  // These steps have time limits of their own, which an interrupt does not wait for.
  const soon = <T>(work: Promise<T>) => unlessAborted(work, signal);
  const proxied = checkProxy(url, options.environment);
  const proxy = URL.parse(proxyOf(options, url)?.address ?? "") ?? undefined;
  if (proxied !== undefined) runner.end("Proxy", proxied);
  await runner.take("Name", proxied && after("Proxy"), () => soon(checkName(url, proxy)));
  await runner.take("TCP", after("Name"), () => soon(checkTcp(url, proxy)));
  const greeting = runner.passed("TCP") ? greet(stranger, call) : Promise.reject(new Error("Not reached."));
  greeting.catch(() => undefined);
  await runner.take("TLS", after("TCP"), () => soon(checkTls(stranger, greeting, proxy)));
  await runner.take("Registry", after("TLS"), async () => checkRegistryApi(stranger, await greeting, call));
  const registry = await runner.take("Login", after("Registry"), async () => {
    const login = await options.login;
    const known = await registryAt({
      ...connecting,
      credentials: login?.credentials,
      renewCredentials: login?.renew,
    });
    const who = { username: login && usernameOf(login.credentials), from: login?.from };
    return { ...(await checkLogin(known, repository, who, call)), value: known };
  });
  const at = { registry: registry ?? stranger, name: repository };
  const noPush =
    after("Login") ?? (repository === "" ? "not checked, because no repository was named" : undefined);
  const upload = await runner.take("Push", noPush, () => checkPush(at, call));
  const noUpload = noPush ?? after("Push");
  try {
    // Without an upload, `noUpload` skips both steps.
    const begun = upload as TrialUpload;
    await runner.take("Chunks", noUpload, async () =>
      checkChunks(at.registry, begun.limits, options.chunkBytes),
    );
    await runner.take("Resume", noUpload, () => checkResume(at, begun, call));
  } finally {
    if (upload !== undefined) await cancelTrial(at, upload, call);
  }
  const { uploadBytes } = options;
  if (uploadBytes !== undefined)
    await runner.take("Body", noUpload, () =>
      checkLargestBody(at, Math.min(uploadBytes, upload?.limits.maxBytes ?? uploadBytes), call),
    );
  await runner.take("Clock", after("Registry"), async () => checkClock(await greeting));
  const ready = !runner.steps.some(({ state }) => state === "failed");
  return { origin: stranger.origin, ready, steps: runner.steps };
}
