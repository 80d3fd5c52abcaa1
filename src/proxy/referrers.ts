import * as v from "valibot";
import { MEDIA_TYPE } from "../oci/descriptor.ts";
import { type Digest, digestOf } from "../oci/digest.ts";
import { checkJson, looseObject } from "../oci/json-schema.ts";
import { type Manifest, referencesOf } from "../oci/manifest.ts";
import { pullScope } from "../registry/auth/scope.ts";
import { putManifest } from "../registry/put-manifest.ts";
import { type Call, listUrl, manifestUrl, type Repository } from "../registry/registry.ts";
import { uploadKey } from "../registry/upload/begin.ts";
import { uploadName } from "../store/file-names.ts";
import { respond } from "./answers.ts";
import type { Context } from "./context.ts";
import { nextPage } from "./lists.ts";
import { isMissing, pick, readJson } from "./relay.ts";

// For registries without a list of referrers, clients keep one under a tag:
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#unavailable-referrers-api
// As this proxy answers for them, they leave that to it.

/** The list of what refers to a manifest: an index. */
const REFERRERS = looseObject({ manifests: v.array(looseObject({ digest: v.string() })) });

type Referrers = v.InferOutput<typeof REFERRERS>;

/** A manifest that is to be deleted may be of any kind. */
const ACCEPT = {
  accept: `${MEDIA_TYPE.index}, ${MEDIA_TYPE.manifest}, application/vnd.docker.distribution.manifest.v2+json, application/vnd.docker.distribution.manifest.list.v2+json, */*`,
};

/** GET: what refers to a manifest. Registries without this list may have it under a tag. */
export async function readReferrers(
  at: Repository,
  subject: Digest,
  client: URL,
  call: Call,
): Promise<Response> {
  const url = listUrl(at, `referrers/${subject}`);
  url.search = client.search;
  const listed = await readUnlessMissing(at, url, call);
  if (listed !== undefined) {
    const link = nextPage(at, listed.headers, url, client);
    const headers = {
      ...pick(listed.headers, ["oci-filters-applied"]),
      ...(link && { link: `<${link}>; rel="next"` }),
    };
    return respondIndex(listed.bytes, headers);
  }
  const { manifests } = await readFallback(at, subject, call);
  const type = client.searchParams.get("artifactType");
  if (type === null) return respondIndex(indexOf(manifests).bytes);
  const filtered = manifests.filter(({ ["artifactType"]: each }) => each === type);
  return respondIndex(indexOf(filtered).bytes, { "oci-filters-applied": "artifactType" });
}

/** Notes a manifest under the tag of its subject, unless the registry lists what refers to it. */
export async function addReferrer(
  context: Context,
  at: Repository,
  subject: Digest,
  manifest: Manifest,
  call: Call,
): Promise<void> {
  if ((await readUnlessMissing(at, listUrl(at, `referrers/${subject}`), call)) !== undefined) return;
  const { artifactType, annotations, configType } = referencesOf(manifest.bytes, "the manifest");
  await change(context, at, subject, call, (manifests) => [
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

/** Removes a manifest that is about to be deleted from the tag of its subject, if there is one. */
export async function removeReferrer(
  context: Context,
  at: Repository,
  digest: Digest,
  call: Call,
): Promise<void> {
  const manifest = await readUnlessMissing(at, manifestUrl(at, digest), call);
  const subject = manifest && referencesOf(manifest.bytes, "the manifest").subject;
  if (subject === undefined) return;
  if ((await readUnlessMissing(at, listUrl(at, `referrers/${subject}`), call)) !== undefined) return;
  const { manifests } = await readFallback(at, subject, call);
  if (!manifests.some((each) => each.digest === digest)) return;
  await change(context, at, subject, call, (all) => all.filter((each) => each.digest !== digest));
}

/** Changes the list under a subject's tag: one change at a time, since it is read and written back. */
async function change(
  { locks }: Context,
  at: Repository,
  subject: Digest,
  call: Call,
  edit: (manifests: Referrers["manifests"]) => Referrers["manifests"],
): Promise<void> {
  using _lock = await locks.take(uploadName(uploadKey(at, subject)), () => {});
  const { manifests } = await readFallback(at, subject, call);
  await putManifest(at, tagOf(subject), indexOf(edit(manifests)), call);
}

async function readFallback(at: Repository, subject: Digest, call: Call): Promise<Referrers> {
  const found = await readUnlessMissing(at, manifestUrl(at, tagOf(subject)), call);
  const index = found && checkJson(REFERRERS, found.value);
  return index !== undefined && "output" in index ? index.output : { manifests: [] };
}

/** Returns the tag that lists what refers to a manifest. */
function tagOf(subject: Digest): string {
  return subject.replace(":", "-");
}

async function readUnlessMissing(at: Repository, url: URL, call: Call) {
  const request = { method: "GET", url, headers: ACCEPT, scopes: [pullScope(at.name)] } as const;
  try {
    return await readJson(at, request, call);
  } catch (error) {
    if (isMissing(error)) return undefined;
    throw error;
  }
}

function indexOf(manifests: Referrers["manifests"]): Manifest {
  const mediaType = MEDIA_TYPE.index;
  const bytes = new TextEncoder().encode(JSON.stringify({ schemaVersion: 2, mediaType, manifests }));
  return { mediaType, digest: digestOf(bytes), bytes };
}

function respondIndex(
  bytes: Uint8Array<ArrayBuffer>,
  headers: Readonly<Record<string, string>> = {},
): Response {
  return respond(200, { ...headers, "content-type": MEDIA_TYPE.index }, bytes);
}
