import { internalError, rangeError } from "./answers.ts";
import { putBlob } from "./blob-store.ts";
import type { RegistryContext } from "./context.ts";
import { isDigest } from "./digest.ts";
import { withTemporaryFile, writeStream } from "./disk.ts";
import { declaredLength, type IncomingBody, isChunked } from "./incoming-body.ts";
import { canComplete } from "./part-rules.ts";
import type { Route } from "./route.ts";
import {
  deleteParts,
  deleteUpload,
  partPath,
  readUpload,
  saveUpload,
  type UploadState,
} from "./upload-state.ts";

/** PUT: makes a blob of the body when the session has no part yet, else of the parts alone. */
export async function closeUpload(
  context: RegistryContext,
  route: Route,
  request: Request,
  body: IncomingBody,
): Promise<Response> {
  // R2 stores no stream of unknown length. The real one looks only when it needs the body; here a closing PUT
  // after parts is held to it too.
  if (isChunked(request)) return internalError();

  const query = new URL(request.url).searchParams;
  const digest = query.get("digest") ?? "";
  const stateHash = query.get("_stateHash");
  const state = await readUpload(context.disk, route.repository, route.target);
  if (stateHash === null || state === undefined) return internalError();
  if (stateHash !== state.stateHash) return rangeError(state);
  if (state.partSizes.length > 0) return putParts(context, state, digest);
  // An empty blob is announced with a length of 0; without any length there is no body to store.
  return declaredLength(request) === undefined ? internalError() : putWhole(context, state, digest, body);
}

/** R2 checks the digest of a plain put before it keeps anything: the session survives a wrong one. */
async function putWhole(
  context: RegistryContext,
  state: UploadState,
  digest: string,
  body: IncomingBody,
): Promise<Response> {
  return withTemporaryFile(context.disk, async (temporary) => {
    const written = await writeStream(temporary, body.chunks());
    if (written.digest !== digest) return internalError();
    return whileUnchanged(context, state, () => commit(context, state, digest, temporary));
  });
}

/**
 * The parts are put together first and copied to the blob's key afterwards, where R2 checks the digest. When it is
 * wrong the parts are gone already, and no second PUT can mend it.
 */
async function putParts(context: RegistryContext, state: UploadState, digest: string): Promise<Response> {
  const { disk, limits } = context;
  return whileUnchanged(context, state, async () => {
    if (!canComplete(state.partSizes, limits.minChunkBytes)) return internalError();
    await saveUpload(disk, { ...state, completed: true });
    return withTemporaryFile(disk, async (temporary) => {
      const written = await writeStream(temporary, contentOfParts(context, state));
      if (written.digest === digest) return commit(context, state, digest, temporary);
      await deleteParts(disk, state);
      return internalError();
    });
  });
}

async function* contentOfParts({ disk }: RegistryContext, state: UploadState): AsyncGenerator<Uint8Array> {
  for (const index of state.partSizes.keys()) {
    yield* Bun.file(partPath(disk, state, index)).stream();
  }
}

async function whileUnchanged(
  { disk, lock }: RegistryContext,
  before: UploadState,
  job: () => Promise<Response>,
): Promise<Response> {
  return lock(before.uuid, async () => {
    const state = await readUpload(disk, before.repository, before.uuid);
    if (state === undefined || state.completed) return internalError();
    return state.stateHash === before.stateHash ? job() : rangeError(state);
  });
}

async function commit(
  { disk }: RegistryContext,
  state: UploadState,
  digest: string,
  temporary: string,
): Promise<Response> {
  if (!isDigest(digest)) return internalError();
  await putBlob(disk, state.repository, digest, temporary);
  await deleteUpload(disk, state);
  return new Response(null, {
    status: 201,
    headers: { Location: `/v2/${state.repository}/blobs/${digest}`, "Docker-Content-Digest": digest },
  });
}
