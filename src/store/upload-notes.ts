import { rm } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { messageOf } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import { object } from "../oci/json-schema.ts";
import type { Learned, Registry } from "../registry/registry.ts";
import type { Upload } from "../registry/upload/session.ts";
import { limitName, uploadName } from "./file-names.ts";
import { readJsonFile, writeJsonFile } from "./json-file.ts";

// What outlives the process lies in files beside the blobs: where uploads stand, so that the same command goes on after
// a crash, and which bodies a registry takes. Nothing in them is trusted: the server says where an upload stands.

const SIZE = v.pipe(v.number(), v.safeInteger(), v.minValue(1));
const UPLOAD = object({
  location: v.pipe(v.string(), v.trim(), v.regex(/^https?:\/\//i), v.url()),
  offset: v.pipe(v.number(), v.safeInteger(), v.minValue(0)),
  chunkBytes: SIZE,
  minBytes: v.optional(SIZE),
  maxBytes: v.optional(SIZE),
});
const LEARNED = object({
  maxBodyBytes: v.optional(SIZE),
  wholePuts: v.optional(v.picklist(["only", "preferred"])),
  bytesPerSecond: v.optional(v.pipe(v.number(), v.finite(), v.gtValue(0))),
});

/** The upload of a blob that an earlier process began. Undefined where there is none, or none that can be read. */
export async function recallUpload(registry: Registry, digest: Digest): Promise<Upload | undefined> {
  const note = await readJsonFile(registry.memory.directory, uploadName(registry, digest));
  const saved = v.safeParse(UPLOAD, note);
  if (!saved.success) return undefined;
  const { location, offset, chunkBytes, minBytes, maxBytes } = saved.output;
  return { session: { location: new URL(location), offset }, chunkBytes, limits: { minBytes, maxBytes } };
}

/** Notes where an upload stands. The file is the user's alone: a Location may carry a signature. */
export async function rememberUpload(
  registry: Registry,
  digest: Digest,
  { session, chunkBytes, limits }: Upload,
): Promise<void> {
  const { href: location } = session.location;
  const { offset } = session;
  await writeNote(registry, uploadName(registry, digest), { location, offset, chunkBytes, ...limits });
}

/** Forgets an upload that is done, or given up. */
export async function forgetUpload(registry: Registry, digest: Digest): Promise<void> {
  await unlessFailing(registry, () =>
    rm(join(registry.memory.directory, uploadName(registry, digest)), { force: true }),
  );
}

/** What earlier processes have learned about the bodies that a registry takes, and how fast it took them. */
export async function recallLearned(
  registry: Pick<Registry, "memory" | "origin">,
): Promise<{ learned: Learned; bytesPerSecond: number | undefined }> {
  const note = await readJsonFile(registry.memory.directory, limitName(registry.origin));
  const saved = v.safeParse(LEARNED, note);
  const { maxBodyBytes, wholePuts, bytesPerSecond } = saved.success ? saved.output : {};
  return { learned: { maxBodyBytes, wholePuts }, bytesPerSecond };
}

/** Notes what worked where something else was refused, and how fast it went. */
export async function rememberLearned(registry: Registry): Promise<void> {
  const { maxBodyBytes, wholePuts } = registry.learned;
  const isOfUse = wholePuts !== "refused";
  await writeNote(registry, limitName(registry.origin), {
    maxBodyBytes,
    ...(isOfUse && { wholePuts }),
    bytesPerSecond: registry.link.bytesPerSecond(),
  });
}

/** Writes a note, if there is room for it. */
export async function writeNote(registry: Registry, name: string, value: unknown): Promise<void> {
  await unlessFailing(registry, () => writeJsonFile(registry.memory.directory, name, value));
}

/** A push needs no memory. Where there is no room for one, it goes on without, and only the next push pays for it. */
async function unlessFailing({ memory }: Registry, change: () => Promise<void>): Promise<void> {
  try {
    await change();
  } catch (error) {
    if (!(error instanceof Error && "syscall" in error)) throw error;
    memory.onFailure?.(messageOf(error));
  }
}
