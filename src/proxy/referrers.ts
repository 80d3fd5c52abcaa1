import * as v from "valibot";
import { PushError, statusOf } from "../errors.ts";
import { INDEX_TYPES, MANIFEST_TYPES, MEDIA_TYPE } from "../oci/descriptor.ts";
import { type Digest, digestOf, isDigest } from "../oci/digest.ts";
import { checkJson, looseObject, object } from "../oci/json-schema.ts";
import { type Manifest, referencesOf } from "../oci/manifest.ts";
import { pullScope } from "../registry/auth/scope.ts";
import { putManifest } from "../registry/put-manifest.ts";
import { type Call, listUrl, manifestUrl, type Repository } from "../registry/registry.ts";
import { uploadKey } from "../registry/upload/begin.ts";
import { uploadName } from "../store/file-names.ts";
import { respond } from "./answers.ts";
import type { Context } from "./context.ts";
import { nextPage } from "./lists.ts";
import { pick, readJson } from "./relay.ts";

// For registries without a list of referrers, clients keep one under a tag:
// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#unavailable-referrers-api
// As this proxy answers for them, they leave that to it.

/** The list of what refers to a manifest: an index. */
const REFERRERS = looseObject({ manifests: v.nullable(v.array(looseObject({ digest: v.string() })), []) });

type Referrers = v.InferOutput<typeof REFERRERS>;

const EMPTY: Referrers = { manifests: [] };

const WITH_SUBJECT = object({ subject: object({ digest: v.string() }) });

const MISSING = [404];

/** What registries answer at an address that they do not have. */
const NO_ADDRESS = [400, 404, 405, 406];

/** A manifest that is to be deleted may be of any kind. */
const ACCEPT = { accept: [...INDEX_TYPES, ...MANIFEST_TYPES, "*/*"].join(", ") };

/** GET: what refers to a manifest. Registries without this list may have it under a tag. */
export async function readReferrers(
  at: Repository,
  subject: Digest,
  client: URL,
  call: Call,
): Promise<Response> {
  const listed = await readListed(at, subject, call, client.search);
  if (listed !== undefined) {
    const link = nextPage(at, listed.headers, listed.url, client);
    const headers = {
      ...pick(listed.headers, ["oci-filters-applied"]),
      ...(link && { link: `<${link}>; rel="next"` }),
    };
    return respondIndex(listed.bytes, headers);
  }
  const { manifests } = (await readFallback(at, subject, call)) ?? EMPTY;
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
  if ((await readListed(at, subject, call)) !== undefined) return;
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
  const manifest = await readUnless(MISSING, at, manifestUrl(at, digest), call);
  const named = checkJson(WITH_SUBJECT, manifest?.value);
  const subject = "output" in named ? named.output.subject.digest : "";
  if (!isDigest(subject) || (await readListed(at, subject, call)) !== undefined) return;
  const listed = await readFallback(at, subject, call);
  if (!listed?.manifests.some((each) => each.digest === digest)) return;
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
  const listed = await readFallback(at, subject, call);
  if (listed === undefined)
    throw new PushError("REGISTRY_FAILED", `The tag ${tagOf(subject)} is no list of referrers.`);
  await putManifest(at, tagOf(subject), indexOf(edit(listed.manifests)), call);
}

/** Reads the list of a registry that has one. Others refuse its address, or show a page for people. */
async function readListed(at: Repository, subject: Digest, call: Call, search = "") {
  const url = listUrl(at, `referrers/${subject}`);
  url.search = search;
  const listed = await readUnless(NO_ADDRESS, at, url, call);
  return "output" in checkJson(REFERRERS, listed?.value) ? listed && { ...listed, url } : undefined;
}

/** Reads the list under a subject's tag. Undefined if something else is there. */
async function readFallback(at: Repository, subject: Digest, call: Call): Promise<Referrers | undefined> {
  const found = await readUnless(MISSING, at, manifestUrl(at, tagOf(subject)), call);
  if (found === undefined) return EMPTY;
  const index = checkJson(REFERRERS, found.value);
  return "output" in index ? index.output : undefined;
}

/** Returns the tag that lists what refers to a manifest. */
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
