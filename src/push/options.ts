import { PushError } from "../errors.ts";
import { DEFAULT_COMPRESSION, type LayerCompression } from "../oci/compression.ts";
import type { Digest } from "../oci/digest.ts";
import { canonicalPlatform } from "../oci/platform.ts";
import { parseReference, type Reference } from "../oci/reference.ts";
import type { Credentials, RenewCredentials } from "../registry/auth/credentials.ts";
import { checkHeaders } from "../registry/http/extra-headers.ts";
import type { HttpProxy } from "../registry/http/proxy.ts";
import type { ClientCertificate } from "../registry/http/trust.ts";
import type { ImageName } from "../registry/known-images.ts";
import type { Report } from "../report/events.ts";
import type { Runtime } from "../source/engine/engine.ts";
import type { SourceStream } from "../source/transport.ts";

export type { SourceStream };

/** Credentials and their origin. */
export type PushLogin = {
  readonly credentials: Credentials;
  /** The place of a saved login, for messages: `~/.docker/config.json`. Undefined if the caller supplied them. */
  readonly from?: string | undefined;
  /**
   * Returns new credentials when the registry, or its token server, no longer accepts those that it has accepted before. The
   * push fails if it returns undefined or the same ones.
   */
  readonly renew?: RenewCredentials | undefined;
};

/** The options of a push. A push reads neither standard input nor other variables. */
export type PushOptions = {
  /**
   * The path of an archive or a folder, an engine's image such as `my/app:v1`, an image at a registry such as
   * `docker://ghcr.io/x/y:v1`, or a stream with an archive.
   */
  readonly source: string | SourceStream;
  /** Such as `registry.example.com/my/app:v1`. The tag defaults to `latest`. Several targets are pushed to in their order. */
  readonly target: string | Reference | readonly (string | Reference)[];
  /**
   * Credentials for the registry of the first target, or a function that returns those for each target. Undefined for an
   * anonymous push.
   */
  readonly login?: PushLogin | ((target: Reference) => Promise<PushLogin | undefined>) | undefined;
  /**
   * Headers for a gate in front of the first target's registry, by name. Only its own origin gets them, and they are kept as
   * secret as a password. Headers that chunkpush sets itself are refused.
   */
  readonly headers?: Readonly<Record<string, string>>;
  /** Uses plain HTTP to the first target's registry, unless the target has a scheme. Loopback registries use it anyway. @default false */
  readonly insecure?: boolean;
  /** PEM files with additional certificate authorities to trust. */
  readonly caFiles?: readonly string[];
  /** Accepts any certificate of the first target's registry. Other hosts are verified. @default false */
  readonly skipVerify?: boolean;
  /** The client certificate for the origin of the first target's registry (mutual TLS). @default none */
  readonly clientCertificate?: ClientCertificate | undefined;
  /** Returns the HTTP proxy for a request: its address, or its address and the name of its setting. @default none */
  readonly proxy?: (url: URL) => string | HttpProxy | undefined;
  /** The number of concurrent uploads. @default 3 */
  readonly parallel?: number;
  /** The retries of a failed request. Progress resets the count. @default 8 */
  readonly retries?: number;
  /** The wait before the first retry, in milliseconds. It doubles from one retry to the next, up to 30 s. @default 1000 */
  readonly retryDelayMs?: number;
  /** The chunk size in bytes, which the registry's limit caps. @default adapts to the link's speed */
  readonly chunkBytes?: number | undefined;
  /** The compression of layers that come uncompressed. @default gzip, level 1 */
  readonly compression?: LayerCompression;
  /** A request fails after this long without a byte moved, in milliseconds. @default 60000 */
  readonly stallTimeoutMs?: number;
  /** Tries blobs over 5 GiB at serverless-registry, where they are known to fail. @default false */
  readonly allowOversize?: boolean;
  /** The engine to ask. @default the first of docker, podman and nerdctl that has the image */
  readonly runtime?: Runtime | undefined;
  /** The image to push of the source, by its name there or a digest. @default the one whose name fits the target */
  readonly image?: string | undefined;
  /**
   * The platforms to push of an index, such as `linux/arm64`: one is pushed as an image, several as an index. @default all
   */
  readonly platforms?: readonly string[];
  /** Fails if the source lacks a platform of the index. @default false */
  readonly allPlatforms?: boolean;
  /** Asks the user to choose one of several images. Returns its index, or undefined to fail. The signal ends the question. @default the push fails */
  readonly choose?:
    | ((choices: readonly string[], signal: AbortSignal) => Promise<number | undefined>)
    | undefined;
  /**
   * Set for a source that the user has not named. If it is old and has another name than the targets, or if an engine has a
   * newer image of the target's name, `warn` reports it during the push; a function is called before the push, and resolves
   * whether to push it. @default it is not checked
   */
  readonly onStale?: "warn" | ((signal: AbortSignal) => Promise<boolean>) | undefined;
  /** Recompresses layers that are compressed in the source. This changes the digests of manifests. @default false */
  readonly forceCompression?: boolean;
  /** Images at the first target's registry whose layers are reused. */
  readonly cacheFrom?: readonly ImageName[];
  /** The folder that keeps compressed layers for the next push. @default ".cache" */
  readonly cacheDirectory?: string;
  /** User IDs whose files in the cache are used, besides those of this user and of root. @default none */
  readonly cacheOwners?: readonly number[];
  /** Environment variables of the docker command: PATH, DOCKER_HOST and the like. @default those of the process */
  readonly engineEnvironment?: Readonly<Record<string, string | undefined>>;
  /**
   * A command line that starts chunkpush to read the storage of rootless Podman in Podman's user namespace. @default Podman
   * saves the image
   */
  readonly storageReader?: readonly string[] | undefined;
  /** Called with every event. */
  readonly report?: Report;
  /** Ends the push, but gives running chunks some seconds to end. */
  readonly stop?: AbortSignal;
  /** Ends the push at once. The next push resumes from the bytes at the registry and in the cache. */
  readonly signal?: AbortSignal;
};

