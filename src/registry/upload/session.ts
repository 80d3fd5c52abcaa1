import { setTimeout as sleep } from "node:timers/promises";
import { PushError, RegistryError } from "../../errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { pullScope, pushScope } from "../auth/scope.ts";
import type { OnPiece } from "../http/file-body.ts";
import { exchange, exchangePersistently, resolveLocation } from "../http/send.ts";
import type { Answer, RegistryRequest } from "../http/send-once.ts";
import { isTransient } from "../http/transient.ts";
import { type Call, type Repository, uploadsUrl } from "../registry.ts";
import { type ChunkLimits, readChunkLimits } from "./chunk-size.ts";

/** Few: the next PATCH tells as well where an upload stands. */
const STATUS_RETRIES = 2;

/** How often an upload that moves by itself is asked for again. */
const MAX_STATUS_WAITS = 30;

/** The place of an upload. */
export type UploadSession = {
  /** The newest address from the server: serverless-registry puts a hash of its state into every one. */
  readonly location: URL;
  /** How many bytes the server has. */
  readonly offset: number;
};

/** An upload under way. Its chunk size changes only while the server has nothing: R2 wants all chunks equal. */
export type Upload = {
  /** Moves with every chunk. Another one takes its place where the server has forgotten the first. */
  session: UploadSession;
  /** Its address comes from a note, and not from the server. */
  isRecalled?: boolean;
  chunkBytes: number;
  readonly limits: ChunkLimits;
};

/** An upload that has just begun, and what the server said about chunks. */
export type StartedUpload = UploadSession & { readonly limits: ChunkLimits };

/** POST: begins an upload. */
export async function startUpload(at: Repository, call: Call): Promise<StartedUpload> {
  const request = { method: "POST", url: uploadsUrl(at) } as const;
  return readStart(at, await exchangePersistently(at, request, [202], call));
}

/**
 * POST: asks the registry to mount a blob from another of its repositories. If that has no such blob, or the registry
 * cannot mount, an upload begins instead. Undefined if the registry refuses, for want of rights for example.
 */
export async function mountBlob(
  at: Repository,
  digest: Digest,
  fromRepository: string,
  call: Call,
): Promise<"mounted" | StartedUpload | undefined> {
  const url = uploadsUrl(at);
  url.searchParams.set("mount", digest);
  url.searchParams.set("from", fromRepository);
  const request = { method: "POST", url, scopes: [pushScope(at.name), pullScope(fromRepository)] } as const;
  try {
    const answer = await exchangePersistently(at, request, [201, 202], call);
    return answer.status === 201 ? "mounted" : readStart(at, answer);
  } catch (error) {
    if (call.signal.aborted || isTransient(error) || !(error instanceof PushError)) throw error;
    // If more is wrong than the mount, the plain upload that follows fails with it.
    return undefined;
  }
}

function readStart({ registry }: Repository, { headers, url }: Answer): StartedUpload {
  const location = headers.get("location");
  if (location === null) {
    throw new PushError(
      "REGISTRY_UNSUPPORTED",
      `${registry.origin} started an upload without an address for it (no Location header).`,
    );
  }
  return { location: resolveLocation(location, url), offset: 0, limits: readChunkLimits(headers) };
}

/** PATCH: sends the chunk that begins at the session's offset. One try. */
export async function sendChunk(
  at: Repository,
  session: UploadSession,
  chunk: Blob,
  onPiece: OnPiece,
  call: Call,
): Promise<UploadSession> {
  const request = chunkRequest(session, chunk, onPiece);
  // ECR answers 201.
  const answer = await exchange(at, request, [202, 201, 204], call);
  return { location: nextLocation(answer, session), offset: session.offset + chunk.size };
}

export function chunkRequest(session: UploadSession, chunk: Blob, onPiece: OnPiece): RegistryRequest {
  const { location, offset } = session;
  return {
    method: "PATCH",
    url: location,
    headers: {
      "content-type": "application/octet-stream",
      // Bare, as in the distribution spec: serverless-registry answers 416 to RFC 9110's form, and to a range of one
      // byte, which it takes without this header. Gitea and go-containerregistry's need it.
      ...((chunk.size > 1 || !isServerlessRegistry(session)) && {
        "content-range": `${offset}-${offset + chunk.size - 1}`,
      }),
    },
    body: chunk,
    onPiece,
  };
}

/**
 * PUT: ends an upload. With a body, that is the whole blob, and nothing may have been sent before; without one,
 * everything must have been. One try.
 *
 * @param stallTimeoutMs how long the server may take once it has all bytes
 */
