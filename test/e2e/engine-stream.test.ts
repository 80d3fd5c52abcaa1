/** A real engine's image, read while it is saved: what is saved, what is made, what is written, and what is left. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { readdir, rm, stat, truncate } from "node:fs/promises";
import { join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { parseDiffId, parseDigest } from "../../src/oci/digest.ts";
import { readSavedStream } from "../../src/source/stream/saved-stream.ts";
import { type CommandResult, waitFor } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { sha256 } from "../support/sha256.ts";
import { smallDisk } from "../support/small-disk.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { TELLS_EVENTS, toldBlobs } from "../support/told-events.ts";
import { startWatchedPush, stopWhileCompressing } from "../support/watched-push.ts";
import { type DockerWrapper, installDockerWrapper, type SaveMode } from "./docker-wrapper.ts";

setDefaultTimeout(120_000);

const NAME = "team/streamed:v1";
/** What an engine is asked whose image is not saved. */
const LOOKED_UP = [`image inspect -- ${NAME}`, "info --format {{json .}}"];
const REBUILT = "team/streamed:v2";
/** What the large layer has in it. It compresses to a small part of that. */
const LARGE_BYTES = 12_000_000;
/** Room for all that is compressed, and not for the large layer. */
const DISK_BYTES = 4096 * 2048;

const DOCKERFILE = "FROM scratch\nCOPY first /\nCOPY large /\nCOPY third /\n";

