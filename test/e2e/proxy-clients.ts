/** Programs that push an image and pull it, each as its users call it for a registry on localhost. */
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { runWell } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { requireParts } from "../support/parts.ts";
import { type Place, THIS_MACHINE } from "../support/place.ts";
import { openPodmanStore } from "../support/podman-store.ts";
import { sha256 } from "../support/sha256.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findLab } from "./engine-lab.ts";

/** A program that has the image. */
export type Client = AsyncDisposable & {
  /** Pushes the image. @returns the digest that the client names */
  push(reference: string): Promise<string>;
  /** Forgets the image, and pulls it. @returns the digest that the client names */
  pull(reference: string): Promise<string>;
};

export type ClientRole = {
  readonly title: string;
  /** Pushes the layers of its archive. BuildKit makes layers of its own. */
  readonly keepsLayers: boolean;
  /** @param archive as `docker save` writes it */
  start(archive: Uint8Array<ArrayBuffer>): Promise<Client>;
};

const NAME = "team/app:v1";

const lab = findLab();

/** Every client that is there. */
export const CLIENTS: readonly ClientRole[] = [
  ...(requireParts("dockerd", "mount") ? [docker("Docker of this machine", "vfs", THIS_MACHINE)] : []),
  ...(requireParts("podman", "mount") ? [podman("Podman of this machine", THIS_MACHINE)] : []),
  ...(requireParts("skopeo") ? [skopeo("skopeo of this machine", THIS_MACHINE)] : []),
  ...(lab === undefined ? [] : clientsOfToday(lab)),
];

function clientsOfToday(place: Place): ClientRole[] {
  return [
    docker("Docker of today, classic store", "overlay2", place),
    docker("Docker of today, containerd store", "overlayfs", place),
    buildx("Buildx on the containerd store", "overlayfs", place),
    podman("Podman of today", place),
    buildah("Buildah of today", place),
    skopeo("skopeo of today", place),
  ];
}

/** The digest in what a client has said. */
function digestIn(said: string): string {
  return /sha256:[0-9a-f]{64}/.exec(said.slice(said.search(/digest: /i)))?.[0] ?? "";
}

type Calls = Omit<Client, typeof Symbol.asyncDispose>;

/** @param open has the image of `image.tar`, in a folder that is the same in the place */
function client(
  title: string,
  place: Place,
  open: (at: (name: string) => string, resources: AsyncDisposableStack) => Promise<Calls>,
  keepsLayers = true,
): ClientRole {
  return {
    title,
    keepsLayers,
    async start(archive) {
      await using resources = new AsyncDisposableStack();
      const folder = resources.use(await temporaryFolder(place.folder));
      const at = (name: string) => join(folder.path, name);
      await Bun.write(at("image.tar"), archive);
      const calls = await open(at, resources);
      const owned = resources.move();
      return { ...calls, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    },
  };
}

function docker(title: string, driver: "vfs" | "overlay2" | "overlayfs", place: Place): ClientRole {
  return client(title, place, async (at, resources) => {
    const engine = resources.use(await startDockerEngine(driver, place));
    await engine.docker("load", "--input", at("image.tar"));
    return {
      async push(reference) {
        await engine.docker("tag", NAME, reference);
        return digestIn(await engine.docker("push", reference));
      },
      pull: (reference) => pullAnew(engine, reference),
    };
  });
}

async function pullAnew(engine: DockerEngine, reference: string): Promise<string> {
  await engine.docker("image", "rm", "--force", NAME, reference);
  const digest = digestIn(await engine.docker("pull", reference));
  await engine.docker("tag", reference, NAME);
  return digest;
}

const SAVED = v.tuple([v.object({ Layers: v.array(v.string()) })]);
const BUILT = v.object({ "containerimage.digest": v.string() });

function buildx(title: string, driver: "overlayfs", place: Place): ClientRole {
  return client(
    title,
    place,
    async (at, resources) => {
      const engine = resources.use(await startDockerEngine(driver, place));
      await mkdir(at("context"));
      await runWell(["tar", "-xf", at("image.tar"), "-C", at("context")]);
      const [{ Layers }] = v.parse(SAVED, await Bun.file(at("context/manifest.json")).json());
      const lines = Layers.map((layer, i) => `COPY ${layer} /${i}/\n`);
      await Bun.write(at("context/Dockerfile"), `FROM scratch\n${lines.join("")}`);
      return {
        async push(reference) {
          const flags = ["--push", "--tag", reference, "--metadata-file", at("metadata.json"), "--quiet"];
          const command = [...engine.command, "buildx", "build", ...flags, at("context")];
          await runWell(command, { env: engine.env });
          return v.parse(BUILT, await Bun.file(at("metadata.json")).json())["containerimage.digest"];
        },
        async pull(reference) {
          return digestIn(await engine.docker("pull", reference));
        },
      };
    },
    false,
  );
}

function podman(title: string, place: Place): ClientRole {
  return client(title, place, async (at, resources) => {
    const store = resources.use(await openPodmanStore("overlay", place));
    await store.podman("load", "--quiet", "--input", at("image.tar"));
    return {
      async push(reference) {
        const flags = ["--quiet", "--tls-verify=false", "--digestfile", at("digest")];
        await store.podman("push", ...flags, NAME, reference);
        return await Bun.file(at("digest")).text();
      },
      async pull(reference) {
        await store.podman("image", "rm", "--all", "--force");
        await store.podman("pull", "--quiet", "--tls-verify=false", reference);
        await store.podman("tag", reference, NAME);
        return await store.podman("image", "inspect", "--format", "{{.Digest}}", reference);
      },
    };
  });
}

function buildah(title: string, place: Place): ClientRole {
  return client(title, place, async (at) => {
    const options = ["--root", at("root"), "--runroot", at("run"), "--storage-driver=overlay"];
    const command = (...args: readonly string[]) =>
      runWell([...place.enter, "buildah", ...options, ...args], { env: { HOME: at("home") } });
    await command("pull", "--quiet", `docker-archive:${at("image.tar")}`);
    return {
      async push(reference) {
        const flags = ["--quiet", "--tls-verify=false", "--digestfile", at("digest")];
        await command("push", ...flags, NAME, `docker://${reference}`);
        return await Bun.file(at("digest")).text();
      },
      async pull(reference) {
        await command("rmi", "--all", "--force");
        await command("pull", "--quiet", "--tls-verify=false", reference);
        await command("tag", reference, NAME);
        return digestIn(await command("images", "--digests", "--format", "digest: {{.Digest}}", reference));
      },
    };
  });
}

export function skopeo(title: string, place: Place): ClientRole {
  return client(title, place, async (at) => {
    const copy = (...args: readonly string[]) =>
      runWell([...place.enter, "skopeo", "copy", "--insecure-policy", ...args], {
        env: { HOME: at("home") },
      });
    return {
      async push(reference) {
        const flags = ["--dest-tls-verify=false", "--digestfile", at("digest")];
        await copy(...flags, `docker-archive:${at("image.tar")}`, `docker://${reference}`);
        return await Bun.file(at("digest")).text();
      },
      async pull(reference) {
        await copy("--src-tls-verify=false", `docker://${reference}`, `dir:${at("pulled")}`);
        return sha256(await Bun.file(at("pulled/manifest.json")).bytes());
      },
    };
  });
}
