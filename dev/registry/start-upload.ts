import { storedRange, uploadLocation } from "./answers.ts";
import { mountBlob } from "./blob-store.ts";
import type { RegistryContext } from "./context.ts";
import { isDigest } from "./digest.ts";
import { startPlainUpload } from "./plain-uploads.ts";
import type { Route } from "./route.ts";
import { createUpload, type UploadState } from "./upload-state.ts";

/** POST: a mount where it was asked for and works, else a new session. A `?digest=` and a body mean nothing. */
export async function startUpload(
  context: RegistryContext,
  route: Route,
  request: Request,
): Promise<Response> {
  const mounted = await mountRequested(context, route, request);
  if (mounted !== undefined) return mounted;
  const { profile } = context;
  if (profile !== undefined) return startPlainUpload({ context, profile, route, request });
  return newSession(context, route.repository);
}

async function mountRequested(
  { disk }: RegistryContext,
  { repository }: Route,
  request: Request,
): Promise<Response | undefined> {
  const query = new URL(request.url).searchParams;
  const digest = query.get("mount");
  const from = query.get("from");
  if (digest === null || from === null || !isDigest(digest)) return undefined;
  if (!(await mountBlob(disk, from, repository, digest))) return undefined;
  return new Response(null, {
    status: 201,
    headers: { Location: `/v2/${repository}/blobs/${digest}`, "Docker-Content-Digest": digest },
  });
}

async function newSession(context: RegistryContext, repository: string): Promise<Response> {
  const state = await createUpload(context.disk, repository);
  return new Response(null, {
    status: 202,
    headers: {
      Location: uploadLocation(state),
      // Not `0--1` as everywhere else: the real one says so here, of an empty session.
      Range: "0-0",
      "Content-Range": "0-0",
      "Docker-Upload-UUID": state.uuid,
      ...chunkHints(context),
    },
  });
}

/** GET: needs no _stateHash, and is the way back to the current one. */
export function uploadStatus(context: RegistryContext, state: UploadState): Response {
  return new Response(null, {
    status: 204,
    headers: {
      Location: uploadLocation(state),
      Range: storedRange(state),
      "Docker-Upload-UUID": state.uuid,
      ...chunkHints(context),
    },
  });
}

/** Sent with POST and GET only, never with PATCH or 416. */
function chunkHints({ chunkHints, limits }: RegistryContext): Record<string, string> {
  if (!chunkHints) return {};
  return {
    "OCI-Chunk-Min-Length": `${limits.minChunkBytes}`,
    "OCI-Chunk-Max-Length": `${limits.maxChunkBytes}`,
  };
}
