/** Images in the storage of real engines, read without them: the same bytes as the engine saves. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { imagesOf } from "../../src/oci/content.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { findEngineImage } from "../../src/source/engine/find-image.ts";
import { contentReader } from "../../src/source/files/content.ts";
import { openStorage } from "../../src/source/storage/open-storage.ts";
import { runWell } from "../support/command.ts";
import { openFilesBelow } from "../support/open-files.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { installDockerWrapper } from "./docker-wrapper.ts";
import { loadImage } from "./engine-images.ts";
import { ENGINES, type Engine } from "./engines.ts";

setDefaultTimeout(300_000);

const NAME = "storage/image:v1";
const PULLED = "storage/pulled:v1";

/** Files of all kinds that a layer may have, as a script that makes them. */
const FILES = `
set -e
mkdir -p etc deep/$(printf 'a/%.0s' $(seq 40)) empty-folder
echo hello >etc/hello
: >etc/empty
ln -s /etc/passwd etc/absolute
ln -s ../../../../etc/shadow etc/relative
ln etc/hello etc/hard
printf 'not UTF-8' >"$(printf 'etc/\\351\\377')"
echo ünicode >etc/ünicode
echo long >etc/$(printf 'n%.0s' $(seq 200))
echo deep >deep/$(printf 'a/%.0s' $(seq 40))file
mkfifo etc/fifo
chmod 000 etc/empty
for i in $(seq 300); do echo "file $i" >empty-folder/$i; done
`;

const DOCKERFILE = `FROM scratch
ADD files.tar /
COPY large /data/
ADD second.tar /
COPY large /data/renamed
`;

async function buildImage(engine: Engine): Promise<void> {
  await using context = await temporaryFolder(engine.folder);
  const at = (name: string) => join(context.path, name);
  const files = at("files");
  await runWell(["mkdir", files, at("second")]);
  await runWell(["sh", "-c", FILES], { cwd: files });
  await runWell(["sh", "-c", "mkdir etc && echo changed >etc/hello && : >etc/.wh.fifo && : >etc/.wh.empty"], {
    cwd: at("second"),
  });
  for (const name of ["files", "second"])
    await runWell([
      "tar",
      "-C",
      at(name),
      "--format=gnu",
      "--blocking-factor=60",
      "-cf",
      at(`${name}.tar`),
      ".",
    ]);
  await Bun.write(at("large"), seededBytes(3_000_000, "storage"));
  await Bun.write(at("Dockerfile"), DOCKERFILE);
  await engine.build(context.path, "--tag", NAME);
}

for (const role of ENGINES) {
  describe(`the storage of ${role.title}`, () => {
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    let engine: Engine;
    let environment: Record<string, string>;

    beforeAll(async () => {
      engine = resources.use(await role.start());
      const folder = resources.use(await temporaryFolder(engine.folder));
      const docker = await installDockerWrapper(folder.path, 0, engine.command);
      environment = { ...engine.env, ...docker.env() };
      await buildImage(engine);
    });

    async function openImage(name: string) {
      const { signal } = new AbortController();
      const found = await findEngineImage(name, { environment, signal, runtime: "docker", targets: [] });
      return { ...found, opened: await openStorage(found.image, found.engine), signal };
    }

    async function expectImage(name: string): Promise<void> {
      const { image, opened, signal } = await openImage(name);
      if (opened.kind === "none") throw new Error(opened.reason);
      expect(opened.kind).toBe(role.identity === "config" ? "layers" : "content");
      if (opened.kind === "layers") {
        expect(digestOf(opened.config)).toBe(image.id);
        expect(opened.layers.map(({ diffId }) => diffId)).toEqual([...image.diffIds]);
        for (const layer of opened.layers) {
          const archive = Buffer.concat(await Array.fromAsync(layer.read(signal)));
          expect([layer.name, digestOf(archive), layer.size]).toEqual([
            layer.name,
            layer.diffId as never,
            archive.length,
          ]);
        }
        // What temporaryFolder makes there: others have files of their own in it.
        expect(openFilesBelow(join(engine.folder, "cp-test-"))).toEqual([]);
        return;
      }
      const whole = await contentReader(opened.files).read(opened.root);
      if (whole.kind === "missing") throw new Error(whole.path);
      const [stored] = imagesOf(whole);
      expect(stored?.layers.map(({ diffId }) => diffId)).toEqual([...image.diffIds]);
      for (const { content, claimedDigest } of stored?.layers ?? []) {
        const bytes = content instanceof Blob ? await content.bytes() : new Uint8Array();
        expect(digestOf(bytes)).toBe(claimedDigest as never);
      }
    }

    test("has an image that was built, with every layer as it is", () => expectImage(NAME));

    test("has an image that was loaded, whose layers are others' archives", async () => {
      await using folder = await temporaryFolder(engine.folder);
      const archive = join(folder.path, "image.tar");
      await engine.docker("tag", NAME, PULLED);
      await engine.docker("save", "--output", archive, PULLED);
      await engine.docker("rmi", "--force", NAME, PULLED);
      await engine.docker("load", "--input", archive);
      await expectImage(PULLED);
    });

    // containerd collects what nothing names some time later.
    test.skipIf(role.identity !== "config")(
      "lacks an image that was removed after it was inspected, or before it was read",
      async () => {
        const name = "storage/removed:v1";
        await loadImage(engine, name, [seededBytes(1000, "removed")]);
        const { image, opened, engine: asked, signal } = await openImage(name);
        if (opened.kind !== "layers") throw new Error(`The storage gave ${opened.kind}.`);
        await engine.docker("rmi", "--force", name);
        expect(await openStorage(image, asked)).toMatchObject({ kind: "none" });
        const [layer] = opened.layers;
        expect((await rejection(Array.fromAsync(layer?.read(signal) ?? []))).code).toBe("FILE_FAILED");
      },
    );
  });
}
