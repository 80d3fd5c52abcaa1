import { join } from "node:path";
import { z } from "zod";
import { placeName } from "../cache/file-names.ts";
import type { Digest } from "../oci/digest.ts";
import { isRepository } from "../oci/reference.ts";
import type { Registry } from "./registry.ts";
import { readJson, writeJson } from "./upload-memory.ts";

// In which repository of a registry a blob was seen lies in a file beside the blobs, so that a push to another one may
// mount it. Nothing in it is trusted: the registry says whether it has the blob there.

const PLACE = z.object({ repository: z.string().refine(isRepository) });

/** The repository of this registry in which a blob was seen last. */
export async function recallRepository(registry: Registry, digest: Digest): Promise<string | undefined> {
  return PLACE.safeParse(await readJson(placePath(registry, digest))).data?.repository;
}

/** Notes that the registry's own repository has a blob. */
export async function rememberRepository(registry: Registry, digest: Digest): Promise<void> {
  const { repository } = registry;
  if ((await recallRepository(registry, digest)) === repository) return;
  await writeJson(registry, placePath(registry, digest), { repository });
}

function placePath({ memory, origin }: Registry, digest: Digest): string {
  return join(memory.directory, placeName(origin, digest));
}
