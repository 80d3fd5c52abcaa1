import * as v from "valibot";
import { PushError } from "../../errors.ts";
import { type Content, manifestDigestsOf } from "../../oci/content.ts";
import { INDEX_TYPES } from "../../oci/descriptor.ts";
import { blobPath, type Digest } from "../../oci/digest.ts";
import { parseIndex } from "../../oci/image-index.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import type { Candidate } from "../select-image.ts";
import type { ContentReader, Missing } from "./content.ts";
import { type ImageFiles, readBlob, readDocument } from "./image-files.ts";

const INDEX_PATH = "index.json";

/** containerd's annotation has the full name; OCI's often has only the tag. */
const NAME_ANNOTATIONS = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/** cosign, and clients of registries without a list of referrers, name referrers by their subject. */
const SUBJECT_TAG = /(?:^|:)sha256-([0-9a-f]{64})(?:\.[a-z]+)?$/;

/** The kinds of referrers in `cosign save`'s annotations, with their tag suffixes. */
const COSIGN_KINDS: Readonly<Record<string, string>> = {
  "dev.cosignproject.cosign/sigs": "sig",
  "dev.cosignproject.cosign/atts": "att",
  "dev.cosignproject.cosign/sboms": "sbom",
};

const MAX_ENTRIES = 1000;

const SUBJECT = object({
  // An invalid subject counts as none.
  subject: v.fallback(v.nullish(object({ digest: v.string() })), undefined),
});

/** Content of a layout that refers to other content, such as a signature or an SBOM. */
export type Referrer = {
  /** The digest of the manifest that it refers to. */
  readonly subject: string;
  /** The tag where clients look for it. Undefined if clients find it in the registry's list of referrers. */
  readonly tag: string | undefined;
  read(): Promise<Content | Missing>;
};

/** The images of a layout, and their referrers. */
export type Layout = { readonly candidates: readonly Candidate[]; readonly referrers: readonly Referrer[] };

type Entry = Candidate & { readonly digest: Digest; readonly isIndex: boolean; readonly kind: string };

/**
 * Lists the content of an OCI layout; undefined if there is no `index.json`.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export async function readOciLayout(files: ImageFiles, reader: ContentReader): Promise<Layout | undefined> {
  if ((await files.open(INDEX_PATH)) === undefined) return undefined;
  const entries = await readEntries(files, reader);
  const below = entries.length > 1 ? await listedBelow(entries) : new Set();
  const main = entries.filter(({ kind, names }) => COSIGN_KINDS[kind] === undefined && !isAbout(names));
  const candidates: Candidate[] = [];
  const referrers: Referrer[] = [];
  for (const entry of entries) {
    const { names, digest, kind, read } = entry;
    const [, hex] = isAbout(names) ? (SUBJECT_TAG.exec(names[0] ?? "") ?? []) : [];
    const cosignKind = COSIGN_KINDS[kind];
    if (hex !== undefined) {
      const tag = names[0]?.slice(names[0].lastIndexOf(":") + 1);
      referrers.push({ subject: `sha256:${hex}`, tag, read });
    } else if (cosignKind !== undefined) {
      for (const { digest: subject } of main)
        referrers.push({ subject, tag: `${subject.replace(":", "-")}.${cosignKind}`, read });
    } else {
      // Some clients list an index's children and its referrers beside it.
      const isNamed = names.length > 0 || entries.length === 1;
      const subject = isNamed ? undefined : await subjectOf(files, digest);
      if (subject !== undefined) referrers.push({ subject, tag: undefined, read });
      else if (isNamed || !below.has(digest)) candidates.push(entry);
    }
  }
  return { candidates, referrers };
}

/** Lists the distinct entries whose manifests are present. */
async function readEntries(files: ImageFiles, reader: ContentReader): Promise<Entry[]> {
  const title = `"${INDEX_PATH}" in the ${files.title}`;
  const listed = parseIndex(await readDocument(files, INDEX_PATH), title);
  if (listed.length > MAX_ENTRIES)
    throw new PushError("IMAGE_INVALID", `Cannot read ${title}: it lists too many images.`);
  const entries = new Map<Digest, Entry & { readonly names: string[] }>();
  for (const { digest, annotations, mediaType, platform, isAttestation } of listed) {
    // Engines that save one platform list the others as well, without their blobs.
    if (isAttestation || (await files.open(blobPath(digest))) === undefined) continue;
    const entry = entries.get(digest) ?? {
      names: [],
      digests: [digest],
      digest,
      platform,
      isIndex: INDEX_TYPES.includes(mediaType ?? ""),
      kind: annotations["kind"] ?? "",
      read: () => reader.read(digest, mediaType),
    };
    entry.names.push(...NAME_ANNOTATIONS.flatMap((key) => annotations[key] ?? []).slice(0, 1));
    entries.set(digest, entry);
  }
  return [...entries.values()];
}

/** Returns the digests of everything below the listed indexes. */
async function listedBelow(entries: readonly Entry[]): Promise<Set<Digest>> {
  const below = new Set<Digest>();
  for (const { isIndex, digest, read } of entries) {
    const content = isIndex ? await read() : undefined;
    if (content === undefined || content.kind === "missing") continue;
    for (const each of manifestDigestsOf(content)) if (each !== digest) below.add(each);
  }
  return below;
}

/** Tells whether the only name of an entry is that of a subject. */
function isAbout(names: readonly string[]): boolean {
  return names.length === 1 && SUBJECT_TAG.test(names[0] ?? "");
}

async function subjectOf(files: ImageFiles, digest: Digest): Promise<string | undefined> {
  const name = `"${blobPath(digest)}" in the ${files.title}`;
  return parseJson(await readBlob(files, digest), SUBJECT, name).subject?.digest;
}
