import { join } from "node:path";
import {
  type Archive,
  type ChunkpushOptions,
  chunkpush,
  crane,
  imageName,
  regctl,
  skopeo,
} from "./clients.ts";
import { ENGINE_IMAGE, type Engines, startEngines } from "./engines.ts";
import type { Images } from "./images.ts";
import { type Command, measure } from "./measure.ts";
import type { Scene } from "./scene.ts";
import { splitBlobs } from "./split-blobs.ts";

/** One of those who are compared. */
export type Contender = {
  readonly name: string;
  /** Not installed: it is left out, with a word. */
  readonly needs?: string;
  /** What has to be there before; not measured. */
  readonly prepare?: (scene: Scene) => Promise<void>;
  readonly command: (scene: Scene) => Command | Promise<Command>;
};

/** A comparison. The first contender that can run is the one that the others are measured by. */
export type Case = {
  readonly title: string;
  readonly isSecure?: true;
  readonly contenders: readonly Contender[];
  /** Daemons to be stopped when it is over. */
  readonly engines?: Engines;
};

export type CaseOptions = {
  readonly images: Images;
  /** Of chunkpush, and of curl. */
  readonly chunkBytes: number;
  readonly say: (line: string) => void;
};

/** Every case by its name, in the order in which they run. */
export const CASES: Readonly<Record<string, (options: CaseOptions) => Promise<Case>>> = {
  cold: async ({ images }) => {
    const archive = dockerArchive(await images.image());
    return {
      title: "Cold push of an archive",
      contenders: [
        withSkopeo(archive),
        withChunkpush(archive),
        { name: "crane", needs: "crane", command: (scene) => crane(scene, archive) },
        { name: "regctl", needs: "regctl", command: (scene) => regctl(scene, archive) },
      ],
    };
  },

  zstd: async ({ images }) => {
    const archive = dockerArchive(await images.image());
    return {
      title: "The same with zstd",
      contenders: [
        withSkopeo(archive, "skopeo, gzip"),
        withChunkpush(archive, "chunkpush, zstd", { flags: ["--compression", "zstd"] }),
        withSkopeo(archive, "skopeo, zstd", ["--dest-compress-format", "zstd"]),
      ],
    };
  },

  none: async ({ images }) => {
    const archive = dockerArchive(await images.image());
    return {
      title: "The same uncompressed",
      contenders: [
        withSkopeo(archive, "skopeo, gzip"),
        withChunkpush(archive, "chunkpush, none", { flags: ["--compression", "none"] }),
      ],
    };
  },

  warm: async ({ images }) => {
    const archive = dockerArchive(await images.image());
    const warm = { cache: "cache" };
    return {
      title: "The same image again",
      contenders: [
        nothingAtAll(),
        {
          name: "chunkpush",
          prepare: async (scene) => void (await measure(chunkpush(scene, archive.path, warm))),
          command: (scene) => chunkpush(scene, archive.path, warm),
        },
        {
          ...withSkopeo(archive),
          prepare: async (scene) => void (await measure(skopeo(scene, archive))),
        },
      ],
    };
  },

  "earlier-tag": async ({ images }) => {
    const archive = dockerArchive(await images.image());
    const earlier = await images.earlierImage();
    return {
      title: "Cold cache, one small layer changed",
      contenders: [
        withChunkpush(archive, "chunkpush, all new"),
        {
          name: "chunkpush, --cache-from",
          prepare: async (scene) => void (await measure(chunkpush(scene, earlier, { tag: "v1" }))),
          command: (scene) =>
            chunkpush(scene, archive.path, { flags: ["--cache-from", imageName(scene, "v1")] }),
        },
      ],
    };
  },

  compressed: (options) => compressedCase(options, "Compressed layers, http"),
  "compressed-https": async (options) => ({
    ...(await compressedCase(options, "Compressed layers, https")),
    isSecure: true,
  }),

  "own-limit": async ({ images }) => {
    const archive = dockerArchive(await images.image());
    return {
      title: "Own limit",
      contenders: [
        {
          name: "compressing alone",
          command: ({ folder }) => ({
            ...bunScript("compress-layers.ts", archive.path, folder),
            cwd: folder,
          }),
        },
        withChunkpush(archive),
      ],
    };
  },

  engine: async ({ images, say }) => {
    const engines = await startEngines(await images.image(), say);
    return { title: "From an engine", contenders: engineContenders(engines), engines };
  },

  "engine-warm": async ({ images, say }) => {
    const engines = await startEngines(await images.image(), say);
    const again = engineContenders(engines, { cache: "cache" }).map((contender) => ({
      ...contender,
      prepare: async (scene: Scene) => {
        await contender.prepare?.(scene);
        await measure(await contender.command(scene));
      },
    }));
    return { title: "From an engine, again", contenders: [nothingAtAll(), ...again], engines };
  },
};

async function compressedCase({ images, chunkBytes }: CaseOptions, title: string): Promise<Case> {
  const archive: Archive = { path: await images.compressedArchive(), transport: "oci-archive" };
  const layout = await images.compressedFolder();
  return {
    title,
    contenders: [
      {
        name: "curl",
        needs: "curl",
        prepare: async ({ folder }) => void (await splitBlobs(layout, folder, chunkBytes)),
        command: ({ folder, registry: { host, trust } }) => {
          const origin = trust === undefined ? `http://${host}` : `https://${host}`;
          const secure = trust === undefined ? [] : [trust.file];
          return {
            ...bunScript("curl-push.ts", origin, join(folder, "chunks.json"), ...secure),
            cwd: folder,
          };
        },
      },
      withChunkpush(archive, "chunkpush", { flags: ["--chunk-size", `${chunkBytes}`] }),
      withSkopeo(archive),
    ],
  };
}

function engineContenders({ docker, podman }: Engines, options: ChunkpushOptions = {}): Contender[] {
  const contenders: Contender[] = [];
  if (docker !== undefined) {
    const daemons = [docker.pid];
    contenders.push(
      {
        name: "docker push",
        prepare: async (scene) => void (await docker.docker("tag", ENGINE_IMAGE, imageName(scene))),
        command: (scene) => ({
          argv: ["docker", "push", imageName(scene)],
          env: docker.env,
          cwd: scene.folder,
          daemons,
        }),
      },
      {
        name: "chunkpush from Docker",
        command: (scene) => chunkpush(scene, ENGINE_IMAGE, { ...options, env: docker.env, daemons }),
      },
    );
  }
  if (podman !== undefined) {
    contenders.push({
      name: "podman push",
      command: (scene) => ({
        argv: [...podman.command, "push", "--tls-verify=false", ENGINE_IMAGE, `docker://${imageName(scene)}`],
        env: podman.env,
        cwd: scene.folder,
      }),
    });
  }
  return contenders;
}

function dockerArchive(path: string): Archive {
  return { path, transport: "docker-archive" };
}

function withSkopeo(archive: Archive, name = "skopeo", flags: readonly string[] = []): Contender {
  return { name, needs: "skopeo", command: (scene) => skopeo(scene, archive, flags) };
}

function withChunkpush({ path }: Archive, name = "chunkpush", options: ChunkpushOptions = {}): Contender {
  return { name, command: (scene) => chunkpush(scene, path, options) };
}

/** The least that any program takes which Bun runs. */
function nothingAtAll(): Contender {
  return {
    name: "Bun alone (bun -e 0)",
    command: ({ folder }) => ({ argv: [process.execPath, "-e", "0"], env: {}, cwd: folder }),
  };
}

function bunScript(script: string, ...args: readonly string[]) {
  return { argv: [process.execPath, "run", join(import.meta.dir, script), ...args], env: {} };
}
