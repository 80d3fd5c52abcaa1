import { registryError } from "./answers.ts";
import { appendChunk } from "./append-chunk.ts";
import { closeUpload } from "./close-upload.ts";
import type { RegistryContext } from "./context.ts";
import type { IncomingBody } from "./incoming-body.ts";
import { isReference } from "./manifest-store.ts";
import { answerPlainUpload } from "./plain-uploads.ts";
import { putManifest } from "./put-manifest.ts";
import { getBlob, headBlob } from "./read-blob.ts";
import { readManifest } from "./read-manifest.ts";
import { isRepositoryName, type RequestKind, type Route } from "./route.ts";
import { startUpload, uploadStatus } from "./start-upload.ts";
import { deleteUpload, readUpload } from "./upload-state.ts";

/** What registries other than serverless-registry answer in their own way. */
const PLAIN_UPLOAD: ReadonlySet<RequestKind> = new Set([
  "patch",
  "close-upload",
  "upload-status",
  "cancel-upload",
]);

/** The Worker's router: one handler for each kind of request. */
export async function dispatch(
  context: RegistryContext,
  route: Route,
  request: Request,
  body: IncomingBody,
): Promise<Response> {
  const invalid = refuseNames(route);
  if (invalid !== undefined) return invalid;
  const { profile } = context;
  if (profile !== undefined && PLAIN_UPLOAD.has(route.kind)) {
    return answerPlainUpload({ context, profile, route, request }, body);
  }
  switch (route.kind) {
    case "ping":
      return new Response(null);
    case "head-blob":
      return headBlob(context, route);
    case "get-blob":
      return getBlob(context, route);
    case "start-upload":
      return startUpload(context, route, request);
    case "patch":
      return appendChunk(context, route, request, body);
    case "close-upload":
      return closeUpload(context, route, request, body);
    case "upload-status":
      return statusOf(context, route);
    case "cancel-upload":
      return cancelUpload(context, route);
    case "get-manifest":
    case "head-manifest":
      return readManifest(context, route);
    case "put-manifest":
      return putManifest(context, route, request, body);
    case "other":
      return new Response("Not Found.", { status: 404 });
  }
}

/** Stricter than the real one on purpose: to R2 a name is a key like any other, and a client's bug would pass. */
function refuseNames({ kind, repository, target }: Route): Response | undefined {
  if (kind === "ping" || kind === "other") return undefined;
  if (!isRepositoryName(repository)) {
    return registryError(400, "NAME_INVALID", `invalid repository name ${repository}`);
  }
  if (kind.endsWith("-manifest") && !isReference(target)) {
    return registryError(400, "TAG_INVALID", `invalid reference ${target}`);
  }
  return undefined;
}

async function statusOf(context: RegistryContext, { repository, target }: Route): Promise<Response> {
  const state = await readUpload(context.disk, repository, target);
  return state === undefined ? new Response(null, { status: 404 }) : uploadStatus(context, state);
}

/** Works on a dead session too: it is the only thing that still does. */
async function cancelUpload(
  { disk, lock }: RegistryContext,
  { repository, target }: Route,
): Promise<Response> {
  return lock(target, async () => {
    const state = await readUpload(disk, repository, target);
    if (state === undefined) return new Response(null, { status: 404 });
    await deleteUpload(disk, state);
    return new Response(null, { status: 204 });
  });
}