/** The result of a push. */
export type Pushed = {
  /** `registry.example.com/my/app:v1` */
  readonly reference: string;
  /** The digest of the manifest or index. */
  readonly digest: Digest;
  readonly sentBytes: number;
  /** Bytes that the registry already had. */
  readonly presentBytes: number;
  /** The results for the other targets, in their order, if there are several. */
  readonly others?: readonly Omit<Pushed, "others">[];
};

/** The default options. */
export const DEFAULTS = {
  headers: {},
  insecure: false,
  caFiles: [],
  skipVerify: false,
  clientCertificate: undefined,
  proxy: () => undefined,
  parallel: 3,
  retries: 8,
  retryDelayMs: 1000,
  chunkBytes: undefined,
  compression: DEFAULT_COMPRESSION,
  stallTimeoutMs: 60_000,
  allowOversize: false,
  runtime: undefined,
  image: undefined,
  platforms: [],
  allPlatforms: false,
  choose: undefined,
  onStale: undefined,
  forceCompression: false,
  cacheFrom: [],
  cacheDirectory: ".cache",
  cacheOwners: [],
  engineEnvironment: {},
  storageReader: undefined,
  report: () => {},
} as const satisfies Partial<PushOptions>;

export type CompleteOptions = Required<Omit<PushOptions, "target" | "login" | "signal" | "stop">> & {
  /** The target that is pushed to now. */
  readonly target: Reference;
  readonly targets: readonly Reference[];
};

const LEAST = [
  ["parallel", 1],
  ["retries", 0],
  ["retryDelayMs", 1],
  ["chunkBytes", 1],
  ["stallTimeoutMs", 1],
] as const;

/** Applies the defaults, and checks the numbers. Throws `REFERENCE_INVALID` and `USAGE`. */
export function completeOptions(options: PushOptions): CompleteOptions {
  const targets = [options.target]
    .flat()
    .map((each) => (typeof each === "string" ? parseReference(each) : each));
  const [target] = targets;
  if (target === undefined) throw new PushError("USAGE", "The list of targets is empty.");
  // Treat undefined as unset: callers pass their own optional settings on.
  const isGiven = ([, value]: [string, unknown]) => value !== undefined;
  const given = Object.fromEntries(Object.entries(options).filter(isGiven)) as typeof options;
  const complete = {
    ...DEFAULTS,
    ...given,
    target,
    targets,
    platforms: (given.platforms ?? []).map(canonicalPlatform),
    headers: checkHeaders(options.headers ?? {}),
  };
  for (const [name, least] of LEAST) {
    const value: number | undefined = complete[name];
    if (value !== undefined && !(Number.isSafeInteger(value) && value >= least))
      throw new PushError(
        "USAGE",
        `The option "${name}" is ${value} (expected a whole number from ${least} on).`,
      );
  }
  return complete;
}
