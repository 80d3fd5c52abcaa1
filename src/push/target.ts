import { isLoopback } from "../oci/address.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import { usernameOf } from "../registry/auth/credentials.ts";
import { type ConnectOptions, connect } from "../registry/connect.ts";
import { readTrust } from "../registry/http/trust.ts";
import type { Call, Exchange, Registry, Repository } from "../registry/registry.ts";
import type { BlobId } from "../report/events.ts";
import { parseSource } from "../source/transport.ts";
import type { LayerCache } from "../store/layers.ts";
import { callOf, type Job } from "./job.ts";
import type { CompleteOptions, PushLogin, SourceStream } from "./options.ts";
import { requestEvent } from "./request-event.ts";

/** A blob that the registry has, and how it got there. */
export type Brought = { readonly descriptor: Descriptor; readonly how: "present" | "mounted" | "sent" };

/** A repository, and this push's uploads to it. */
export type Target = {
  readonly at: Repository;
  /** Repositories of the same registry that may have blobs. */
  readonly mountFrom: readonly string[];
  /** Finished and running uploads, by digest. */
  readonly brought: Map<Digest, { readonly id: BlobId; readonly upload: Promise<Brought> }>;
};

/** A target, and the job for it. */
export type ConnectedTarget = { readonly target: Target; readonly job: Job };

/** Connects to all targets. Tags of one repository share its target. Throws the errors of `connectTarget` and `Job.at`. */
export async function connectTargets(job: Job): Promise<ConnectedTarget[]> {
  const repositories = new Map<string, ConnectedTarget>();
  const all: ConnectedTarget[] = [];
  for (const reference of job.options.targets) {
    const name = `${reference.host}/${reference.repository}`;
    const known = repositories.get(name);
    const own = await job.at(reference, known?.job.login);
    const connected = { target: known?.target ?? (await connectTarget(own)), job: own };
    repositories.set(name, connected);
    all.push(connected);
  }
  return all;
}

/** Connects to the target's registry. Throws the errors of `connectRegistry`. */
export async function connectTarget(job: Job): Promise<Target> {
  const { options, login, cache, count } = job;
  const { target, source, cacheFrom } = options;
  const registry = await connectRegistry({ ...options, login }, cache, callOf(job), ({ bodyBytes }) => {
    if (bodyBytes > 0) count.bodies++;
    count.largestBytes = Math.max(count.largestBytes, bodyBytes);
  });
  const from = registryReference(source);
  const mountFrom = [...cacheFrom, ...(from?.host === target.host ? [from] : [])];
  return {
    at: { registry, name: target.repository },
    mountFrom: mountFrom.map(({ repository }) => repository),
    brought: new Map(),
  };
}

export type RegistryOptions = Pick<
  CompleteOptions,
  | "headers"
  | "caFiles"
  | "skipVerify"
  | "clientCertificate"
  | "retries"
  | "retryDelayMs"
  | "insecure"
  | "parallel"
  | "chunkBytes"
  | "stallTimeoutMs"
  | "proxy"
  | "report"
> &
  Pick<ConnectOptions, "target" | "access"> & { readonly login: PushLogin | undefined };

/** Returns the reference of a source at a registry. Undefined for other sources. Throws `REFERENCE_INVALID` and `USAGE`. */
export function registryReference(source: string | SourceStream): Reference | undefined {
  if (typeof source !== "string") return undefined;
  const place = parseSource(source);
  return place.kind === "registry" ? parseReference(place.reference) : undefined;
}

/** Connects to a registry, and checks the credentials. Throws the errors of `connect` and `readTrust`. */
export async function connectRegistry(
  options: RegistryOptions,
  cache: LayerCache,
  call: Call,
  onExchange: (exchange: Exchange) => void = () => {},
): Promise<Registry> {
  const { login, report, headers, caFiles, skipVerify, clientCertificate } = options;
  let isTold = false;
  return connect(
    {
      ...options,
      credentials: login?.credentials,
      renewCredentials: login?.renew,
      trust: await readTrust({ caFiles, skipVerify, clientCertificate }),
      retries: { count: options.retries, baseDelayMs: options.retryDelayMs },
      notes: {
        ...cache,
        // If one note fails, all will fail: report it once.
        onFailure(reason) {
          const { directory } = cache;
          if (!isTold) report({ type: "notice", code: "PROGRESS_NOT_SAVED", directory, reason });
          isTold = true;
        },
      },
      onExchange(exchange) {
        onExchange(exchange);
        report(requestEvent(exchange));
      },
      onAddressed: (origin) =>
        report({
          type: "registry",
          isSource: options.access === "pull",
          origin,
          username: login && usernameOf(login.credentials),
          credentialsFrom: login?.from,
          isExposed:
            (login !== undefined || Object.keys(headers).length > 0) &&
            origin.startsWith("http:") &&
            !isLoopback(new URL(origin)),
          isUnverified: skipVerify && origin.startsWith("https:"),
        }),
    },
    call,
  );
}
