import { PushError } from "../errors.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { type Manifest, referencesOf } from "../oci/manifest.ts";
import { isTag } from "../oci/reference.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { missingBlobs, putManifest } from "../registry/put-manifest.ts";
import { addReferrer, removeReferrer } from "../registry/referrers.ts";
import { type Call, manifestUrl, type Repository } from "../registry/registry.ts";
import { rememberRepository } from "../store/blob-places.ts";
import { isImpatient, refuse, refuseFor, respond, within } from "./answers.ts";
import { type Context, callOf } from "./context.ts";
import { relay, relayDelete } from "./relay.ts";

/** HEAD, GET: reads a manifest. */
export function readManifest(
  at: Repository,
  reference: string,
  request: Request,
  call: Call,
): Promise<Response> {
  return relay(at, manifestUrl(at, reference), request, call);
}

/** DELETE: deletes a manifest or a tag. */
export async function deleteManifest(
  context: Context,
  at: Repository,
  reference: string,
  call: Call,
): Promise<Response> {
  if (!isTag(reference)) await removeReferrer(at, reference as Digest, context.locks, call);
  return relayDelete(at, manifestUrl(at, reference), call);
}

/**
 * PUT: passes a manifest on once the registry has the blobs that came through this proxy. Waits for them without a limit,
 * except for impatient clients.
 */
export async function writeManifest(
  context: Context,
  name: string,
  at: Repository,
  reference: string,
  request: Request,
): Promise<Response> {
  const manifest = await readBody(request);
  if (manifest === undefined)
    return refuse(413, "MANIFEST_INVALID", `A manifest has at most ${MAX_JSON_BYTES} bytes.`);
  const { digest } = manifest;
  if (!isTag(reference) && reference !== digest)
    return refuse(
      400,
      "DIGEST_INVALID",
      `The manifest was sent as ${reference}, but its digest is ${digest}.`,
    );
  const { blobs, manifests, subject } = referencesOf(manifest.bytes, "the manifest");
  const refusal = await awaitBlobs(context, at, blobs, request);
  if (refusal !== undefined) return refusal;

  const call = callOf(context, { id: digest, title: `${at.name} manifest` });
  const { subject: noted } = await putManifest(at, reference, manifest, call).catch((error: unknown) => {
    context.commits.lack(at.name, missingBlobs(error, blobs) ?? []);
    throw error;
  });
  if (subject !== undefined && noted === undefined)
    await addReferrer(at, subject, manifest, context.locks, call);
  const { registry } = at;
  // Clients push the children of an index at the same time.
  await context.noting.run(0, () => rememberRepository(registry.notes, registry.origin, at.name, blobs));
  const tagged = isTag(reference) ? `${context.host}/${at.name}:${reference}` : undefined;
  context.activity.pushed(at.name, digest, [...blobs, ...manifests], tagged);
  return respond(201, {
    location: `/v2/${name}/manifests/${reference}`,
    "docker-content-digest": digest,
    ...(subject !== undefined && { "oci-subject": subject }),
  });
}

/** Reads a manifest. Undefined if it is too large. */
async function readBody(request: Request): Promise<Manifest | undefined> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of request.body ?? []) {
    size += piece.length;
    if (size > MAX_JSON_BYTES) return undefined;
    pieces.push(piece);
  }
  const bytes = Buffer.concat(pieces);
  const { mediaType } = referencesOf(bytes, "the manifest");
  const type = request.headers.get("content-type") ?? mediaType;
  if (type === undefined)
    throw new PushError("IMAGE_INVALID", "The manifest has no media type: the client sent no Content-Type.");
  return { mediaType: type, digest: digestOf(bytes), bytes };
}

/** Waits until the registry has all blobs that are on their way. @returns the answer for the client if it does not */
async function awaitBlobs(
  context: Context,
  at: Repository,
  digests: readonly Digest[],
  request: Request,
): Promise<Response | undefined> {
  const commits = digests
    .map((digest) => context.commits.find(at.name, digest))
    .filter((each) => each !== undefined);
  // Stop waiting if the client has given up.
  const all = unlessAborted(Promise.allSettled(commits.map(({ done }) => done)), request.signal);
  const settled = await within(isImpatient(request) ? context.answerMs : Number.POSITIVE_INFINITY, all);
  if (settled === undefined)
    return refuse(429, "TOOMANYREQUESTS", "Blobs of this manifest are still being uploaded.", {
      "retry-after": "1",
    });
  const failed = commits.find((_, i) => settled.value[i]?.status === "rejected");
  if (failed === undefined) return undefined;
  context.commits.forget(at.name, digests);
  context.told.refusal = failed.failure;
  const answer = refuseFor(failed.failure);
  const { errors } = (await answer.json()) as { errors: { message: string }[] };
  return refuse(
    answer.status,
    "MANIFEST_BLOB_UNKNOWN",
    `The blob ${failed.descriptor.digest} has not reached the registry. ${errors[0]?.message}`,
  );
}
