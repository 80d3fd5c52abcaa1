import { join } from "node:path";
import { type Fault, passAfter, unauthorized } from "../../dev/faults/fault.ts";
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import { PROFILES, type ProfileName } from "../../dev/registry/profiles.ts";
import { type StrictRegistryOptions, startStrictRegistry } from "../../dev/registry/registry.ts";
import { startTokenServer, type TokenServer } from "../../dev/token-server/token-server.ts";
import { createSelfSigned } from "../support/certificates.ts";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { pulledImage } from "../support/read-back.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { CHUNK_BYTES, type PreparedImage } from "./prepared-image.ts";

/** A registry to put behind a fault proxy. */
export type PushTarget = AsyncDisposable & {
  /** `127.0.0.1:<port>`, which a restart changes. Tokens come from elsewhere. */
  readonly upstreamHost: (kind?: RequestKind) => string;
  /** Whether an upload goes on after the answer to a PATCH was lost. */
  readonly resumes: boolean;
  /** What it refuses, besides, before a blob begins anew. */
  readonly refusedBytes?: number;
  /** Breaks every connection, and goes on from what is on the disk. */
  restart(): Promise<void>;
  /** Who may push. Undefined: everybody. */
  readonly env: Readonly<Record<string, string>> | undefined;
  /** Names the address at which clients get tokens. */
  sendForTokens(realm: string): void;
  /** What a request meets whose token has ended. */
  readonly tokensExpire: Fault;
  /** What is wanted of whoever reads. */
  readonly readerHeaders: (repository: string) => Readonly<Record<string, string>>;
};

/** A registry that asks nobody for anything. */
const OPEN = {
  env: undefined,
  sendForTokens: () => {},
  tokensExpire: passAfter("tokens expire", () => {}),
  readerHeaders: () => ({}),
};

const ME = { username: "me", password: "hush-Xq7" };
const MY_ENV = { USERNAME_REGISTRY: ME.username, REGISTRY_JWT_TOKEN: ME.password };

function readerHeaders({ issue }: TokenServer): PushTarget["readerHeaders"] {
  return (repository) => ({ authorization: `Bearer ${issue([`repository:${repository}:pull`])}` });
}

/** The registries that the strict one plays, and that put chunks together: the Rust one does not. */
export const PROFILE_NAMES = (Object.keys(PROFILES) as ProfileName[]).filter(
  (name) => name !== "container-registry",
);

/** @param profile keeps uploads as another registry does, which may begin them anew */
export async function strictTarget(profile?: ProfileName): Promise<PushTarget> {
  const { host, restart, [Symbol.asyncDispose]: dispose } = await strictRegistry({ profile });
  const resumes = profile === undefined;
  // A session that a cut has broken shows by two refusals more.
  const refusedBytes = profile === "gitea" ? 2 * CHUNK_BYTES : 0;
  return { ...OPEN, upstreamHost: host, resumes, refusedBytes, restart, [Symbol.asyncDispose]: dispose };
}

/** The strict registry with a token server beside it. */
export async function tokenTarget(): Promise<PushTarget> {
  const tokens = startTokenServer({ credentials: ME });
  const authority = { ...tokens };
  const { host, restart, [Symbol.asyncDispose]: dispose } = await strictRegistry({ tokens: authority });
  return {
    upstreamHost: (kind) => (kind === "token" ? new URL(tokens.realm).host : host()),
    resumes: true,
    restart,
    env: MY_ENV,
    sendForTokens: (realm) => {
      authority.realm = realm;
    },
    tokensExpire: passAfter("tokens expire", () => tokens.revokeAll()),
    readerHeaders: readerHeaders(tokens),
    async [Symbol.asyncDispose]() {
      await dispose();
      await tokens[Symbol.asyncDispose]();
    },
  };
}

