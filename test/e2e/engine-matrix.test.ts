/** The same image, the same push, the same answer: from every engine that can be had here. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { rename, rm, utimes } from "node:fs/promises";
import { join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { testInTurn } from "../support/all-tests.ts";
import { runWell } from "../support/command.ts";
import { requireParts } from "../support/parts.ts";
import { type PulledImage, readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { type DockerWrapper, installDockerWrapper, type StorageMode } from "./docker-wrapper.ts";
import {
  buildImage,
  buildImageOfManyLayers,
  describeImage,
  loadImage,
  savedLayerTypes,
  smallFiles,
} from "./engine-images.ts";
import { ENGINES, type Engine, type EngineRole } from "./engines.ts";

setDefaultTimeout(120_000);

const NAME = "team/app:v1";

const hasSkopeo = requireParts("skopeo");

for (const [turn, role] of ENGINES.entries()) {
  describe.skipIf(!hasSkopeo)(`with ${role.title},`, () =>
    testEngine(role, testInTurn(turn, ENGINES.length)),
  );
}

function testEngine(
  { title, start, identity, manyLayers, runtime = "docker" }: EngineRole,
  inTurn: ReturnType<typeof testInTurn>,
): void {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let engine: Engine;
  let registry: StrictRegistry;
  let docker: DockerWrapper;

  beforeAll(async () => {
    engine = resources.use(await start());
    console.log(`${title}: ${engine.version}`);
    const folder = resources.use(await temporaryFolder(engine.folder));
    registry = resources.use(await startStrictRegistry({ directory: join(folder.path, "registry") }));
    docker = await installDockerWrapper(folder.path, 0, engine.command, runtime);
    await buildImage(engine, NAME, ["small", "large", "lines"]);
  });

  const described: Record<string, ReturnType<typeof describeImage>> = {};
  let repositories = 0;
  const newRepository = () => `matrix/number-${++repositories}`;
  // The engine's own command has to reach the folder where the push runs.
  const newFolder = () => temporaryFolder(engine.folder);

  const push = (
    cwd: TemporaryFolder,
    source: string,
    to: string,
    { args = [] as readonly string[], storage = "readable" as StorageMode } = {},
  ) =>
    runCli([...args, source, `${registry.host}/${to}`], {
      cwd: cwd.path,
      env: { ...engine.env, ...docker.env("whole", storage) },
    });

  /** Pushes, and tells what the engine and the registry were asked for. */
  async function pushWell(...[cwd, source, to, options]: Parameters<typeof push>) {
    await docker.calls();
    const before = registry.requests.length;
    const { code, stdout, stderr } = await push(cwd, source, to, options);
    expect(code, stderr).toBe(0);
    const bodies = registry.requests.slice(before).filter(({ kind }) => kind !== "put-manifest");
    return {
      digest: stdout.trim().slice(stdout.indexOf("@") + 1),
      saves: (await docker.calls()).filter((call) => call.startsWith("image save")).length,
      blobBytes: bodies.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0),
    };
  }

  /** The registry has the config as the engine has it, and the layers that the engine names. */
  async function expectImage(to: string, name: string): Promise<PulledImage> {
    const pulled = await readBack(`${registry.host}/${to}`);
    described[name] ??= describeImage(engine, name);
    const { config, diffIds } = await described[name];
    expect(new TextDecoder().decode(pulled.config)).toBe(new TextDecoder().decode(config));
    expect(pulled.diffIds).toEqual(diffIds);
    return pulled;
  }

  /** The digest of what a tag stands for: an index, perhaps. */
  async function taggedDigest(to: string): Promise<string | null> {
    const [repository, tag] = to.split(":");
    const url = `${registry.url}/v2/${repository}/manifests/${tag}`;
    return (await fetch(url, { method: "HEAD" })).headers.get("docker-content-digest");
  }

  /** Containerd's stores push the image themselves, as long as its layers are compressed. */
  const usualSaves = identity === "manifest" ? 0 : 1;

  /** Pushes from the engine's storage, and as if that were not there: the digest is the same, and is again. */
  async function expectColdAndWarm(name: string, wantedSaves = usualSaves): Promise<PulledImage> {
    const digests: string[] = [];
    let pulled: PulledImage | undefined;
    for (const storage of ["readable", "hidden"] as const) {
      await using cwd = await newFolder();
      const repository = newRepository();
      const { digest, saves } = await pushWell(cwd, name, `${repository}:v1`, { storage });
      expect(saves).toBe(storage === "hidden" ? wantedSaves : 0);
      pulled = await expectImage(`${repository}:v1`, name);
      expect(await taggedDigest(`${repository}:v1`)).toBe(digest);
      const warm: Record<string, unknown> = {};
      for (const to of [`${repository}:v1`, `${newRepository()}:v2`])
        warm[to] = await pushWell(cwd, name, to, { storage });
      const nothing = { digest, saves: 0, blobBytes: 0 };
      expect(warm).toEqual(Object.fromEntries(Object.keys(warm).map((to) => [to, nothing])));
      digests.push(digest);
    }
    expect(new Set(digests).size).toBe(1);
    return pulled as PulledImage;
  }

  test("an image is pushed by its name, its ID and its short ID, and is the same image", async () => {
    const { hex } = await describeImage(engine, NAME);
    const digests = [];
    for (const source of [NAME, `sha256:${hex}`, hex, hex.slice(0, 12)]) {
      await using cwd = await newFolder();
      const to = `${newRepository()}:v1`;
      digests.push((await pushWell(cwd, source, to)).digest);
      if (source === NAME) await expectImage(to, NAME);
    }
    expect(new Set(digests).size).toBe(1);
  });

  inTurn("a pulled image is pushed by its digest, with and without a tag", async () => {
    await using cwd = await newFolder();
    const repository = newRepository();
    await pushWell(cwd, NAME, `${repository}:v1`);
    const pulled = `${registry.host}/${repository}`;
    await engine.pull(`${pulled}:v1`);
    const { digests } = await describeImage(engine, `${pulled}:v1`);
    const digest = digests.find((each) => each.startsWith(`${pulled}@`))?.slice(pulled.length);
    expect(digest).toStartWith("@sha256:");
    for (const source of [`${pulled}${digest}`, `${pulled}:v1${digest}`]) {
      const to = `${newRepository()}:v1`;
      await pushWell(cwd, source, to);
      await expectImage(to, NAME);
    }
  });

  test("save writes an archive under the image's name that is what the engine itself writes, and pushes as the image", async () => {
    await using cwd = await newFolder();
    const { code, stdout, stderr } = await runCli(["save", NAME, "--runtime", runtime], {
      cwd: cwd.path,
      env: { ...engine.env, ...docker.env() },
    });
    expect([code, stdout], stderr).toEqual([0, "team_app_v1.tar\n"]);
    const [program = "", ...args] = [...engine.command, "image", "save", NAME];
    await runWell(["sh", "-c", 'exec "$0" "$@" > own.tar', program, ...args], {
      cwd: cwd.path,
      env: engine.env,
    });
    const manifest = (file: string) => runWell(["tar", "-xOf", file, "manifest.json"], { cwd: cwd.path });
    expect(await manifest("team_app_v1.tar")).toEqual(await manifest("own.tar"));
    const to = `${newRepository()}:v1`;
    await pushWell(cwd, "./team_app_v1.tar", to);
    await expectImage(to, NAME);
  });

  inTurn(
    "an output.tar is distinguished from a newer image of the target's name, and from the same image, whatever the dates",
    async () => {
      await using cwd = await newFolder();
      const output = join(cwd.path, "output.tar");
      const env = { ...engine.env, ...docker.env() };
      const to = `${registry.host}/${newRepository()}:v1`;
      await engine.docker("tag", NAME, to);
      expect((await runCli(["save", NAME, "--runtime", runtime], { cwd: cwd.path, env })).code).toBe(0);
      await rename(join(cwd.path, "team_app_v1.tar"), output);
      const yesterday = new Date(Date.now() - 86_400_000);
      await utimes(output, yesterday, yesterday);
      const same = await runCli([to], { cwd: cwd.path, env });
      expect([same.code, same.stderr.includes("built ")], same.stderr).toEqual([0, false]);
      await buildImage(engine, to, ["lines"]);
      const other = await runCli([to], { cwd: cwd.path, env });
      expect([other.code, other.stderr.includes(`has ${to}, built `)], other.stderr).toEqual([0, true]);
    },
  );

  test("a second push saves and sends nothing, whatever the tag and the repository", async () => {
    await expectColdAndWarm(NAME);
  });

  for (const storage of ["readable", "hidden"] as const)
    inTurn(
      `a machine without a cache sends no blob that the image of --cache-from has, where the storage is ${storage}`,
      async () => {
        await using cwd = await newFolder();
        const to = `${newRepository()}:v1`;
        await pushWell(cwd, NAME, to, { storage });
        await rm(join(cwd.path, ".cache"), { recursive: true });
        const { saves, blobBytes } = await pushWell(cwd, NAME, to, { storage, args: ["--cache-from", "v1"] });
        expect(blobBytes).toBe(0);
        // An ID that is a manifest's says nothing about the config, which the engine gives away by saving alone.
        if (identity === "config" || storage === "readable") expect(saves).toBe(0);
        await expectImage(to, NAME);
      },
    );

  inTurn(
    "an image that was loaded with raw layers is pushed compressed, and saved at most once",
    async () => {
      await loadImage(engine, "team/raw:v1", smallFiles(3));
      const { mediaTypes } = await expectColdAndWarm("team/raw:v1", 1);
      expect(new Set(mediaTypes)).toEqual(new Set(["application/vnd.oci.image.layer.v1.tar+gzip"]));
    },
  );

  inTurn("an image with equal and with empty layers is pushed with each in its place", async () => {
    await buildImage(engine, "team/twice:v1", ["small", "empty", "lines", "small", "empty"]);
    await expectColdAndWarm("team/twice:v1");
  });

  inTurn(`an image of ${manyLayers} layers is pushed in order`, async () => {
    // Loaded layers are raw, and built ones compressed, which only the containerd store keeps.
    if (identity === "manifest") await buildImageOfManyLayers(engine, "team/many:v1", manyLayers);
    else await loadImage(engine, "team/many:v1", smallFiles(manyLayers));
    const { diffIds } = await expectColdAndWarm("team/many:v1");
    expect(diffIds).toHaveLength(manyLayers);
  });

  // Other stores keep layers unpacked, without a compression of their own, and no provenance.
  if (identity === "manifest") {
    test("layers in zstd go up as they are", async () => {
      const name = "team/zstd:v1";
      const output = `type=image,name=${name},compression=zstd,force-compression=true,oci-mediatypes=true`;
      await buildImage(engine, name, ["small", "lines"], ["--provenance=false", "--output", output]);
      const { mediaTypes } = await expectColdAndWarm(name);
      expect(new Set(mediaTypes)).toEqual(new Set(["application/vnd.oci.image.layer.v1.tar+zstd"]));
      expect(mediaTypes).toEqual(await savedLayerTypes(engine, name));
    });

    test("an image without provenance is pushed whole", async () => {
      const name = "team/plain:v1";
      // Not the layers above: the build would reuse them in zstd, under a Docker type that skopeo refuses.
      await buildImage(engine, name, ["large"], ["--provenance=false", "--tag", name]);
      await expectColdAndWarm(name);
    });
  }

  inTurn("an image that is not there is not found, and each name is suggested once", async () => {
    await engine.docker("tag", NAME, "team/app:v2");
    await using cwd = await newFolder();
    for (const missing of ["team/ap:v1", "f".repeat(12), `team/app@sha256:${"f".repeat(64)}`]) {
      const { code, stdout, stderr } = await push(cwd, missing, "missing:v1");
      expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: "" });
      expect(stderr).toMatch(/has (?:no|an) image "/);
      expect(stderr).not.toContain("Emulate Docker CLI");
      const names = /The nearest names? (?:is|are) (.*)\./.exec(stderr)?.[1]?.split(", ") ?? [];
      expect(names.length).toBeGreaterThan(0);
      expect(new Set(names).size).toBe(names.length);
    }
  });
}
