import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { type BenchRegistry, startBenchRegistry } from "./registry.ts";
import { type LinkOptions, startSlowLink } from "./slow-link.ts";

/** Where one run takes place: an empty registry, a folder that is empty, too, and the way between them. */
export type Scene = {
  readonly folder: string;
  /** Its host is that of the slow link, where there is one. */
  readonly registry: BenchRegistry;
  /** Bytes of request bodies that went over the link. Undefined: there is none. */
  readonly linkBytes: () => number | undefined;
  /** A name that no other file of the scene has. */
  readonly uniqueName: () => string;
};

export type SceneOptions = {
  /** Where the scene's folder is made. */
  readonly parent: string;
  readonly isSecure: boolean;
  readonly link: LinkOptions | undefined;
};

export async function openScene({ parent, isSecure, link }: SceneOptions): Promise<Scene & AsyncDisposable> {
  await using resources = new AsyncDisposableStack();
  const folder = await mkdtemp(join(parent, "run-"));
  // The last resort, where the process ends before the run does: a registry's storage is large.
  const onExit = () => rmSync(folder, { recursive: true, force: true });
  process.on("exit", onExit);
  resources.defer(async () => {
    await rm(folder, { recursive: true, force: true });
    process.off("exit", onExit);
  });
  const registry = resources.use(await startBenchRegistry(folder, isSecure));
  const slow = link && resources.use(await startSlowLink(registry.host, link));
  const owned = resources.move();
  let names = 0;
  return {
    folder,
    registry: slow ? { ...registry, host: slow.host } : registry,
    linkBytes: () => slow?.carriedBytes(),
    uniqueName: () => `${++names}`,
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