async function strictRegistry(options: Pick<StrictRegistryOptions, "tokens" | "profile">) {
  const { path: directory, [Symbol.asyncDispose]: removeFolder } = await temporaryFolder();
  const chunks = { minChunkBytes: CHUNK_BYTES / 2, maxChunkBytes: CHUNK_BYTES };
  const start = () => startStrictRegistry({ directory, ...chunks, ...options });
  let registry = await start();
  return {
    host: () => registry.host,
    async restart() {
      await registry.stop();
      registry = await start();
    },
    async [Symbol.asyncDispose]() {
      await registry.stop();
      await removeFolder();
    },
  };
}

/** How docker-registry takes up an upload: see `dockerTarget`. */
const RESTARTS = { resumes: false, refusedBytes: CHUNK_BYTES } as const;

/**
 * The real one, which tests share: each with a repository of its own. Version 2.8 puts a signed state into every
 * `Location`, and knows of no upload that is named with an older one (404 BLOB_UPLOAD_INVALID): where a chunk
 * arrived and its answer did not, the blob has to start again. It may still be storing a part of a cut chunk when it is
 * asked for the offset, and then refuses the chunk that follows.
 */
export async function dockerTarget(): Promise<PushTarget> {
  const registry = await startDockerRegistry();
  return {
    ...OPEN,
    upstreamHost: () => registry.host,
    ...RESTARTS,
    restart: () => Promise.reject(new Error("It is shared, and not to be restarted.")),
    [Symbol.asyncDispose]: () => registry[Symbol.asyncDispose](),
  };
}

/** The real one alone, on a disk that outlives it: only its port changes. */
export async function restartingDockerTarget(): Promise<PushTarget> {
  const { path: storage, [Symbol.asyncDispose]: removeFolder } = await temporaryFolder();
  let registry = await startDockerRegistry({ storage });
  return {
    ...OPEN,
    upstreamHost: () => registry.host,
    ...RESTARTS,
    async restart() {
      await registry[Symbol.asyncDispose]();
      registry = await startDockerRegistry({ storage });
    },
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await removeFolder();
    },
  };
}

/**
 * The real one with a token server beside it. It knows tokens by their signature, and none can be ended before its time:
 * that it has ended is said in the registry's place.
 */
export async function dockerTokenTarget(): Promise<PushTarget> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const signing = await createSelfSigned(folder.path);
  const tokens = resources.use(startTokenServer({ credentials: ME, signing }));
  const certificate = join(folder.path, "self.pem");
  const registry = resources.use(await startDockerRegistry({ tokens: { ...tokens, certificate } }));
  const challenge = `Bearer realm="${tokens.realm}",service="${tokens.service}",error="invalid_token"`;
  const owned = resources.move();
  return {
    ...OPEN,
    upstreamHost: () => registry.host,
    ...RESTARTS,
    restart: () => Promise.reject(new Error("It is shared, and not to be restarted.")),
    env: MY_ENV,
    tokensExpire: { ...unauthorized(challenge), name: "tokens expire" },
    readerHeaders: readerHeaders(tokens),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** Tells what is wrong with an image in a registry. Undefined: every byte is as it was pushed. */
export async function whatDiffers(
  { upstreamHost, readerHeaders }: PushTarget,
  repository: string,
  { image }: Pick<PreparedImage, "image">,
): Promise<string | undefined> {
  const headers = {
    accept: "application/vnd.oci.image.manifest.v1+json",
    ...readerHeaders(repository),
  };
  const ask = async (path: string) => {
    const response = await fetch(`http://${upstreamHost()}/v2/${repository}/${path}`, { headers });
    if (!response.ok) throw new Error(`GET ${path} answered ${response.status}.`);
    return response.bytes();
  };
  try {
    const pulled = await pulledImage(await ask("manifests/v1"), (digest) => ask(`blobs/${digest}`));
    if (!Buffer.from(pulled.config).equals(image.config)) return "another config";
    if (pulled.diffIds.join() !== image.diffIds.join()) return "other layers";
    return undefined;
  } catch (error) {
    return String(error);
  }
}
