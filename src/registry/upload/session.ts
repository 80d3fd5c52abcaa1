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

/** Few retries are enough: the next PATCH tells the offset as well. */
const STATUS_RETRIES = 2;

/** The limit on questions about an upload whose offset still moves. */
const MAX_STATUS_WAITS = 30;

/** The address and offset of an upload. */
export type UploadSession = {
  /** The newest address from the server: serverless-registry puts a hash of its state into every one. */
  readonly location: URL;
  /** The number of bytes at the server. */
  readonly offset: number;
};

/** A running upload. At serverless-registry its chunk size must not change after the first chunk: R2 requires equal chunks. */
export type Upload = {
  /** The current session. Replaced with every chunk, and if the server forgets it. */
  session: UploadSession;
  /** Set if the session's address comes from a note of an earlier process. */
  isRecalled?: boolean;
  chunkBytes: number;
  readonly limits: ChunkLimits;
};

/** A new upload, with the chunk limits that the server advertises. */
export type StartedUpload = UploadSession & { readonly limits: ChunkLimits };

/** POST: begins an upload. */
export async function startUpload(at: Repository, call: Call): Promise<StartedUpload> {
  const request = { method: "POST", url: uploadsUrl(at) } as const;
  return readStart(at, await exchangePersistently(at, request, [202], call));
}

/**
 * POST: asks the registry to mount a blob from another repository. If the repository lacks the blob, or the registry cannot
 * mount, an upload begins instead. Undefined if the registry refuses, for example without the right to read.
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
    // If the problem is not the mount, the upload that follows fails as well.
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
      // Send a bare range, as in the distribution spec. serverless-registry answers 416 to RFC 9110's form, and to a range
      // of one byte, which it accepts without this header. Gitea and go-containerregistry require the header.
      ...((chunk.size > 1 || !isServerlessRegistry(session)) && {
        "content-range": `${offset}-${offset + chunk.size - 1}`,
      }),
    },
    body: chunk,
    onPiece,
  };
}

/**
 * PUT: closes an upload. Sends the whole blob if the upload is empty; otherwise all bytes must have been sent. One try.
 *
 * @param stallTimeoutMs the time that the server may take once it has all bytes
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
 * GET: asks for an upload's offset until it no longer moves: a proxy may still deliver the PATCH of a broken connection.
 * Undefined if the server has forgotten the upload. Returns the session unchanged if the server fails or denies access; the
 * next PATCH then tells the offset.
 *
 * @param chunkEnd the offset after the last chunk that was sent, which the upload cannot exceed
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
    // olareg answers 400 for a forgotten upload, and go-containerregistry for every upload.
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
 * DELETE: cancels an upload, so that the server removes its parts. One try, whose failure is ignored: servers expire uploads
 * after some days.
 */
export async function cancelUpload(at: Repository, session: UploadSession, call: Call): Promise<void> {
  await exchange(at, { method: "DELETE", url: session.location }, [204], call).catch(() => undefined);
}

/** Cancels an upload of this process. Lets an upload from a note expire: the note may be forged. */
export async function giveUp(at: Repository, { session, isRecalled }: Upload, call: Call): Promise<void> {
  if (!isRecalled) await cancelUpload(at, session, call);
}

/** Reads an upload's state from a 416: serverless-registry sends the current Location and Range. */
export function sessionFromRefusal(error: unknown): UploadSession | undefined {
  if (!(error instanceof RegistryError) || error.answer.status !== 416) return undefined;
  const { headers, url } = error.answer;
  const location = headers.get("location");
  const offset = offsetAfter(headers);
  if (location === null || offset === undefined) return undefined;
  return { location: resolveLocation(location, new URL(url)), offset };
}

/** Recognizes serverless-registry: only its upload addresses have a hash of the upload's state. */
export function isServerlessRegistry({ location }: UploadSession): boolean {
  return location.searchParams.has("_stateHash");
}

/** Returns the address for the next request, which an answer may change. */
export function nextLocation({ headers, url }: Answer, session: UploadSession): URL {
  const location = headers.get("location");
  return location === null ? session.location : resolveLocation(location, url);
}

/**
 * Reads the offset after a range: `0-99` → 100. Without any byte, serverless-registry sends `0--1`, and distribution `0-0`,
 * which also means one byte. No first chunk has one byte, so `0-0` counts as none.
 */
function offsetAfter(headers: Headers): number | undefined {
  const [, last] = /^(?:bytes[= ])?0-(-1|\d{1,15})$/.exec(headers.get("range") ?? "") ?? [];
  if (last === undefined) return undefined;
  return last === "0" ? 0 : Number(last) + 1;
}

/** Appends the digest to an address, and leaves the query, often a signature, unchanged. */
function withDigest(location: URL, digest: Digest): URL {
  const { href } = Object.assign(new URL(location), { hash: "" });
  const separator = !href.includes("?") ? "?" : /[?&]$/.test(href) ? "" : "&";
  return new URL(`${href}${separator}digest=${digest}`);
}
