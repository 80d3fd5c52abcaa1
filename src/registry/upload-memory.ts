import { rm } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { limitName, uploadName } from "../cache/file-names.ts";
import { readJsonFile, writeJsonFile } from "../cache/json-file.ts";
import { messageOf } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import type { Learned, Registry } from "./registry.ts";
import type { Upload } from "./upload-session.ts";

// What outlives the process lies in files beside the blobs: where uploads stand, so that the same command goes on after
// a crash, and which bodies a registry takes. Nothing in them is trusted: the server says where an upload stands.

const UPLOAD = z.object({
  location: z.url({ protocol: /^https?$/ }),
  offset: z.int().nonnegative(),
  chunkBytes: z.int().positive(),
  minBytes: z.int().positive().optional(),
  maxBytes: z.int().positive().optional(),
});
const LEARNED = z.object({
  maxBodyBytes: z.int().positive().optional(),
  wholePuts: z.enum(["only", "preferred"]).optional(),
  bytesPerSecond: z.number().positive().optional(),
});

/** The upload of a blob that an earlier process began. Undefined where there is none, or none that can be read. */
export async function recallUpload(registry: Registry, digest: Digest): Promise<Upload | undefined> {
  const saved = UPLOAD.safeParse(await readJsonFile(registry.memory.directory, uploadName(registry, digest)));
  if (!saved.success) return undefined;
  const { location, offset, chunkBytes, minBytes, maxBytes } = saved.data;
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
  const { data } = LEARNED.safeParse(
    await readJsonFile(registry.memory.directory, limitName(registry.origin)),
  );
  const learned = { maxBodyBytes: data?.maxBodyBytes, wholePuts: data?.wholePuts };
  return { learned, bytesPerSecond: data?.bytesPerSecond };
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
