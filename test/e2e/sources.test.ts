/**
 * Images of a real engine, in every form in which they may lie on a disk, pushed to real registries and pulled again
 * by other programs than ours.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { copyFile, cp, mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import { RUNS_ALL, testInTurn } from "../support/all-tests.ts";
import { run, runWell } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { requireParts } from "../support/parts.ts";
import { openPodmanStore, type PodmanStore } from "../support/podman-store.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { sha256 } from "../support/sha256.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { TELLS_EVENTS, toldBlobs } from "../support/told-events.ts";
import { installDockerWrapper, type StorageMode } from "./docker-wrapper.ts";
import { CHUNK_BYTES, LOGGED_REGISTRIES, type LoggedRegistry, uploadedDigests } from "./logged-registry.ts";
import { readContent } from "./registry-content.ts";
import { type SavedImage, unpackSavedImage, writeOciLayout } from "./saved-image.ts";
import { buildEmptyImage, buildTestImage } from "./test-image.ts";

setDefaultTimeout(60_000);

const NAME = "team/app:v1";
const BIG_LAYER_CHUNKS = 4;
const CHUNKED = ["--chunk-size", `${CHUNK_BYTES}`];

let engine: DockerEngine;
let podman: PodmanStore;
let saved: SavedImage;
/** The digest of the config, and so the image's ID for every engine. */
let imageId: string;

type SourceForm = {
  readonly title: string;
  /** Puts the image where it is to be pushed from. @returns the source argument, if there is to be one */
  readonly prepare: (cwd: string, target: string) => Promise<string[]>;
};

const FORMS: readonly SourceForm[] = [
  {
    title: "the engine's image of the target's name",
    async prepare(_, target) {
      await engine.docker("load", "--input", saved.archive);
      await engine.docker("tag", NAME, target);
      return [];
    },
  },
  {
    title: "an image of the engine by another name",
    async prepare() {
      await engine.docker("load", "--input", saved.archive);
      return [NAME];
    },
  },
  {
    title: "output.tar in the working folder",
    async prepare(cwd) {
      await copyFile(saved.archive, join(cwd, "output.tar"));
      return [];
    },
  },
  { title: "an archive elsewhere", prepare: async () => [saved.archive] },
  {
    title: "an archive through gzip",
    async prepare(cwd) {
      await Bun.write(join(cwd, "image.tar.gz"), Bun.gzipSync(await Bun.file(saved.archive).bytes()));
      return ["image.tar.gz"];
    },
  },
  {
    title: "an archive through zstd",
    async prepare(cwd) {
      await runWell(["zstd", "-q", saved.archive, "-o", join(cwd, "image.tar.zst")]);
      return ["image.tar.zst"];
    },
  },
  {
    title: "an unpacked archive in .output-image/",
    async prepare(cwd) {
      await cp(saved.folder, join(cwd, ".output-image"), { recursive: true, verbatimSymlinks: true });
      return [];
    },
  },
  {
    title: "a folder as engine 25 saves it",
    async prepare(cwd) {
      await writeOciLayout(saved, join(cwd, "image"), { withManifestJson: true });
      return ["image"];
    },
  },
  {
    title: "an archive as engine 25 saves it",
    async prepare(cwd) {
      await writeOciLayout(saved, join(cwd, "image"), { withManifestJson: true });
      await runWell(["tar", "-cf", "image.tar", "-C", "image", "."], { cwd });
      return ["image.tar"];
    },
  },
  {
    title: "a folder with index.json and blobs/ alone",
    async prepare(cwd) {
      await writeOciLayout(saved, join(cwd, "image"), { withManifestJson: false });
      return ["image"];
    },
  },
];

const isReady = requireParts("dockerd", "docker-registry", "skopeo", "podman", "zstd");

