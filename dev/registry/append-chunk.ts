import { internalError, rangeError, registryError, storedRange, uploadLocation } from "./answers.ts";
import type { RegistryContext } from "./context.ts";
import { moveInto, withTemporaryFile, writeStream } from "./disk.ts";
import { declaredLength, type IncomingBody, isChunked } from "./incoming-body.ts";
import { acceptsPart } from "./part-rules.ts";
import type { Route } from "./route.ts";
import { partPath, readUpload, saveUpload, type UploadState, withPart } from "./upload-state.ts";

/** PATCH: stores one part. A refusal or a broken connection leaves the session as it was. */
export async function appendChunk(
  context: RegistryContext,
  route: Route,
  request: Request,
  body: IncomingBody,
): Promise<Response> {
  // Stricter than the real one on purpose: the Worker takes such a body whole into memory, which works with a
  // small one on a laptop and kills it in production.
  if (isChunked(request)) return registryError(411, "SIZE_INVALID", "Content-Length is required");
  const sizeBytes = declaredLength(request);
  if (sizeBytes === undefined) return new Response(null, { status: 400 });

  const stateHash = new URL(request.url).searchParams.get("_stateHash");
  const state = await readUpload(context.disk, route.repository, route.target);
  if (stateHash === null || state === undefined) return internalError();
  const refusal = refuse(context, state, stateHash, request, sizeBytes);
  if (refusal !== undefined) return refusal;

  return withTemporaryFile(context.disk, async (temporary) => {
    const written = await writeStream(temporary, body.chunks());
    if (written.sizeBytes !== sizeBytes) {
      throw new Error(`expected a body of ${sizeBytes} bytes, got ${written.sizeBytes}`);
    }
    return storePart(context, state, temporary, sizeBytes);
  });
}

/** In the order of the real one's checks. */
function refuse(
  { limits }: RegistryContext,
  state: UploadState,
  stateHash: string,
  request: Request,
  sizeBytes: number,
): Response | undefined {
  if (stateHash !== state.stateHash || state.completed) return rangeError(state);
  const range = contentRange(request);
  if (range !== undefined && (range.start !== state.offset || range.start >= range.end))
    return rangeError(state);
  if (state.partSizes.length >= limits.maxParts) return internalError();
  if (!acceptsPart(state.partSizes, sizeBytes, limits.minChunkBytes)) return rangeError(state);
  return undefined;
}

/**
 * Split at the dash and made numbers, as the Worker does it: the `bytes ` of RFC 9110 gives NaN, which matches no
 * offset. Its comparison of start and end also shuts out the one byte of `n-n`, inclusive though the range is.
 */
function contentRange(request: Request): { start: number; end: number } | undefined {
  const [start, end] = request.headers.get("content-range")?.split("-") ?? [];
  return start === undefined || end === undefined ? undefined : { start: Number(start), end: Number(end) };
}

async function storePart(
  { disk, lock }: RegistryContext,
  before: UploadState,
  temporary: string,
  sizeBytes: number,
): Promise<Response> {
  return lock(before.uuid, async () => {
    // The body travelled without the lock, so that a stalled connection cannot keep its successor out. Whoever
    // arrives first has moved the session on, or ended it.
    const state = await readUpload(disk, before.repository, before.uuid);
    if (state === undefined) return internalError();
    if (state.stateHash !== before.stateHash || state.completed) return rangeError(state);

    await moveInto(partPath(disk, state, state.partSizes.length), temporary);
    const after = withPart(state, sizeBytes);
    await saveUpload(disk, after);
    return new Response(null, {
      status: 202,
      headers: {
        Location: uploadLocation(after),
        Range: storedRange(after),
        "Docker-Upload-UUID": after.uuid,
      },
    });
  });
}
