import { open, stat } from "node:fs/promises";
import { registryError } from "./answers.ts";
import { putBlob } from "./blob-store.ts";
import type { RegistryContext } from "./context.ts";
import { isDigest } from "./digest.ts";
import { withTemporaryFile, writeStream } from "./disk.ts";
import { declaredLength, type IncomingBody } from "./incoming-body.ts";
import type { Profile, Refusal } from "./profiles.ts";
import type { Route } from "./route.ts";
import {
  createUpload,
  deleteUpload,
  partPath,
  readUpload,
  saveUpload,
  type UploadState,
  withPart,
} from "./upload-state.ts";

/** "offset mismatch between file and model". The state of an upload that is broken has `completed` set. */
const OFFSET_MISMATCH: Refusal = { status: 500, code: "UNKNOWN" };

type Exchange = { context: RegistryContext; profile: Profile; route: Route; request: Request };

/** POST at a registry that appends every PATCH to one file. */
export async function startPlainUpload(exchange: Exchange): Promise<Response> {
  const { context, profile, route } = exchange;
  const state = await createUpload(context.disk, route.repository);
  const { minChunkBytes } = profile;
  return tellPlace(exchange, state, 202, minChunkBytes && { "OCI-Chunk-Min-Length": `${minChunkBytes}` });
}

/** PATCH, PUT, GET and DELETE of such an upload. */
export async function answerPlainUpload(exchange: Exchange, body: IncomingBody): Promise<Response> {
  const { context, profile, route, request } = exchange;
  const state = await readUpload(context.disk, route.repository, route.target);
  const isStatus = route.kind === "upload-status";
  if (state === undefined || (isStatus && profile.status.always)) {
    return refuse(isStatus ? profile.status : profile.unknown);
  }
  const named = new URL(request.url).searchParams.get("_state");
  if (profile.signsState && named !== state.stateHash) return refuse(profile.unknown);
  if (route.kind === "patch") return append(exchange, state, body);
  if (route.kind === "close-upload") return close(exchange, state, body);
  if (isStatus) return tellPlace(exchange, state, 204);
  if (profile.cancelled) return refuse(profile.cancelled);
  await deleteUpload(context.disk, state);
  return new Response(null, { status: 204 });
}

async function append(exchange: Exchange, state: UploadState, body: IncomingBody): Promise<Response> {
  const { context, profile, request } = exchange;
  const { disk } = context;
  const storedBytes = await sizeOf(exchange, state);
  const { rangeless, misplaced } = profile;
  const range = request.headers.get("content-range");
  if (range === null && rangeless && (rangeless.always || storedBytes > 0)) return refuse(rangeless);
  const place = profile.cut === "broken" ? state.offset : storedBytes;
  if (range !== null && !profile.overwrites && Number(range.split("-")[0]) !== place)
    return refuse(misplaced);
  if (state.completed) return refuse(OFFSET_MISMATCH);
  await write(exchange, state, body);
  const after = withPart(state, (await sizeOf(exchange, state)) - state.offset);
  await saveUpload(disk, after);
  return tellPlace(exchange, after, profile.patched ?? 202);
}

async function close(exchange: Exchange, state: UploadState, body: IncomingBody): Promise<Response> {
  const { context, profile, route, request } = exchange;
  const hasBody = (declaredLength(request) ?? 0) > 0;
  if (hasBody && profile.wholePut) return refuse(profile.wholePut);
  if (state.completed) return refuse(OFFSET_MISMATCH);
  if (hasBody) await write(exchange, state, body);
  const digest = new URL(request.url).searchParams.get("digest") ?? "";
  return withTemporaryFile(context.disk, async (temporary) => {
    const file = Bun.file(partPath(context.disk, state, 0));
    const written = await writeStream(temporary, (await file.exists()) ? file.stream() : new Blob().stream());
    if (written.digest !== digest || !isDigest(digest))
      return refuse({ status: 400, code: "DIGEST_INVALID" });
    await putBlob(context.disk, route.repository, digest, temporary);
    await deleteUpload(context.disk, state);
    return new Response(null, {
      status: 201,
      headers: { Location: `/v2/${route.repository}/blobs/${digest}`, "Docker-Content-Digest": digest },
    });
  });
}

/** Writes as the bytes come: what arrived of a body that breaks off stays, and GET tells of a body under way. */
async function write({ context, profile }: Exchange, state: UploadState, body: IncomingBody): Promise<void> {
  await using file = await open(partPath(context.disk, state, 0), profile.overwrites ? "w" : "a");
  try {
    for await (const piece of body.chunks()) await file.appendFile(piece);
  } catch (error) {
    if (profile.cut === "forgotten") await deleteUpload(context.disk, state);
    if (profile.cut === "broken") await saveUpload(context.disk, { ...state, completed: true });
    throw error;
  }
}

async function sizeOf({ context }: Exchange, state: UploadState): Promise<number> {
  return (await stat(partPath(context.disk, state, 0)).catch(() => undefined))?.size ?? 0;
}

async function tellPlace(
  exchange: Exchange,
  state: UploadState,
  status: number,
  headers: Record<string, string> | 0 | undefined = {},
): Promise<Response> {
  const { profile, route } = exchange;
  const bytes = profile.cut === "broken" ? state.offset : await sizeOf(exchange, state);
  const query = profile.signsState ? `?_state=${state.stateHash}` : "";
  return new Response(null, {
    status,
    headers: {
      Location: `/v2/${route.repository}/blobs/uploads/${state.uuid}${query}`,
      Range: `0-${Math.max(bytes - 1, 0)}`,
      "Docker-Upload-UUID": state.uuid,
      ...headers,
    },
  });
}

function refuse({ status, code }: Refusal): Response {
  return registryError(status, code, code.toLowerCase().replaceAll("_", " "));
}