export async function closeUpload(
  at: Repository,
  session: UploadSession,
  digest: Digest,
  stallTimeoutMs: number,
  call: Call,
  whole?: { readonly content: Blob; readonly onPiece: OnPiece },
): Promise<void> {
  const request = {
    method: "PUT",
    url: withDigest(session.location, digest),
    headers: { "content-type": "application/octet-stream" },
    stallTimeoutMs,
    ...(whole && { body: whole.content, onPiece: whole.onPiece }),
  } as const;
  await exchange(at, request, [201, 204], call);
}

/**
 * GET: asks where an upload stands, until it stands still: a proxy may still deliver the PATCH of a broken connection.
 * Undefined if the server has forgotten it. If the server does not say, for want of rights or because it fails at the
 * question, the session stays as it was, and the next PATCH tells.
 *
 * @param chunkEnd the offset after the chunk that was sent last. No more can come then
 */
export async function askUpload(
  at: Repository,
  session: UploadSession,
  call: Call,
  chunkEnd?: number,
): Promise<UploadSession | undefined> {
  let known = session;
  for (let waits = 0; ; waits++) {
    const current = await askOnce(at, known, call);
    const stands = current === undefined || current.offset <= known.offset || current.offset === chunkEnd;
    if (stands || waits >= MAX_STATUS_WAITS) return current;
    known = current;
    await sleep(at.registry.retries.baseDelayMs, undefined, call).catch(() => call.signal.throwIfAborted());
  }
}

async function askOnce(
  at: Repository,
  session: UploadSession,
  call: Call,
): Promise<UploadSession | undefined> {
  const request = { method: "GET", url: session.location } as const;
  let refusals = 0;
  const isRetryable = (error: unknown) =>
    isTransient(error) && (!(error instanceof RegistryError) || ++refusals <= STATUS_RETRIES);
  try {
    // 400: olareg has forgotten it, and go-containerregistry's registry tells of no upload.
    const answer = await exchangePersistently(at, request, [204, 200, 202, 400, 404], call, isRetryable);
    if (answer.status === 400 || answer.status === 404) return undefined;
    return {
      location: nextLocation(answer, session),
      offset: offsetAfter(answer.headers) ?? session.offset,
    };
  } catch (error) {
    if (error instanceof RegistryError) return session;
    throw error;
  }
}

/**
 * DELETE: cancels an upload, so that its parts do not lie about. One try, whose failure is ignored: a server forgets
 * uploads by itself after some days.
 */
export async function cancelUpload(at: Repository, session: UploadSession, call: Call): Promise<void> {
  await exchange(at, { method: "DELETE", url: session.location }, [204], call).catch(() => undefined);
}

/** Cancels an upload of this process. One that a note named expires by itself: its address is no reason to delete. */
export async function giveUp(at: Repository, { session, isRecalled }: Upload, call: Call): Promise<void> {
  if (!isRecalled) await cancelUpload(at, session, call);
}

/** Reads from a 416 where the upload stands: serverless-registry sends the current Location and Range. */
export function sessionFromRefusal(error: unknown): UploadSession | undefined {
  if (!(error instanceof RegistryError) || error.answer.status !== 416) return undefined;
  const { headers, url } = error.answer;
  const location = headers.get("location");
  const offset = offsetAfter(headers);
  if (location === null || offset === undefined) return undefined;
  return { location: resolveLocation(location, new URL(url)), offset };
}

/** Only serverless-registry's upload addresses carry a hash of the upload's state. */
export function isServerlessRegistry({ location }: UploadSession): boolean {
  return location.searchParams.has("_stateHash");
}

/** Returns the address for the next request: an answer may bring another one. */
export function nextLocation({ headers, url }: Answer, session: UploadSession): URL {
  const location = headers.get("location");
  return location === null ? session.location : resolveLocation(location, url);
}

/**
 * `Range: 0-99` → 100. Nothing stored is `0--1` for serverless-registry. It is `0-0` for distribution, for which that
 * is one byte, too; but only a last chunk can have one byte.
 */
function offsetAfter(headers: Headers): number | undefined {
  const [, last] = /^(?:bytes[= ])?0-(-1|\d{1,15})$/.exec(headers.get("range") ?? "") ?? [];
  if (last === undefined) return undefined;
  return last === "0" ? 0 : Number(last) + 1;
}

/** Appends the digest to an address. Its query, often a signature, stays as it is. */
function withDigest(location: URL, digest: Digest): URL {
  const { href } = Object.assign(new URL(location), { hash: "" });
  const separator = !href.includes("?") ? "?" : /[?&]$/.test(href) ? "" : "&";
  return new URL(`${href}${separator}digest=${digest}`);
}
