import { type Digest, isDigest } from "../oci/digest.ts";
import { isRepository } from "../oci/reference.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { blobUrl, type Call, type Repository } from "../registry/registry.ts";
import { tryMount } from "../registry/upload/begin.ts";
import { BLOB_TYPE } from "../registry/upload/growing-file.ts";
import { refuse, respond } from "./answers.ts";
import type { Context } from "./context.ts";
import { relay } from "./relay.ts";

/** HEAD, GET: reads a blob, which may still be on its way to the registry. */
export async function readBlob(
  context: Context,
  at: Repository,
  digest: string,
  request: Request,
  call: Call,
): Promise<Response> {
  const url = blobUrl(at, digest as Digest);
  if (!isDigest(digest)) return relay(at, url, request, call);
  const commit = context.commits.find(at.name, digest);
  if (commit !== undefined && commit.failure === undefined) {
    if (request.method === "HEAD") return found(digest, commit.descriptor.size);
    await unlessAborted(commit.done, call.signal);
  }
  if (request.method !== "HEAD") return relay(at, url, request, call);
  if (context.commits.isLacking(at.name, digest))
    return refuse(404, "BLOB_UNKNOWN", "The registry does not have this blob.");
  const response = await relay(at, url, request, call);
  const size = await sizeOf(at, url, digest, response, call);
  if (size === undefined) return response;
  // The registry got the blob from somewhere else after it failed here.
  context.commits.forget(at.name, [digest]);
  context.activity.present(at.name, { digest, size });
  return found(digest, size);
}

function found(digest: Digest, size: number): Response {
  return respond(200, {
    "content-length": String(size),
    "content-type": BLOB_TYPE,
    "docker-content-digest": digest,
    "accept-ranges": "bytes",
  });
}

/**
 * Returns a blob's size, which clients write into manifests. For a mounted blob, serverless-registry's HEAD answers with
 * another size and digest; its GET answers with the right ones.
 */
async function sizeOf(
  at: Repository,
  url: URL,
  digest: Digest,
  { headers }: Response,
  call: Call,
): Promise<number | undefined> {
  const said = headers.get("docker-content-digest");
  let length = headers.get("content-length");
  if (said !== null && said !== digest) {
    const whole = await relay(at, url, new Request(url.href), call);
    length = whole.headers.get("content-length");
    await whole.body?.cancel();
  }
  return length === null ? undefined : Number(length);
}

/**
 * POST with `mount`: has the registry mount a blob from another repository. Undefined if it does not.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#mounting-a-blob-from-another-repository
 */
export async function mount(
  context: Context,
  at: Repository,
  { searchParams }: URL,
  call: Call,
): Promise<Digest | undefined> {
  const digest = searchParams.get("mount") ?? "";
  const name = searchParams.get("from") ?? "";
  const from = isRepository(name) ? context.repositoryOf(name) : undefined;
  if (!isDigest(digest) || from === undefined) return undefined;
  const commit = context.commits.find(from, digest);
  // Wait for a blob that is still on its way.
  const arrived = commit?.done.catch(() => undefined) ?? Promise.resolve();
  const mounting = arrived.then(() => tryMount(at, { mediaType: BLOB_TYPE, digest, size: 0 }, from, call));
  // A client that has waited too long gets no mount, and sends the blob.
  const isMounted = await unlessAborted(mounting, call.signal).catch((error: unknown) => {
    if (call.signal.aborted) return false;
    throw error;
  });
  if (!isMounted) return undefined;
  context.commits.forget(at.name, [digest]);
  context.activity.mounted(at.name, digest, from);
  return digest;
}
