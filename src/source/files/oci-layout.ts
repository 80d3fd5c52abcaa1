import * as v from "valibot";
import type { Content } from "../../oci/content.ts";
import { blobPath, type Digest } from "../../oci/digest.ts";
import { parseIndex } from "../../oci/image-index.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import type { Candidate } from "../select-image.ts";
import type { ContentReader, Missing } from "./content.ts";
import { type ImageFiles, readBlob, readDocument } from "./image-files.ts";

const INDEX_PATH = "index.json";

/** containerd's annotation has the full name; OCI's often has only the tag. */
const NAME_ANNOTATIONS = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/** cosign and clients of registries without a list of referrers name them for their subject. */
const SUBJECT_TAG = /(?:^|:)sha256-([0-9a-f]{64})(?:\.[a-z]+)?$/;

const MAX_ENTRIES = 1000;

const SUBJECT = object({
  subject: v.nullish(object({ digest: v.string() })),
});

/** What a layout holds about other content of it: a signature, or an SBOM. */
export type Referrer = {
  /** What it is about. */
  readonly subject: string;
  /** The tag under which clients look for it. Undefined: they ask the registry what refers to the subject. */
  readonly tag: string | undefined;
  read(): Promise<Content | Missing>;
};

/** The images of a layout, and what is about them. */
export type Layout = { readonly candidates: readonly Candidate[]; readonly referrers: readonly Referrer[] };

/**
 * Lists what an OCI layout holds; undefined if there is no `index.json`.
 * https://github.com/opencontainers/image-spec/blob/v1.1.1/image-layout.md
 */
export async function readOciLayout(files: ImageFiles, reader: ContentReader): Promise<Layout | undefined> {
  if ((await files.open(INDEX_PATH)) === undefined) return undefined;
  const entries = parseIndex(await readDocument(files, INDEX_PATH), `"${INDEX_PATH}" in the ${files.title}`);
  const listed = new Map<
    Digest,
    { names: string[]; mediaType: string | undefined; platform: string | undefined }
  >();
  for (const { digest, annotations, mediaType, platform, isAttestation } of entries.slice(0, MAX_ENTRIES)) {
    // Engines that save one platform list others too, but leave their blobs out.
    if (isAttestation || (await files.open(blobPath(digest))) === undefined) continue;
    const found = listed.get(digest) ?? { names: [], mediaType, platform };
    found.names.push(...NAME_ANNOTATIONS.flatMap((key) => annotations[key] ?? []).slice(0, 1));
    listed.set(digest, found);
  }
  const candidates: Candidate[] = [];
  const referrers: Referrer[] = [];
  for (const [digest, { names, mediaType, platform }] of listed) {
    const read = () => reader.read(digest, mediaType);
    const [tag = "", hex] = names.length === 1 ? (SUBJECT_TAG.exec(names[0] ?? "") ?? []) : [];
    if (hex !== undefined) {
      referrers.push({ subject: `sha256:${hex}`, tag: tag.replace(":", ""), read });
      continue;
    }
    const subject = listed.size > 1 && names.length === 0 ? await subjectOf(files, digest) : undefined;
    if (subject !== undefined) referrers.push({ subject, tag: undefined, read });
    else candidates.push({ names, digests: [digest], platform, read });
  }
  return { candidates, referrers };
}

async function subjectOf(files: ImageFiles, digest: Digest): Promise<string | undefined> {
  const name = `"${blobPath(digest)}" in the ${files.title}`;
  return parseJson(await readBlob(files, digest), SUBJECT, name).subject?.digest;
}
