/** Layers in every form, and with blocks after one another in it, read by other programs than ours. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { RUNS_ALL } from "../support/all-tests.ts";
import { run } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { type DockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { requireParts } from "../support/parts.ts";
import { openPodmanStore, type PodmanStore } from "../support/podman-store.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { type SavedImage, unpackSavedImage } from "./saved-image.ts";
import { buildTestImage } from "./test-image.ts";

setDefaultTimeout(60_000);

const NAME = "team/app:v1";

/** The first engine that unpacks zstd: https://docs.docker.com/engine/release-notes/23.0/ */
const FIRST_ENGINE_WITH_ZSTD = 23;

const FORMS = [
  { kind: "gzip", flags: [], suffix: "+gzip", pointers: /-ptr$/ },
  {
    kind: "gzip at another level",
    flags: ["--compression-level=6"],
    suffix: "+gzip",
    pointers: /-gzip-6-ptr$/,
  },
  { kind: "zstd", flags: ["--compression", "zstd"], suffix: "+zstd", pointers: /-zstd-2-ptr$/ },
  { kind: "none", flags: ["--compression", "none"], suffix: "", pointers: /^$/ },
] as const;

const isReady = requireParts("dockerd", "docker-registry", "skopeo", "podman");

describe.skipIf(!isReady)("an image whose layers go up in every form", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());

  let engine: DockerEngine;
  let podman: PodmanStore;
  let registry: DockerRegistry;
  let saved: SavedImage;
  let imageId: string;

  beforeAll(async () => {
    const { path } = resources.use(await temporaryFolder());
    engine = resources.use(await startDockerEngine());
    podman = resources.use(await openPodmanStore());
    registry = resources.use(await startDockerRegistry());
    await buildTestImage(engine, NAME);
    imageId = await engine.docker("image", "inspect", "--format", "{{.Id}}", NAME);
    await engine.docker("save", "--output", join(path, "saved.tar"), NAME);
    saved = await unpackSavedImage(join(path, "saved.tar"), join(path, "saved"));
    await engine.docker("image", "rm", "--force", imageId);
  });

  test.each(RUNS_ALL ? FORMS : FORMS.slice(1, 3))(
    "is given back by skopeo, podman and the engine in $kind",
    async ({ kind, flags, suffix, pointers }) => {
      await using cwd = await temporaryFolder();
      const reference = `${registry.host}/${kind.replaceAll(" ", "-")}:v1`;
      const pushed = await runCli([...flags, saved.archive, reference], { cwd: cwd.path });
      expect(pushed.code, pushed.stderr).toBe(0);

      const pulled = await readBack(reference);
      expect(pulled.diffIds).toEqual([...saved.diffIds]);
      expect([...new Set(pulled.mediaTypes)]).toEqual([`application/vnd.oci.image.layer.v1.tar${suffix}`]);
      // Four different layers, or none where all went up as it came.
      const kept = await readdir(join(cwd.path, ".cache"));
      expect(kept.filter((name) => name.endsWith("-ptr"))).toHaveLength(kind === "none" ? 0 : 4);
      expect(kept.filter((name) => name.endsWith("-ptr") && !pointers.test(name))).toEqual([]);
      expect(kept.filter((name) => /^[0-9a-f]{64}$/.test(name))).toHaveLength(kind === "none" ? 0 : 4);

      await podman.podman("pull", "--quiet", "--tls-verify=false", reference);
      expect(`sha256:${await podman.podman("image", "inspect", "--format", "{{.Id}}", reference)}`).toBe(
        imageId,
      );
      await podman.podman("rmi", "--all", "--force");

      const version = Number.parseInt(await engine.docker("version", "--format", "{{.Server.Version}}"), 10);
      const byEngine = await run(["docker", "pull", "--quiet", reference], { env: engine.env });
      if (kind === "zstd" && version < FIRST_ENGINE_WITH_ZSTD) {
        expect(byEngine.code, "an old engine that takes zstd after all").not.toBe(0);
        // "unexpected EOF", it says.
        expect(byEngine.stderr).toContain("failed to register layer");
        return;
      }
      expect(byEngine.code, byEngine.stderr).toBe(0);
      expect(await engine.docker("image", "inspect", "--format", "{{.Id}}", reference)).toBe(imageId);
      await engine.docker("image", "rm", "--force", imageId);
    },
  );
});