describe.skipIf(!isReady)("from a real engine,", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());

  beforeAll(async () => {
    const folder = resources.use(await temporaryFolder());
    engine = resources.use(await startDockerEngine());
    podman = resources.use(await openPodmanStore());
    await buildTestImage(engine, NAME);
    imageId = await engine.docker("image", "inspect", "--format", "{{.Id}}", NAME);
    const archive = join(folder.path, "saved.tar");
    await engine.docker("save", "--output", archive, NAME);
    saved = await unpackSavedImage(archive, join(folder.path, "saved"));
  });

  test("the test image has the layers that these tests need", () => {
    expect(sha256(saved.config)).toBe(imageId);
    const [first, second, third] = saved.diffIds;
    expect(saved.diffIds).toHaveLength(5);
    expect(third).toBe(first);
    expect(second).not.toBe(first);
  });

  for (const [turn, [targetTitle, start]] of Object.entries(LOGGED_REGISTRIES).entries()) {
    describe(targetTitle, () => {
      const inTurn = testInTurn(turn, 2);
      let target: LoggedRegistry;
      beforeAll(async () => {
        target = resources.use(await start());
      });

      for (const [i, form] of FORMS.entries()) {
        inTurn(`gets ${form.title}, whole and in order`, async () => {
          await using cwd = await temporaryFolder();
          const repository = `form/number-${i}`;
          const reference = `${target.host}/${repository}:v1`;
          const source = await form.prepare(cwd.path, reference);

          const pushed = await runCli([...CHUNKED, ...source, reference], {
            cwd: cwd.path,
            env: engine.env,
          });
          expect(pushed.code, pushed.stderr).toBe(0);

          // Nothing is left of what was saved or unpacked on the way.
          const kept = await readdir(join(cwd.path, ".cache"));
          expect(
            kept.filter(
              (name) =>
                !/^(?:[0-9a-f]{64}(?:-ptr|-image)?|(?:places|limit)-[0-9a-f]{16}|cache\.lock)$/.test(name),
            ),
          ).toEqual([]);

          const pulled = await readBack(reference);
          expect(pushed.stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
          expect(Buffer.from(pulled.config).equals(saved.config)).toBe(true);
          expect(pulled.diffIds).toEqual([...saved.diffIds]);

          const requests = await target.pushRequests(repository, "v1");
          expect(requests.filter(({ method }) => method === "PATCH")).toHaveLength(BIG_LAYER_CHUNKS);
          // Whether blobs are there, and earlier images, is asked.
          const changing = requests.filter(({ method }) => method !== "HEAD" && method !== "GET");
          expect(changing.filter(({ status }) => status >= 400)).toEqual([]);
          // Four different layers and the config, each of them once.
          expect(new Set(uploadedDigests(requests)).size).toBe(5);
          expect(uploadedDigests(requests)).toHaveLength(5);
          expect(Math.max(0, ...target.bodySizes())).toBeLessThanOrEqual(CHUNK_BYTES);

          // Without all tests, one of the engines for each of the forms that a registry meets.
          if (RUNS_ALL || i % 4 < 2) expect(await pulledByEngine(reference)).toBe(imageId);
          if (RUNS_ALL || i % 4 >= 2) expect(await pulledByPodman(reference)).toBe(imageId);
        });
      }

      inTurn("gets the bytes of a compressed image unchanged", async () => {
        await using cwd = await temporaryFolder();
        const reference = `${target.host}/compressed:v1`;
        const [archive, layout] = [join(cwd.path, "output.tar"), join(cwd.path, "layout")];
        for (const to of [`oci-archive:${archive}:v1`, `oci:${layout}:v1`])
          await runWell(["skopeo", "copy", "--insecure-policy", `docker-archive:${saved.archive}`, to]);
        const index = await Bun.file(join(layout, "index.json")).json();
        const blob = (digest: string) => join(layout, "blobs/sha256", digest.slice("sha256:".length));
        const manifest = await Bun.file(blob(index.manifests[0].digest)).json();

        const pushed = await runCli([...CHUNKED, reference], { cwd: cwd.path });
        expect(pushed.code, pushed.stderr).toBe(0);
        expect(pushed.stderr).not.toContain(": compress");
        const pulled = await readBack(reference);
        expect(sha256(pulled.config)).toBe(manifest.config.digest);
        expect(pulled.diffIds).toEqual([...saved.diffIds]);
        const digests = [manifest.config, ...manifest.layers].map(({ digest }) => digest);
        expect(uploadedDigests(await target.pushRequests("compressed", "v1"))).toEqual(
          [...new Set<string>(digests)].sort(),
        );
        expect(pulled.manifestDigest).toBe(index.manifests[0].digest);
      });

      inTurn("gets a manifest that podman wrote unchanged, annotations and all", async () => {
        await using cwd = await temporaryFolder();
        await Bun.write(join(cwd.path, "context/file"), "content\n");
        await Bun.write(join(cwd.path, "context/Dockerfile"), "FROM scratch\nCOPY file /\n");
        const annotation = ["--annotation", "org.example.note=kept"];
        await podman.podman(
          "build",
          "--quiet",
          ...annotation,
          "--tag",
          "noted:v1",
          join(cwd.path, "context"),
        );
        const archive = join(cwd.path, "output.tar");
        await podman.podman("save", "--quiet", "--format", "oci-archive", "--output", archive, "noted:v1");
        await podman.podman("rmi", "--all", "--force");
        const index = JSON.parse(await runWell(["tar", "-xOf", archive, "index.json"]));

        const reference = `${target.host}/noted:v1`;
        const pushed = await runCli([reference], { cwd: cwd.path });
        expect(pushed.code, pushed.stderr).toBe(0);
        expect((await readBack(reference)).manifestDigest).toBe(index.manifests[0].digest);
      });

      inTurn("gets an image that podman saved", async () => {
        await using cwd = await temporaryFolder();
        const archive = join(cwd.path, "podman.tar");
        await podman.podman("load", "--input", saved.archive);
        await podman.podman("save", "--output", archive, imageId.slice("sha256:".length));
        await podman.podman("rmi", "--all", "--force");
        const podmanSaved = await unpackSavedImage(archive, join(cwd.path, "podman"));

        const reference = `${target.host}/podman:v1`;
        const pushed = await runCli([...CHUNKED, "podman.tar", reference], { cwd: cwd.path });
        expect(pushed.code, pushed.stderr).toBe(0);
        const pulled = await readBack(reference);
        expect(Buffer.from(pulled.config).equals(podmanSaved.config)).toBe(true);
        expect(pulled.diffIds).toEqual([...saved.diffIds]);
      });

      inTurn("gets no blob twice", async () => {
        await using cwd = await temporaryFolder();
        await copyFile(saved.archive, join(cwd.path, "output.tar"));
        const push = (tag: string, ...flags: string[]) =>
          runCli([...CHUNKED, ...flags, `${target.host}/twice:${tag}`], {
            cwd: cwd.path,
            env: TELLS_EVENTS,
          });

        const first = await push("v1");
        expect(first.code, first.stderr).toBe(0);
        const before = (await target.pushRequests("twice", "v1")).length;
        // Another machine, with a cache of its own, finds the same blobs.
        await mkdir(join(cwd.path, "other"));
        for (const flags of [[], ["--cache-dir", "other"]]) {
          const tag = `again-${flags.length}`;
          const pushed = await push(tag, ...flags);
          expect(pushed.code, pushed.stderr).toBe(0);
          expect(toldBlobs(pushed.stderr, "sent")).toEqual([]);
          expect(toldBlobs(pushed.stderr, "present")).toHaveLength(5);
          const requests = (await target.pushRequests("twice", tag)).slice(before);
          const writes = requests.filter(({ method }) => method !== "HEAD" && method !== "GET");
          expect(writes.map(({ path }) => path)).not.toContainEqual(expect.stringContaining("/blobs/"));
        }
      });

      inTurn("gets an image without layers", async () => {
        await using cwd = await temporaryFolder();
        const { archive, config } = dockerArchive([], ["no/layers:v1"]);
        await Bun.write(join(cwd.path, "output.tar"), archive);
        const reference = `${target.host}/no/layers:v1`;
        const pushed = await runCli([reference], { cwd: cwd.path });
        expect(pushed.code, pushed.stderr).toBe(0);
        const pulled = await readBack(reference);
        expect(Buffer.from(pulled.config).equals(config)).toBe(true);
        expect(pulled.diffIds).toEqual([]);
        expect(await pulledByPodman(reference)).toBe(sha256(config));
      });

      inTurn(
        "gets an engine's image without layers, which a save may refuse: then docker's own word why",
        async () => {
          await using cwd = await temporaryFolder();
          const name = "no/layers:v1";
          await buildEmptyImage(engine, name);
          const docker = await installDockerWrapper(cwd.path, 0);
          const push = (to: string, storage: StorageMode) =>
            runCli([name, to], {
              cwd: cwd.path,
              env: { ...engine.env, ...docker.env("whole", storage) },
            });
          const stored = `${target.host}/built-without:v1`;
          const result = await push(stored, "readable");
          expect(result.code, result.stderr).toBe(0);
          expect((await readContent(stored)).config).toBe(
            await engine.docker("image", "inspect", "--format", "{{.Id}}", name),
          );

          const dockersOwn = await run(["docker", "save", "--output", "saved.tar", name], {
            cwd: cwd.path,
            env: engine.env,
          });
          await rm(join(cwd.path, ".cache"), { recursive: true });
          const saved = await push(`${target.host}/saved-without:v1`, "hidden");
          // Engine 20.10 says "empty export - not implemented".
          expect(saved.code).toBe(dockersOwn.code);
          if (dockersOwn.code !== 0) expect(saved.stderr).toContain(dockersOwn.stderr.trim());
        },
      );
    });
  }
});

/** Pulls with the engine, which has nothing left of the image before. @returns the image's ID */
async function pulledByEngine(reference: string): Promise<string> {
  // Not by their IDs: the engine lists those of one second in any order, and refuses a parent before its children.
  await engine.docker("image", "prune", "--all", "--force");
  expect(await engine.docker("image", "ls", "--all", "--quiet", "--no-trunc")).toBe("");
  await engine.docker("pull", "--quiet", reference);
  return engine.docker("image", "inspect", "--format", "{{.Id}}", reference);
}

/** Pulls with podman into an empty storage. @returns the image's ID */
async function pulledByPodman(reference: string): Promise<string> {
  await podman.podman("pull", "--quiet", "--tls-verify=false", reference);
  const id = await podman.podman("image", "inspect", "--format", "{{.Id}}", reference);
  await podman.podman("rmi", "--all", "--force");
  return `sha256:${id}`;
}
