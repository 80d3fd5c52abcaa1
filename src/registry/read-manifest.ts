import * as v from "valibot";
import { PushError } from "../errors.ts";
import { formatBytes } from "../format.ts";
import { INDEX_TYPES, MANIFEST_TYPES, MEDIA_TYPE } from "../oci/descriptor.ts";
import { digestOf, isDigest } from "../oci/digest.ts";
import { MAX_JSON_BYTES, object, parseJson } from "../oci/json-schema.ts";
import type { Manifest } from "../oci/manifest.ts";
import { pullScope } from "./auth/scope.ts";
import { exchangePersistently } from "./http/send.ts";
import { type Call, manifestUrl, type Repository } from "./registry.ts";

/** OCI's artifact manifest, which is no longer in the specification. */
const ARTIFACT_TYPE = "application/vnd.oci.artifact.manifest.v1+json";

const TYPES = [...INDEX_TYPES, ...MANIFEST_TYPES, ARTIFACT_TYPE];

const KIND = object({
  schemaVersion: v.fallback(v.optional(v.number()), undefined),
  // The type becomes a header.
  mediaType: v.fallback(
    v.optional(v.pipe(v.string(), v.regex(/^[\w.+-]{1,127}\/[\w.+-]{1,127}$/))),
    undefined,
  ),
  manifests: v.optional(v.unknown()),
});

/**
 * GET: reads a manifest or an index of any kind, byte for byte. Undefined if it is missing. Throws `CONTENT_MISMATCH` for
 * another digest, and `IMAGE_INVALID` if it is too large or in Docker's first format.
 *
 * @param reference a tag or a digest
 */
export async function readManifest(
  at: Repository,
  reference: string,
  call: Call,
): Promise<Manifest | undefined> {
  const request = {
    method: "GET",
    url: manifestUrl(at, reference),
    headers: { accept: TYPES.join(", ") },
    scopes: [pullScope(at.name)],
    mostBytes: MAX_JSON_BYTES + 1,
  } as const;
  const { status, headers, bytes } = await exchangePersistently(at, request, [200, 404], call);
  if (status === 404) return undefined;
  const name = `${at.name}${isDigest(reference) ? "@" : ":"}${reference} at ${at.registry.origin}`;
  if (bytes.length > MAX_JSON_BYTES) {
    throw new PushError(
      "IMAGE_INVALID",
      `Cannot read ${name}: the manifest is larger than ${formatBytes(MAX_JSON_BYTES)}, which no registry accepts.`,
    );
  }
  const digest = digestOf(bytes);
  const said = isDigest(reference) ? reference : (headers.get("docker-content-digest") ?? digest);
  if (isDigest(said) && said !== digest) {
    throw new PushError(
      "CONTENT_MISMATCH",
      `Cannot read ${name}: the registry gives the digest of the manifest as ${said}, but it is ${digest}.`,
    );
  }
  const { schemaVersion, mediaType, manifests } = parseJson(bytes, KIND, name);
  if (schemaVersion === 1) {
    throw new PushError(
      "IMAGE_INVALID",
      `Cannot read ${name}: it is in Docker's first image format (schema 1).`,
      {
        hint: "Docker 28 and newer no longer read it. Pull the image with an older Docker, and push it again: that converts it.",
      },
    );
  }
  const [type = ""] = (headers.get("content-type") ?? "").split(";");
  const told = mediaType ?? TYPES.find((each) => each === type.trim());
  return { mediaType: told ?? (manifests ? MEDIA_TYPE.index : MEDIA_TYPE.manifest), digest, bytes };
}
