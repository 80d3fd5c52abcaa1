import * as v from "valibot";
import { PushError, statusOf } from "../errors.ts";
import { INDEX_TYPES, MANIFEST_TYPES, MEDIA_TYPE } from "../oci/descriptor.ts";
import { type Digest, digestOf, isDigest } from "../oci/digest.ts";
import { checkJson, looseObject, object } from "../oci/json-schema.ts";
import { type Manifest, referencesOf } from "../oci/manifest.ts";
import { uploadName } from "../store/file-names.ts";
import type { Locks } from "../store/locks.ts";
import { pullScope } from "./auth/scope.ts";
import { readJson } from "./http/ask.ts";
import { putManifest } from "./put-manifest.ts";
import { type Call, listUrl, manifestUrl, type Repository } from "./registry.ts";
import { uploadKey } from "./upload/begin.ts";

// At registries without a list of referrers, clients keep one under a tag:
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#unavailable-referrers-api

/** The list of a manifest's referrers, which is an index. */
const REFERRERS = looseObject({ manifests: v.nullable(v.array(looseObject({ digest: v.string() })), []) });

type Referrers = v.InferOutput<typeof REFERRERS>;

const EMPTY: Referrers = { manifests: [] };

const WITH_SUBJECT = object({ subject: object({ digest: v.string() }) });

const MISSING = [404];

/** The statuses of registries for an unknown address. */
const NO_ADDRESS = [400, 404, 405, 406];

/** A manifest to delete may be of any type. */
const ACCEPT = { accept: [...INDEX_TYPES, ...MANIFEST_TYPES, "*/*"].join(", ") };

/** Adds a manifest to the list under its subject's tag, unless the registry has its own list of referrers. */
export async function addReferrer(
  at: Repository,
  subject: Digest,
  manifest: Manifest,
  locks: Locks,
  call: Call,
): Promise<void> {
  if ((await readListed(at, subject, call)) !== undefined) return;
  const { artifactType, annotations, configType } = referencesOf(manifest.bytes, "the manifest");
  await change(at, subject, locks, call, (manifests) => [
    ...manifests.filter(({ digest }) => digest !== manifest.digest),
    {
      mediaType: manifest.mediaType,
      digest: manifest.digest,
      size: manifest.bytes.length,
      artifactType: artifactType ?? configType,
      annotations,
    },
  ]);
}

/** Removes a manifest from the list under its subject's tag, before it is deleted. */
export async function removeReferrer(
  at: Repository,
  digest: Digest,
  locks: Locks,
  call: Call,
): Promise<void> {
  const manifest = await readUnless(MISSING, at, manifestUrl(at, digest), call);
  const named = checkJson(WITH_SUBJECT, manifest?.value);
  const subject = "output" in named ? named.output.subject.digest : "";
  if (!isDigest(subject) || (await readListed(at, subject, call)) !== undefined) return;
  const listed = await readFallback(at, subject, call);
  if (!listed?.manifests.some((each) => each.digest === digest)) return;
  await change(at, subject, locks, call, (all) => all.filter((each) => each.digest !== digest));
}

/**
 * Changes the list under a subject's tag, one change at a time: it is read and written back. The lock has the name of an
 * upload of the subject, which is no blob and so has no upload.
 */
async function change(
  at: Repository,
  subject: Digest,
  locks: Locks,
  call: Call,
  edit: (manifests: Referrers["manifests"]) => Referrers["manifests"],
): Promise<void> {
  using _lock = await locks.take(uploadName(uploadKey(at, subject)), () => {});
  const listed = await readFallback(at, subject, call);
  if (listed === undefined)
    throw new PushError("REGISTRY_UNSUPPORTED", `The tag "${tagOf(subject)}" is not a list of referrers.`, {
      hint: "Another image uses the tag that the specification reserves for this list. Delete the tag.",
    });
  await putManifest(at, tagOf(subject), indexOfReferrers(edit(listed.manifests)), call);
}

/** Reads the registry's list of referrers. Undefined if it has none: it refuses the address, or answers with a page. */
export async function readListed(at: Repository, subject: Digest, call: Call, search = "") {
  const url = listUrl(at, `referrers/${subject}`);
  url.search = search;
  const listed = await readUnless(NO_ADDRESS, at, url, call);
  return "output" in checkJson(REFERRERS, listed?.value) ? listed && { ...listed, url } : undefined;
}

/** Reads the list under a subject's tag. Undefined if the tag has other content. */
export async function readFallback(
  at: Repository,
  subject: Digest,
  call: Call,
): Promise<Referrers | undefined> {
  const found = await readUnless(MISSING, at, manifestUrl(at, tagOf(subject)), call);
  if (found === undefined) return EMPTY;
  const index = checkJson(REFERRERS, found.value);
  return "output" in index ? index.output : undefined;
}

/** Returns the tag for the list of a manifest's referrers. */
function tagOf(subject: Digest): string {
  return subject.replace(":", "-");
}

async function readUnless(statuses: readonly number[], at: Repository, url: URL, call: Call) {
  const request = { method: "GET", url, headers: ACCEPT, scopes: [pullScope(at.name)] } as const;
  try {
    return await readJson(at, request, call);
  } catch (error) {
    if (statuses.includes(statusOf(error) ?? 0)) return undefined;
    throw error;
  }
}

/** Creates the index that lists referrers. */
export function indexOfReferrers(manifests: Referrers["manifests"]): Manifest {
  const mediaType = MEDIA_TYPE.index;
  const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  return { mediaType, digest: digestOf(bytes), bytes };
}
