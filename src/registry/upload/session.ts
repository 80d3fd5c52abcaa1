import { PushError, RegistryError } from "../../errors.ts";
import type { Digest } from "../../oci/digest.ts";
import { retry } from "../../retry.ts";
import { expectStatus } from "../http/expect-status.ts";
import type { OnPiece } from "../http/file-body.ts";
import { type RegistryResponse, resolveLocation, send, sendPersistently } from "../http/send.ts";
import { isTransient, retryAfterMs } from "../http/transient.ts";
import { type Registry, uploadsUrl } from "../registry.ts";
import { type ChunkLimits, readChunkLimits } from "./chunk-size.ts";

/** A server that answers, but fails at the question, is not asked more often: the next PATCH tells as well. */
const STATUS_RETRIES = 2;

/** Where an upload stands. */
export type UploadSession = {
  /** The newest that the server gave: serverless-registry puts a hash of its state into every one. */
  readonly location: URL;
  /** How many bytes the server has. */
  readonly offset: number;
};

/** An upload under way. Its chunk size changes only while the server has nothing: R2 wants all chunks equal. */
export type Upload = {
  /** Where it stands; moves with every chunk. */
  session: UploadSession;
  chunkBytes: number;
  readonly limits: ChunkLimits;
};

/** An upload that has just begun, and what the server said about chunks. */
export type StartedUpload = UploadSession & { readonly limits: ChunkLimits };

/** POST: begins an upload. */
export async function startUpload(registry: Registry): Promise<StartedUpload> {
  const request = { method: "POST", url: uploadsUrl(registry) } as const;
  const response = await sendPersistently(registry, request, (answer) =>
    expectStatus(registry, request, answer, 202),
  );
  return readStart(registry, response);
}

/**
 * POST: asks the registry to take a blob over from another of its repositories. Where it has none there, or cannot
 * mount, it begins an upload instead. Undefined where it refuses, for want of rights to the other repository, say.
 */
export async function mountBlob(
  registry: Registry,
  digest: Digest,
  repository: string,
): Promise<"mounted" | StartedUpload | undefined> {
  const url = uploadsUrl(registry);
  url.searchParams.set("mount", digest);
  url.searchParams.set("from", repository);
  const request = { method: "POST", url, scopes: [`repository:${repository}:pull`] } as const;
  try {
    const response = await sendPersistently(registry, request, (answer) =>
      expectStatus(registry, request, answer, 201, 202),
    );
    return response.status === 201 ? "mounted" : readStart(registry, response);
  } catch (error) {
    if (registry.signal.aborted || isTransient(error) || !(error instanceof PushError)) throw error;
    // Whatever is wrong beyond the mount, the plain upload that follows will say.
    return undefined;
  }
}

function readStart({ origin }: Registry, response: RegistryResponse): StartedUpload {
  const location = response.headers.get("location");
  if (location === null) {
    throw new PushError(
      "REGISTRY_FAILED",
      `${origin} began an upload without saying where it goes on (no Location).`,
    );
  }
  return {
    location: resolveLocation(location, response.url),
    offset: 0,
    limits: readChunkLimits(response.headers),
  };
}

/** PATCH: sends the chunk that begins at the session's offset. One try. */
export async function sendChunk(
  registry: Registry,
  session: UploadSession,
  chunk: Blob,
  onPiece: OnPiece,
): Promise<UploadSession> {
  const end = session.offset + chunk.size;
  const request = {
    method: "PATCH",
    url: session.location,
    headers: {
      "content-type": "application/octet-stream",
      // Bare, as the distribution spec has it; serverless-registry answers 416 to RFC 9110's form. And to a range
      // of one byte, which it takes without this header.
      ...(chunk.size > 1 && { "content-range": `${session.offset}-${end - 1}` }),
    },
    body: chunk,
    onPiece,
  } as const;
  const response = await send(registry, request);
  // ECR answers 201.
  expectStatus(registry, request, response, 202, 201, 204);
  return { location: nextLocation(response, session), offset: end };
}

/**
 * PUT: ends an upload. With a body, that is the whole blob, and nothing may have been sent before; without one, all
 * of it must have been. One try.
 *
 * @param stallTimeoutMs how long the server may take once it has all bytes
 */
export async function closeUpload(
  registry: Registry,
  session: UploadSession,
  digest: Digest,
  stallTimeoutMs: number,
  whole?: { content: Blob; onPiece: OnPiece },
): Promise<void> {
  const request = {
    method: "PUT",
    url: withDigest(session.location, digest),
    headers: { "content-type": "application/octet-stream" },
    stallTimeoutMs,
    ...(whole && { body: whole.content, onPiece: whole.onPiece }),
  } as const;
  const response = await send(registry, request);
  expectStatus(registry, request, response, 201, 204);
}

/**
 * GET: asks where an upload stands. Undefined where the server does not know of it any more. A server that does not
 * say, for want of rights or because the question makes it fail, will at the next PATCH.
 */
export async function askUpload(
  registry: Registry,
  session: UploadSession,
): Promise<UploadSession | undefined> {
  const request = { method: "GET", url: session.location } as const;
  let refusals = 0;
  const isWorthAnother = (error: unknown) =>
    isTransient(error) && (!(error instanceof RegistryError) || ++refusals <= STATUS_RETRIES);
  try {
    const response = await retry(registry.retryPolicy, isWorthAnother, retryAfterMs, async () => {
      const answer = await send(registry, request);
      expectStatus(registry, request, answer, 204, 200, 202, 404);
      return answer;
    });
    if (response.status === 404) return undefined;
    return {
      location: nextLocation(response, session),
      offset: offsetAfter(response.headers) ?? session.offset,
    };
  } catch (error) {
    if (error instanceof RegistryError) return session;
    throw error;
  }
}

/**
 * DELETE: gives an upload up, so that its parts do not lie about. One try, whose outcome is nobody's concern: a server
 * forgets uploads by itself after some days.
 */
export async function cancelUpload(registry: Registry, session: UploadSession): Promise<void> {
  await send(registry, { method: "DELETE", url: session.location }).catch(() => undefined);
}

/** What a 416 tells about where the upload stands: serverless-registry sends the current Location and Range. */
export function sessionFromRefusal(error: unknown): UploadSession | undefined {
  if (!(error instanceof RegistryError) || error.answer.status !== 416) return undefined;
  const { headers, url } = error.answer;
  const location = headers.get("location");
  const offset = offsetAfter(headers);
  if (location === null || offset === undefined) return undefined;
  return { location: resolveLocation(location, new URL(url)), offset };
}

function nextLocation(response: RegistryResponse, session: UploadSession): URL {
  const location = response.headers.get("location");
  return location === null ? session.location : resolveLocation(location, response.url);
}

/**
 * `Range: 0-99` → 100. Nothing stored is `0--1` for serverless-registry and `0-0` for distribution, which says the
 * same of one byte; no chunk of ours has one byte and another after it.
 */
function offsetAfter(headers: Headers): number | undefined {
  const [, last] = /^(?:bytes[= ])?0-(-1|\d{1,15})$/.exec(headers.get("range") ?? "") ?? [];
  if (last === undefined) return undefined;
  return last === "0" ? 0 : Number(last) + 1;
}

/** Appends the digest to an address whose query, often a signature, stays as it is. */
function withDigest(location: URL, digest: Digest): URL {
  const { href } = Object.assign(new URL(location), { hash: "" });
  const separator = !href.includes("?") ? "?" : /[?&]$/.test(href) ? "" : "&";
  return new URL(`${href}${separator}digest=${digest}`);
}
