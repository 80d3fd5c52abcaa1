import { readFile, rename, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { z } from "zod";
import { limitName, uploadName } from "../cache/file-names.ts";
import { messageOf } from "../errors.ts";
import type { Digest } from "../oci/digest.ts";
import { temporaryFile } from "../temporary-file.ts";
import type { Registry } from "./registry.ts";
import type { UploadSession } from "./upload-session.ts";

// What outlives the process lies in files beside the blobs: where uploads stand, so that the same command goes on after
// a crash, and how large a body a registry takes. Nothing in them is trusted: the server says where an upload stands.

/** An upload that was begun: where it stands, the size that all its chunks have, and the least that they may have. */
type RememberedUpload = UploadSession & {
  readonly chunkBytes: number;
  readonly minBytes: number | undefined;
};

const UPLOAD = z.object({
  location: z.url({ protocol: /^https?$/ }),
  offset: z.int().nonnegative(),
  chunkBytes: z.int().positive(),
  minBytes: z.int().positive().optional(),
});
const LIMIT = z.object({ maxBodyBytes: z.int().positive() });

/** The upload of a blob that an earlier process began. Undefined where there is none, or none that can be read. */
export async function recallUpload(
  registry: Registry,
  digest: Digest,
): Promise<RememberedUpload | undefined> {
  const saved = UPLOAD.safeParse(await readJson(uploadPath(registry, digest)));
  if (!saved.success) return undefined;
  const { location, offset, chunkBytes, minBytes } = saved.data;
  return { location: new URL(location), offset, chunkBytes, minBytes };
}

/** Notes where an upload stands. The file is the user's alone: a Location may carry a signature. */
export async function rememberUpload(
  registry: Registry,
  digest: Digest,
  upload: RememberedUpload,
): Promise<void> {
  const { location, ...rest } = upload;
  await writeJson(registry, uploadPath(registry, digest), { location: location.href, ...rest });
}

/** Forgets an upload that is done, or given up. */
export async function forgetUpload(registry: Registry, digest: Digest): Promise<void> {
  await unlessFailing(registry, () => rm(uploadPath(registry, digest), { force: true }));
}

/** The largest body that this registry is known to take, where it refused a larger one before. */
export async function recallBodyLimit(
  registry: Pick<Registry, "memory" | "origin">,
): Promise<number | undefined> {
  const saved = LIMIT.safeParse(await readJson(limitPath(registry)));
  return saved.success ? saved.data.maxBodyBytes : undefined;
}

/** Notes the size that worked where a larger one was refused. */
export async function rememberBodyLimit(registry: Registry, maxBodyBytes: number): Promise<void> {
  await writeJson(registry, limitPath(registry), { maxBodyBytes });
}

function uploadPath(registry: Registry, digest: Digest): string {
  return join(registry.memory.directory, uploadName(registry, digest));
}

function limitPath({ memory, origin }: Pick<Registry, "memory" | "origin">): string {
  return join(memory.directory, limitName(origin));
}

async function readJson(path: string): Promise<unknown> {
  try {
    return JSON.parse(await readFile(path, "utf8"));
  } catch {
    // Missing, unreadable or torn: the upload begins anew, which is what happens without a memory.
    return undefined;
  }
}

async function writeJson(registry: Registry, path: string, value: unknown): Promise<void> {
  await unlessFailing(registry, async () => {
    await using file = temporaryFile(registry.memory.directory, "memory");
    await writeFile(file.path, JSON.stringify(value), { mode: 0o600, flush: true });
    await rename(file.path, path);
  });
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
