import * as v from "valibot";
import { PushError } from "../errors.ts";
import { type Descriptor, INDEX_TYPES, MANIFEST_TYPES } from "../oci/descriptor.ts";
import { type Digest, digestOf, parseDigest } from "../oci/digest.ts";
import { object, parseJson } from "../oci/json-schema.ts";
import { pullScope } from "./auth/scope.ts";
import { exchangePersistently } from "./http/send.ts";
import { type Call, manifestUrl, type Repository, withRetries } from "./registry.ts";

/** Few: without an answer, the image is pushed. */
const MAX_RETRIES = 2;

const CONTENT = object({
  mediaType: v.string(),
  digest: v.string(),
  size: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
});
const MANIFEST = object({
  manifests: v.nullish(v.array(CONTENT)),
  config: v.nullish(CONTENT),
  layers: v.nullish(v.array(CONTENT)),
});

/**
 * Reads what the image under a tag consists of: the configs and layers of its manifest or, for an index, of all its
 * manifests. Undefined if it is another image, or the registry does not tell all of it.
 *
 * @param digest that of the expected manifest or index
 */
export async function readTagged(
  at: Repository,
  tag: string,
  digest: Digest,
  call: Call,
): Promise<Descriptor[] | undefined> {
  const place = withRetries(at, MAX_RETRIES);
  const blobs = new Map<Digest, Descriptor>();
  try {
    return (await collect(place, tag, digest, blobs, call)) ? [...blobs.values()] : undefined;
  } catch (error) {
    if (call.signal.aborted || !(error instanceof PushError)) throw error;
    return undefined;
  }
}

/** Adds the blobs below a manifest. @returns false if it is missing, or another one */
async function collect(
  at: Repository,
  reference: string,
  digest: Digest,
  blobs: Map<Digest, Descriptor>,
  call: Call,
): Promise<boolean> {
  const request = {
    method: "GET",
    url: manifestUrl(at, reference),
    headers: { accept: [...INDEX_TYPES, ...MANIFEST_TYPES].join(", ") },
    scopes: [pullScope(at.name)],
  } as const;
  const { status, bytes } = await exchangePersistently(at, request, [200, 404], call);
  if (status !== 200 || digestOf(bytes) !== digest) return false;
  const name = `${at.name}:${reference} at the registry`;
  const { manifests, config, layers } = parseJson(bytes, MANIFEST, name);
  const parsed = (each: v.InferOutput<typeof CONTENT>) => ({
    ...each,
    digest: parseDigest(each.digest, name),
  });
  for (const blob of [...(config ? [config] : []), ...(layers ?? [])].map(parsed))
    blobs.set(blob.digest, blob);
  const children = (manifests ?? []).map(parsed);
  return (
    await Promise.all(children.map((child) => collect(at, child.digest, child.digest, blobs, call)))
  ).every(Boolean);
}
