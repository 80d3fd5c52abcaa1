import * as v from "valibot";
import type { Digest } from "../oci/digest.ts";
import { object } from "../oci/json-schema.ts";
import { limitName, uploadName } from "./file-names.ts";
import { type NoteFolder, readNote, removeNote, writeNote } from "./notes.ts";

// Two kinds of notes outlive the process: the offsets of uploads, so that the same command resumes them, and the limits of
// registries. They are only hints: the registry decides on an upload's offset.

const SIZE = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const UPLOAD = object({
  location: v.pipe(v.string(), v.trim(), v.regex(/^https?:\/\//i), v.url()),
  offset: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  chunkBytes: SIZE,
  minBytes: v.optional(SIZE),
  maxBytes: v.optional(SIZE),
});
const LIMITS = object({
  maxBodyBytes: v.optional(SIZE),
  wholePuts: v.optional(v.picklist(["only", "preferred"])),
  toldAtMs: v.optional(SIZE),
  emptyPuts: v.optional(v.boolean()),
  bytesPerSecond: v.optional(v.pipe(v.number(), v.finite(), v.gtValue(0))),
});

/** Limits expire: a registry, or a proxy in front of it, may accept larger bodies later. */
const LIMITS_AGE_MS = 7 * 24 * 60 * 60 * 1000;

/** The state of a blob's upload: the session's address and offset, its chunk size, and the registry's limits. */
export type UploadNote = v.InferOutput<typeof UPLOAD>;

/** The body limits of a registry, and the rate of uploads to it. */
export type LimitNote = v.InferOutput<typeof LIMITS>;

/** The repository and the blob that an upload is for. */
export type UploadKey = { readonly origin: string; readonly repository: string; readonly digest: Digest };

/** Reads the state in which an earlier process left the upload of a blob. Undefined without a valid note. */
export async function recallUpload(notes: NoteFolder, key: UploadKey): Promise<UploadNote | undefined> {
  return readNote(notes, uploadName(key), UPLOAD);
}

export async function rememberUpload(notes: NoteFolder, key: UploadKey, note: UploadNote): Promise<void> {
  await writeNote(notes, uploadName(key), note);
}

/** Forgets an upload that is done or cancelled. */
export async function forgetUpload(notes: NoteFolder, key: UploadKey): Promise<void> {
  await removeNote(notes, uploadName(key));
}

/**
 * Reads the limits that earlier processes learned of a registry. Every field may be undefined. Limits that are older than
 * a week, or of unknown age, are left out.
 */
export async function recallLimits(notes: NoteFolder, origin: string): Promise<LimitNote> {
  const { bytesPerSecond, emptyPuts, ...told } = (await readNote(notes, limitName(origin), LIMITS)) ?? {};
  const ageMs = Date.now() - (told.toldAtMs ?? 0);
  return { ...(ageMs >= 0 && ageMs < LIMITS_AGE_MS && told), emptyPuts, bytesPerSecond };
}

export async function rememberLimits(notes: NoteFolder, origin: string, note: LimitNote): Promise<void> {
  await writeNote(notes, limitName(origin), note);
}
