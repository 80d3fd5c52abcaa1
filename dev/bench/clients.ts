/** How each tool is told to push an image. */
import { join } from "node:path";
import type { Command } from "./measure.ts";
import type { Scene } from "./scene.ts";

const CHUNKPUSH = join(import.meta.dir, "../../index.ts");

/** What is pushed: a file, and how the tools around skopeo call its form. */
export type Archive = { readonly path: string; readonly transport: "docker-archive" | "oci-archive" };

export type ChunkpushOptions = {
  readonly tag?: string;
  readonly flags?: readonly string[];
  /** Whose cache is used. @default none: nothing is there yet */
  readonly cache?: string;
  /** Where the Docker engine listens, and the daemons whose work counts. */
  readonly env?: Readonly<Record<string, string>>;
  readonly daemons?: readonly number[];
};

/** @param source an archive, or an image of the engine */
export function chunkpush(scene: Scene, source: string, options: ChunkpushOptions = {}): Command {
  const { trust } = scene.registry;
  const secure = trust === undefined ? [] : ["--ca-file", trust.file];
  const target = `${trust === undefined ? "" : "https://"}${imageName(scene, options.tag)}`;
  const cache = join(scene.folder, options.cache ?? `cache-${scene.uniqueName()}`);
  return {
    argv: [
      ...[process.execPath, "run", CHUNKPUSH, ...secure, "--cache-dir", cache],
      ...[...(options.flags ?? []), source, target],
    ],
    env: { HOME: scene.folder, ...options.env },
    cwd: scene.folder,
    ...(options.daemons && { daemons: options.daemons }),
  };
}

export function skopeo(scene: Scene, { path, transport }: Archive, flags: readonly string[] = []): Command {
  const { trust } = scene.registry;
  const secure = trust === undefined ? ["--dest-tls-verify=false"] : ["--dest-cert-dir", trust.folder];
  return inScene(scene, [
    ...["skopeo", "copy", "--insecure-policy", ...secure, ...flags],
    ...[`${transport}:${path}`, `docker://${imageName(scene)}`],
  ]);
}

export function crane(scene: Scene, { path }: Archive): Command {
  return inScene(scene, ["crane", "push", "--insecure", path, imageName(scene)]);
}

export function regctl(scene: Scene, { path }: Archive): Command {
  const host = `reg=${scene.registry.host},tls=disabled`;
  return inScene(scene, ["regctl", "--host", host, "image", "import", imageName(scene), path]);
}

/** `host/repository:tag`, as Docker has it. */
export function imageName({ registry }: Scene, tag = "v2"): string {
  return `${registry.host}/bench/app:${tag}`;
}

/** A home of its own: nothing that an earlier run has learnt is known. */
function inScene({ folder }: Scene, argv: readonly string[]): Command {
  return { argv, env: { HOME: folder, TMPDIR: folder }, cwd: folder };
}