describe.skipIf(!requireParts("dockerd", "docker-registry", "mount", "skopeo"))(
  "an image that is saved",
  () => {
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    let engine: DockerEngine;
    let registry: StrictRegistry;
    let docker: DockerWrapper;
    let cwd: TemporaryFolder;

    beforeAll(async () => {
      const folder = resources.use(await temporaryFolder());
      registry = resources.use(await startStrictRegistry({ directory: join(folder.path, "registry") }));
      engine = resources.use(await startDockerEngine());
      docker = await installDockerWrapper(folder.path, 10_000_000);
      const context = join(folder.path, "context");
      await Bun.write(join(context, "first"), "the first\n");
      await Bun.write(join(context, "large"), "every line is the same\n".repeat(LARGE_BYTES / 23));
      await Bun.write(join(context, "third"), "the third\n");
      await Bun.write(join(context, "fourth"), "the fourth\n");
      await Bun.write(join(context, "Dockerfile"), DOCKERFILE);
      await engine.docker("build", "--quiet", "--tag", NAME, context);
      await Bun.write(join(context, "Dockerfile"), `${DOCKERFILE}COPY fourth /\n`);
      await engine.docker("build", "--quiet", "--tag", REBUILT, context);
    });

    beforeEach(async () => {
      cwd = await temporaryFolder();
      await docker.calls();
    });
    afterEach(() => cwd[Symbol.asyncDispose]());

    let repositories = 0;
    const newRepository = () => `streamed/number-${++repositories}`;
    const env = (mode?: SaveMode) => ({ ...engine.env, ...docker.env(mode, "hidden") });
    const push = (to: string, { source = NAME, mode = "whole" as SaveMode, args = [] as string[] } = {}) =>
      runCli([...args, source, `${registry.host}/${to}`], {
        cwd: cwd.path,
        env: { ...env(mode), ...TELLS_EVENTS },
      });
    const saves = async () => (await docker.calls()).filter((call) => call.startsWith("image save"));
    const made = ({ stderr }: CommandResult) => toldBlobs(stderr, "compressed");
    const isTagged = (repository: string) =>
      registry.requests.some(
        ({ method, path }) => method === "PUT" && path.startsWith(`/v2/${repository}/manifests/`),
      );

    function expectPushed(result: CommandResult, layers?: number): void {
      expect(result.code, result.stderr).toBe(0);
      if (layers !== undefined) expect(made(result), result.stderr).toHaveLength(layers);
    }

    async function expectImage(to: string, name: string): Promise<void> {
      const pulled = await readBack(`${registry.host}/${to}`);
      const inspected = (format: string) => engine.docker("image", "inspect", "--format", format, name);
      expect(sha256(pulled.config)).toBe(await inspected("{{.Id}}"));
      expect(pulled.diffIds).toEqual(JSON.parse(await inspected("{{json .RootFS.Layers}}")));
    }

    async function expectClean(): Promise<void> {
      const kept = await readdir(join(cwd.path, ".cache"));
      expect(kept.filter((name) => name.endsWith(".tmp"))).toEqual([]);
    }

    test.each([NAME, REBUILT])("names each layer before its bytes: %s", async (name) => {
      const archive = join(cwd.path, "saved.tar");
      await engine.docker("image", "save", "--output", archive, name);
      const inspected = await engine.docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", name);
      const diffIds = (JSON.parse(inspected) as string[]).map((text) => parseDiffId(text, "an engine"));
      const told: (string | undefined)[] = [];
      const image = { id: parseDigest(sha256(new Uint8Array()), "a test"), diffIds, platform: undefined };
      for await (const part of readSavedStream(Bun.file(archive).stream(), "archive", image)) {
        if (part.kind !== "layer") continue;
        told.push(part.claimedDiffId);
        expect(sha256(Buffer.concat(await Array.fromAsync(part.bytes)))).toBe(
          part.claimedDiffId ?? "unknown",
        );
      }
      expect(told.sort()).toEqual([...diffIds].sort());
    });

    test("is pushed from a disk that could not hold it", async () => {
      await using disk = await smallDisk(DISK_BYTES);
      const repository = newRepository();
      const result = await runCli([NAME, `${registry.host}/${repository}:v1`], {
        cwd: disk.path,
        env: { ...env(), ...TELLS_EVENTS, TMPDIR: disk.path },
      });
      expectPushed(result, 3);
      await expectImage(`${repository}:v1`, NAME);
      const files = await readdir(join(disk.path, ".cache"));
      const sizes = await Promise.all(
        files.map(async (name) => (await stat(join(disk.path, ".cache", name))).size),
      );
      expect(Math.max(...sizes)).toBeLessThan(LARGE_BYTES / 10);
    });

    test("is saved once: again, and elsewhere, nothing but its name and the storage is asked for", async () => {
      const [first, second] = [newRepository(), newRepository()];
      expectPushed(await push(`${first}:v1`), 3);
      expect(await saves()).toHaveLength(1);
      const before = registry.requests.length;
      expectPushed(await push(`${first}:v1`), 0);
      const kinds = registry.requests.slice(before).map(({ kind }) => kind);
      expect(kinds.filter((kind) => kind !== "ping").toSorted()).toEqual([
        ...Array.from({ length: 4 }, () => "head-blob" as const),
        "put-manifest",
      ]);
      expectPushed(await push(`${second}:v1`), 0);
      expect((await docker.calls()).toSorted()).toEqual([...LOOKED_UP, ...LOOKED_UP].toSorted());
      await expectImage(`${second}:v1`, NAME);
    });

    test("is not saved by a new machine where the image that --cache-from names has it", async () => {
      const repository = newRepository();
      expectPushed(await push(`${repository}:v1`));
      await rm(join(cwd.path, ".cache"), { recursive: true });
      await docker.calls();
      expectPushed(await push(`${repository}:v1`, { args: ["--cache-from", "v1"] }), 0);
      expect((await docker.calls()).toSorted()).toEqual(LOOKED_UP.toSorted());
      await expectImage(`${repository}:v1`, NAME);
    });

    test("has only its new layer compressed: with the cache, and on a new machine", async () => {
      const repository = newRepository();
      expectPushed(await push(`${repository}:latest`), 3);
      for (const tag of ["cached", "new-machine"]) {
        if (tag === "new-machine") await rm(join(cwd.path, ".cache"), { recursive: true });
        await docker.calls();
        const result = await push(`${repository}:${tag}`, {
          source: REBUILT,
          args: ["--cache-from", "latest"],
        });
        expect(await saves()).toHaveLength(1);
        expectPushed(result);
        const named = made(result);
        expect(named, result.stderr).toHaveLength(1);
        expect(named[0]?.["title"]).toStartWith("layer 4/4");
        await expectImage(`${repository}:${tag}`, REBUILT);
      }
    });

    test("is saved once more for layers that are damaged in the cache, however many they are", async () => {
      expectPushed(await push(`${newRepository()}:v1`), 3);
      const cache = join(cwd.path, ".cache");
      const files = await readdir(cache);
      for (const name of files.filter((each) => each.endsWith("-ptr"))) {
        const blob = join(cache, await Bun.file(join(cache, name)).text());
        await truncate(blob, 50);
      }
      await docker.calls();
      const repository = newRepository();
      // The others must not be mounted from where they were seen.
      for (const name of files.filter((each) => each.startsWith("places-"))) await rm(join(cache, name));
      expectPushed(await push(`${repository}:v1`), 3);
      // One for the first that was found damaged, and one for those that were found meanwhile.
      expect((await saves()).length).toBeLessThanOrEqual(2);
      await expectImage(`${repository}:v1`, NAME);
      await expectClean();
    });

    test("is saved by one of two pushes at once", async () => {
      const [first, second] = [newRepository(), newRepository()];
      const results = await Promise.all([push(`${first}:v1`), push(`${second}:v1`)]);
      for (const result of results) expectPushed(result);
      expect(await saves()).toHaveLength(1);
      expect(results.flatMap(made)).toHaveLength(3);
      await expectImage(`${first}:v1`, NAME);
      await expectImage(`${second}:v1`, NAME);
      await expectClean();
    });

    test.each([
      ["killed", "docker exited with code 137 and no output"],
      ["truncated", "cut short"],
    ] as const)(
      "by a docker that is %s in the middle is not pushed, and the next push brings it",
      async (mode, words) => {
        const repository = newRepository();
        const result = await push(`${repository}:v1`, { mode });
        expect({ code: result.code, stdout: result.stdout }).toEqual({ code: 1, stdout: "" });
        expect(result.stderr).toContain(words);
        expect(result.stderr).not.toContain("bug in chunkpush");
        expect(isTagged(repository)).toBe(false);
        await expectClean();
        expectPushed(await push(`${repository}:v1`));
        await expectImage(`${repository}:v1`, NAME);
      },
    );

    const isAlive = (pid: number | undefined) => {
      try {
        return pid !== undefined && process.kill(pid, 0);
      } catch {
        return false;
      }
    };

    test("leaves no docker behind after Ctrl-C while docker is silent", async () => {
      const repository = newRepository();
      const pushing = startWatchedPush([NAME, `${registry.host}/${repository}:v1`], {
        cwd: cwd.path,
        env: env("stalled"),
      });
      await waitFor("half of the save", async () =>
        (await docker.calls()).includes("half is sent") ? true : undefined,
      );
      const saving = await docker.savingPid();
      expect(isAlive(saving)).toBe(true);
      process.kill(pushing.pid, "SIGINT");
      const { code, stdout, stderr } = await pushing.ended;
      expect({ code, stdout }, stderr).toEqual({ code: 130, stdout: "" });
      expect(stderr).toContain("Interrupted");
      await waitFor("the end of docker", async () => (isAlive(saving) ? undefined : true));
      expect(isTagged(repository)).toBe(false);
      await expectClean();
    });

    test("leaves no docker behind after Ctrl-C while docker writes", async () => {
      const repository = newRepository();
      // The folder has to be there to be watched.
      await Bun.write(join(cwd.path, ".cache/keep"), "");
      const pushing = await stopWhileCompressing(join(cwd.path, ".cache"), () =>
        startWatchedPush([NAME, `${registry.host}/${repository}:v1`], { cwd: cwd.path, env: env() }),
      );
      const saving = await docker.savingPid();
      process.kill(pushing.pid, "SIGINT");
      process.kill(pushing.pid, "SIGCONT");
      const { code, stderr } = await pushing.ended;
      expect(code, stderr).toBe(130);
      await waitFor("the end of docker", async () => (isAlive(saving) ? undefined : true));
      expect(isTagged(repository)).toBe(false);
      await expectClean();
    });
  },
);
