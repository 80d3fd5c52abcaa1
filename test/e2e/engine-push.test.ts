/** An engine with containerd's store pushes the image itself, through a registry of this process. */

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
import { chmod, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import * as v from "valibot";
import { answer as faultAnswer, reset, tooMany } from "../../dev/faults/fault.ts";
import { seededFaults } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { MANIFEST_TYPES } from "../../src/oci/descriptor.ts";
import { type CommandResult, runWell } from "../support/command.ts";
import { startDockerEngine } from "../support/docker-engine.ts";
import { layerOf } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { asNobody, canRunAsNobody } from "../support/nobody.ts";
import type { Place } from "../support/place.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { sha256 } from "../support/sha256.ts";
import { smallDisk } from "../support/small-disk.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startWatchedPush } from "../support/watched-push.ts";
import { type DockerWrapper, installDockerWrapper } from "./docker-wrapper.ts";
import { buildImage, loadImage, smallFiles } from "./engine-images.ts";
import { findLab } from "./engine-lab.ts";
import { ENGINES, type Engine } from "./engines.ts";
import { readContent } from "./registry-content.ts";

setDefaultTimeout(60_000);

const NAME = "team/app:v1";
const OWN_NAME = /^127\.0\.0\.1:(\d+)\/chunkpush-[0-9a-f]{8}\/[0-9a-f]{32}:/m;

const INDEX = v.object({
  manifests: v.optional(v.array(v.object({ digest: v.string() })), []),
  config: v.optional(v.object({ digest: v.string() })),
  layers: v.optional(v.array(v.object({ digest: v.string() })), []),
});

const [role] = ENGINES.filter(({ identity }) => identity === "manifest");

describe.skipIf(role === undefined)("an engine with containerd's store", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let engine: Engine;
  let registry: StrictRegistry;
  let docker: DockerWrapper;
  let cwd: TemporaryFolder;
  let intercept: Intercept | undefined;

  beforeAll(async () => {
    engine = resources.use(await (role as NonNullable<typeof role>).start());
    const folder = resources.use(await temporaryFolder(engine.folder));
    registry = resources.use(
      await startStrictRegistry({
        directory: join(folder.path, "registry"),
        intercept: (...request) => intercept?.(...request),
      }),
    );
    docker = await installDockerWrapper(folder.path, 0, engine.command);
    await buildImage(engine, NAME, ["small", "large", "lines"]);
  });

  beforeEach(async () => {
    cwd = await temporaryFolder(engine.folder);
    intercept = undefined;
    await docker.calls();
  });
  afterEach(() => cwd[Symbol.asyncDispose]());

  let repositories = 0;
  const newRepository = () => `passed-on/number-${++repositories}`;
  const env = () => ({ ...engine.env, ...docker.env("whole", "hidden") });
  const push = (
    source: string,
    to: string,
    { host = registry.host, args = [] as string[], more = {} as Record<string, string> } = {},
  ) => runCli(["--debug", ...args, source, `${host}/${to}`], { cwd: cwd.path, env: { ...env(), ...more } });

  const digestOf = ({ stdout }: CommandResult) => stdout.trim().slice(stdout.indexOf("@") + 1);
  const callsOf = async (word: string) => (await docker.calls()).filter((call) => call.startsWith(word));
  const ownNames = async () =>
    (await engine.docker("image", "ls", "--all", "--format", "{{.Repository}}:{{.Tag}}"))
      .split("\n")
      .filter((name) => name.startsWith("127.0.0.1:") && name.includes("/chunkpush-"));

  /** Pushes, and expects that the engine has done it. */
  async function pushWell(source: string, to: string, options: Parameters<typeof push>[2] = {}) {
    const result = await push(source, to, options);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain("The engine pushes the image itself");
    const calls = await docker.calls();
    expect(
      calls.filter((call) => call.startsWith("image save")),
      result.stderr,
    ).toEqual([]);
    expect(await ownNames()).toEqual([]);
    return { ...result, digest: digestOf(result) };
  }

  /** Pushes, and expects that the engine has saved the image. */
  async function pushSaved(source: string, to: string, options: Parameters<typeof push>[2] = {}) {
    const result = await push(source, to, options);
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).toContain("The engine saves the image: ");
    const calls = await docker.calls();
    expect(calls.filter((call) => call.startsWith("image save"))).toHaveLength(1);
    expect(await ownNames()).toEqual([]);
    const reason = /The engine saves the image: (.*)/.exec(result.stderr)?.[1] ?? "";
    return {
      ...result,
      digest: digestOf(result),
      pushes: calls.filter((call) => call.startsWith("push")),
      reason,
    };
  }

  /** Has lines of shell run before each docker command. @returns the PATH with it */
  async function insteadOfDocker(folder: string, lines: string): Promise<string> {
    const { PATH } = docker.env();
    const command = join(folder, "docker");
    await Bun.write(command, `#!/bin/sh\n${lines}\nPATH='${PATH}' exec docker "$@"\n`);
    await chmod(command, 0o755);
    return `${folder}:${PATH}`;
  }

  /** The digest that `docker push` brings by itself. */
  async function pushDirectly(source: string): Promise<string> {
    const repository = newRepository();
    const name = `${registry.host}/${repository}:v1`;
    await engine.docker("tag", source, name);
    await engine.docker("push", name);
    await engine.docker("image", "rm", name);
    return (await readManifest(repository, "v1")).digest;
  }

  async function readManifest(repository: string, reference: string) {
    const response = await fetch(`${registry.url}/v2/${repository}/manifests/${reference}`, {
      headers: { accept: MANIFEST_TYPES.join(", ") },
    });
    expect(response.status, `${repository}:${reference}`).toBe(200);
    const bytes = await response.bytes();
    return { digest: sha256(bytes), content: v.parse(INDEX, JSON.parse(new TextDecoder().decode(bytes))) };
  }

  /** Expects everything that a tag leads to. @returns the number of manifests */
  async function expectWhole(repository: string, reference: string): Promise<number> {
    const { content } = await readManifest(repository, reference);
    for (const blob of [...content.layers, ...(content.config === undefined ? [] : [content.config])]) {
      const url = `${registry.url}/v2/${repository}/blobs/${blob.digest}`;
      expect((await fetch(url, { method: "HEAD" })).status, blob.digest).toBe(200);
    }
    let count = 1;
    for (const { digest } of content.manifests) count += await expectWhole(repository, digest);
    return count;
  }

  const requestsTo = (repository: string) =>
    registry.requests.filter(({ path }) => path.startsWith(`/v2/${repository}/`));
  const sentBytes = (repository: string) =>
    requestsTo(repository).reduce(
      (sum, { kind, bodyBytes }) => sum + (kind === "put-manifest" ? 0 : bodyBytes),
      0,
    );

  /** Builds an image for two platforms, without running anything. */
  const buildForTwo = (name: string) =>
    buildImage(engine, name, ["small", "lines"], ["--platform", "linux/amd64,linux/arm64", "--tag", name]);

  test("pushes an index with its attestation, whole, as docker push does, and it pulls back", async () => {
    const repository = newRepository();
    const { digest } = await pushWell(NAME, `${repository}:v1`);
    expect(digest).toBe(await pushDirectly(NAME));
    expect((await readManifest(repository, "v1")).digest).toBe(digest);
    expect(await expectWhole(repository, "v1")).toBe(3);
    const pulled = `${registry.host}/${repository}:v1`;
    await engine.pull(pulled);
    expect(await engine.docker("image", "inspect", "--format", "{{.Id}}", pulled)).toBe(digest);
    await engine.docker("image", "rm", pulled);
  });

  test("pushes an image of several platforms, whole", async () => {
    const name = "team/two:v1";
    await buildForTwo(name);
    const repository = newRepository();
    const { digest } = await pushWell(name, `${repository}:v1`);
    expect(digest).toBe(await pushDirectly(name));
    expect(await expectWhole(repository, "v1")).toBe(5);
  });

  test("pushes the platform that it has, where it lacks the others", async () => {
    const name = "team/partly:v1";
    await buildForTwo(name);
    const repository = newRepository();
    await pushWell(name, `${repository}:v1`);
    const pulled = `${registry.host}/${repository}:v1`;
    await engine.docker("image", "rm", name);
    await engine.docker("builder", "prune", "--all", "--force");
    await engine.docker("pull", "--quiet", "--platform", "linux/amd64", pulled);
    const other = newRepository();
    const { digest } = await pushWell(pulled, `${other}:v1`);
    expect(digest).toBe(await pushDirectly(pulled));
    expect((await readManifest(other, "v1")).digest).toBe(digest);
    expect(await expectWhole(other, "v1")).toBe(1);
    await engine.docker("image", "rm", pulled);
  });

  test("has only blobs on their way in the cache, and leaves only notes there", async () => {
    const seen = new Set<string>();
    intercept = async (_, kind) => {
      if (kind !== "patch" && kind !== "close-upload") return undefined;
      for (const name of await readdir(join(cwd.path, ".cache"))) seen.add(name);
      return undefined;
    };
    await pushWell(NAME, `${newRepository()}:v1`);
    // A note is written to a temporary file first.
    const isNote = (name: string) => /-upload-|^limit-|^places-|^file-.*\.tmp$|\.lock$/.test(name);
    const others = [...seen].filter((name) => !isNote(name));
    expect(others.length).toBeGreaterThan(0);
    expect(others.filter((name) => !name.startsWith("spool-"))).toEqual([]);
    const left = await readdir(join(cwd.path, ".cache"));
    expect(left.filter((name) => !isNote(name))).toEqual([]);
  });

  test("pushes the same digest again, without a byte of a blob: cold and warm, whatever the tag", async () => {
    const repository = newRepository();
    const { digest } = await pushWell(NAME, `${repository}:v1`);
    const bytes = sentBytes(repository);
    for (const [to, isCold] of [
      ["v1", false],
      ["v2", false],
      ["v1", true],
      ["v3", true],
    ] as const) {
      if (isCold) await rm(join(cwd.path, ".cache"), { recursive: true });
      const again = await push(NAME, `${repository}:${to}`);
      expect(again.code, again.stderr).toBe(0);
      expect(digestOf(again)).toBe(digest);
    }
    expect(sentBytes(repository)).toBe(bytes);
    expect(await callsOf("image save")).toEqual([]);
  });

  test("has blobs mounted that the image of --cache-from has in another repository", async () => {
    const [first, second] = [newRepository(), newRepository()];
    await pushWell(NAME, `${first}:v1`);
    await rm(join(cwd.path, ".cache"), { recursive: true });
    const args = ["--cache-from", `${registry.host}/${first}:v1`];
    await pushWell(NAME, `${second}:v1`, { args });
    expect(sentBytes(second)).toBe(0);
  });

  test("pushes to several targets: blobs once to each registry, and nothing is saved", async () => {
    await using folder = await temporaryFolder();
    await using second = await startStrictRegistry({ directory: folder.path });
    const [first, other] = [newRepository(), newRepository()];
    const targets = [
      `${registry.host}/${first}:v1`,
      `${registry.host}/${first}:v2`,
      `${registry.host}/${other}:v1`,
      `${second.host}/${first}:v1`,
    ];
    const flags = targets.flatMap((target) => ["-t", target]);
    const { code, stdout, stderr } = await runCli(["--debug", ...flags, NAME], {
      cwd: cwd.path,
      env: env(),
    });
    expect(code, stderr).toBe(0);
    const { digest } = await readManifest(first, "v1");
    expect(stdout).toBe(targets.map((target) => `${target}@${digest}\n`).join(""));
    expect(await callsOf("image save")).toEqual([]);
    expect(await ownNames()).toEqual([]);
    expect(await expectWhole(first, "v2")).toBe(3);
    expect(await expectWhole(other, "v1")).toBe(3);
    expect(sentBytes(other)).toBe(0);
    const uploads = (at: StrictRegistry) =>
      at.requests.filter(({ kind, status }) => kind === "close-upload" && status === 201).length;
    expect((await readContent(`${second.host}/${first}:v1`)).digest).toBe(digest);
    expect(uploads(second)).toBe(requestsTo(first).filter(({ kind }) => kind === "close-upload").length);
  });

  test("reports its way to the registry only with --debug", async () => {
    const { stderr } = await runCli([NAME, `${registry.host}/${newRepository()}:v1`], {
      cwd: cwd.path,
      env: env(),
    });
    expect(stderr).not.toContain("The engine");
    expect(stderr).toMatch(/^Pushed .* sent/m);
  });

  test("has small raw layers compressed by a machine without a cache as well", async () => {
    const name = "team/raw:v1";
    await loadImage(engine, name, smallFiles(2));
    const repository = newRepository();
    const { digest } = await pushSaved(name, `${repository}:v1`);
    await rm(join(cwd.path, ".cache"), { recursive: true });
    expect((await pushSaved(name, `${repository}:v2`)).digest).toBe(digest);
    const { content } = await readManifest(repository, "v1");
    const named = content.layers.map(({ digest: each }) => each);
    const put = registry.requests.filter(
      ({ path, query, bodyBytes }) =>
        path.startsWith(`/v2/${repository}/blobs/`) && query !== "" && bodyBytes > 0,
    );
    // Nothing of a raw layer has been sent.
    expect(
      put.filter(({ query }) =>
        named.some((each) => query.includes(encodeURIComponent(each)) || query.includes(each)),
      ).length,
    ).toBe(named.length);
  });

  test("counts a blob once", async () => {
    const name = "team/twice:v1";
    await buildImage(engine, name, ["lines", "small", "lines"]);
    const repository = newRepository();
    const { stderr } = await pushWell(name, `${repository}:v1`);
    expect(stderr).toMatch(/^Pushed .* sent$/m);
    const again = await push(name, `${repository}:v2`);
    expect(again.stderr).toMatch(/: nothing to send, [1-9].* reused$/m);
    const warm = await push(name, `${repository}:v1`);
    const reused = (text: string) => /send, (.*) reused/.exec(text)?.[1];
    expect(reused(warm.stderr)).toBe(reused(again.stderr));
  });

  describe("loses the name that it got for the push", () => {
    const refusals = {
      "the blobs": (kind: string) => kind === "start-upload",
      "the last request of a blob": (kind: string) => kind === "close-upload",
      "the manifest": (kind: string) => kind === "put-manifest",
    };
    for (const [what, isRefused] of Object.entries(refusals)) {
      test(`where the registry refuses ${what}, which is reported as in other pushes`, async () => {
        intercept = (_, kind) =>
          isRefused(kind)
            ? Response.json({ errors: [{ code: "DENIED", message: "not yours" }] }, { status: 403 })
            : undefined;
        const { code, stdout, stderr } = await push(NAME, `${newRepository()}:v1`);
        expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: "" });
        expect(stderr).toContain("not yours");
        expect(stderr).not.toContain("bug in chunkpush");
        expect(await callsOf("image save")).toEqual([]);
        expect(await ownNames()).toEqual([]);
        await engine.docker("image", "inspect", NAME);
      });
    }

    test("where every body is too large for the registry", async () => {
      await using folder = await temporaryFolder();
      await using small = await startStrictRegistry({ directory: folder.path, maxBodyBytes: 300 });
      const { code, stderr } = await push(NAME, `${newRepository()}:v1`, { host: small.host });
      expect(code, stderr).toBe(1);
      expect(stderr).toContain("413");
      expect(await callsOf("image save")).toEqual([]);
      expect(await ownNames()).toEqual([]);
    });

    test("where the disk has no room for what is on its way", async () => {
      await using disk = await smallDisk(4096 * 128);
      const result = await runCli(["--debug", NAME, `${registry.host}/${newRepository()}:v1`], {
        cwd: disk.path,
        env: env(),
      });
      expect(result.code, result.stderr).toBe(1);
      expect(result.stderr).toContain("--cache-dir");
      expect(result.stderr).not.toContain("Error: Cannot write to the spool");
      expect(await ownNames()).toEqual([]);
    });

    test("at Ctrl-C, and the next push sends little again", async () => {
      const reached = Promise.withResolvers<void>();
      const held = Promise.withResolvers<void>();
      intercept = async (request, kind) => {
        if (kind !== "close-upload" || request.headers.get("content-length") === "0") return undefined;
        reached.resolve();
        await held.promise;
        return undefined;
      };
      const repository = newRepository();
      const pushing = startWatchedPush(["--debug", NAME, `${registry.host}/${repository}:v1`], {
        cwd: cwd.path,
        env: env(),
      });
      await reached.promise;
      expect(await ownNames()).toHaveLength(1);
      process.kill(pushing.pid, "SIGINT");
      held.resolve();
      const { code, stderr } = await pushing.ended;
      expect(code, stderr).toBe(130);
      expect(stderr).not.toContain("bug in chunkpush");
      expect(await ownNames()).toEqual([]);
      expect((await readdir(join(cwd.path, ".cache"))).filter((name) => name.endsWith(".tmp"))).toEqual([]);
      intercept = undefined;
      await pushWell(NAME, `${repository}:v1`);
    });

    test("after it was killed, with the next push of another image, and other names stay", async () => {
      const reached = Promise.withResolvers<void>();
      const held = Promise.withResolvers<void>();
      intercept = async (_, kind) => {
        if (kind !== "start-upload") return undefined;
        reached.resolve();
        await held.promise;
        return undefined;
      };
      const pushing = startWatchedPush(["--debug", NAME, `${registry.host}/${newRepository()}:v1`], {
        cwd: cwd.path,
        env: env(),
      });
      await reached.promise;
      const [left = ""] = await ownNames();
      expect(left).toMatch(OWN_NAME);
      await pushing.kill();
      held.resolve();
      intercept = undefined;
      // Somebody listens at the one, and the other is of another machine.
      using listening = Bun.serve({ hostname: "127.0.0.1", port: 0, fetch: () => new Response() });
      const mark = left.split("/")[1] ?? "";
      const running = left.replace(/:\d+/, `:${listening.port}`);
      const foreign = left.replace(mark, "chunkpush-01234567");
      for (const name of [running, foreign]) await engine.docker("tag", NAME, name);
      await buildImage(engine, "team/next:v1", ["small"]);
      const next = newRepository();
      // A push that finds everything there cleans up as well.
      for (const times of ["cold", "warm"]) {
        if (times === "warm") await engine.docker("tag", NAME, left);
        const result = await push("team/next:v1", `${next}:v1`);
        expect(result.code, result.stderr).toBe(0);
        expect((await ownNames()).toSorted(), times).toEqual([running, foreign].toSorted());
      }
      await engine.docker("image", "rm", running, foreign);
      await engine.docker("image", "inspect", NAME);
    });
  });

  test("pushes an image whole whose other names are removed meanwhile, and it is gone afterwards", async () => {
    const name = "team/gone:v1";
    await buildImage(engine, name, ["small"]);
    let isFirst = true;
    intercept = async (_, kind) => {
      if (kind !== "start-upload" || !isFirst) return undefined;
      isFirst = false;
      await engine.docker("image", "rm", name);
      return undefined;
    };
    const repository = newRepository();
    await pushWell(name, `${repository}:v1`);
    expect(await expectWhole(repository, "v1")).toBe(3);
    await expect(engine.docker("image", "inspect", name)).rejects.toThrow();
  });

  test("saves an image without a name, which is still there afterwards", async () => {
    const name = "team/again:v1";
    await buildImage(engine, name, ["small"]);
    const id = await engine.docker("image", "inspect", "--format", "{{.Id}}", name);
    await engine.docker("tag", NAME, name);
    const { pushes } = await pushSaved(id, `${newRepository()}:v1`);
    expect(pushes).toEqual([]);
    await engine.docker("image", "inspect", id);
  });

  describe("saves the image", () => {
    test("where it is spoken to over the network", async () => {
      const socket = engine.env["DOCKER_HOST"]?.slice("unix://".length) ?? "";
      using relay = Bun.listen<{ to: Promise<Bun.Socket> }>({
        hostname: "127.0.0.1",
        port: 0,
        socket: {
          open(client) {
            const to = Bun.connect({
              unix: socket,
              socket: { data: (_, bytes) => void client.write(bytes), close: () => void client.end() },
            });
            client.data = { to };
          },
          data: async ({ data }, bytes) => void (await data.to).write(bytes),
          close: async ({ data }) => void (await data.to).end(),
        },
      });
      const more = { DOCKER_HOST: `tcp://127.0.0.1:${relay.port}` };
      const { pushes } = await pushSaved("team/next:v1", `${newRepository()}:v1`, { more });
      expect(pushes).toEqual([]);
    });

    test("where its loopback is that of another network namespace", async () => {
      const lab = findLab() as Place;
      await using other = await startDockerEngine("overlayfs", {
        ...lab,
        enter: [...lab.enter, "unshare", "--net"],
      });
      await using folder = await temporaryFolder(lab.folder);
      const archive = join(folder.path, "image.tar");
      await Bun.write(archive, dockerArchive([layerOf("far", "far\n")], ["team/far:v1"]).archive);
      await other.docker("load", "--input", archive);
      const wrapper = await installDockerWrapper(folder.path, 0, other.command);
      const result = await push("team/far:v1", `${newRepository()}:v1`, {
        more: { ...other.env, ...wrapper.env("whole", "hidden") },
      });
      expect(result.code, result.stderr).toBe(0);
      expect(result.stderr).toContain("it does not reach this process.");
      expect(await other.docker("image", "ls", "--format", "{{.Repository}}:{{.Tag}}")).toBe("team/far:v1");
    });

    const broken = {
      "cannot reach this process":
        'case "$1" in push) echo "dial tcp 127.0.0.1:1: connect: connection refused" >&2; exit 1;; esac',
      "has no word for contexts": 'case "$1" in context) echo "unknown command" >&2; exit 125;; esac',
      "gives it no further name": 'case "$1" in tag) echo "no names any more" >&2; exit 1;; esac',
      "pushes elsewhere": `case "$1" in push) echo "v1: digest: sha256:${"0".repeat(64)} size: 1"; exit 0;; esac`,
    };
    for (const [what, script] of Object.entries(broken)) {
      test(`where docker ${what}`, async () => {
        await using folder = await temporaryFolder(engine.folder);
        const more = { PATH: await insteadOfDocker(folder.path, script) };
        const { reason } = await pushSaved(NAME, `${newRepository()}:v1`, { more });
        const [, said] = /echo "(dial.*?|no names.*?)"/.exec(script) ?? [];
        expect(reason).toContain(said ?? "");
      });
    }

    test("where the registry refuses Docker's manifests", async () => {
      const name = "team/docker-types:v1";
      const output = `type=image,name=${name},oci-mediatypes=false`;
      await buildImage(engine, name, ["small"], ["--provenance=false", "--output", output]);
      intercept = (request, kind) =>
        kind === "put-manifest" && request.headers.get("content-type")?.includes("docker")
          ? new Response(null, { status: 415 })
          : undefined;
      const repository = newRepository();
      const { digest } = await pushSaved(name, `${repository}:v1`);
      expect(await expectWhole(repository, "v1")).toBe(1);
      const warm = await push(name, `${repository}:v2`);
      expect(digestOf(warm)).toBe(digest);
    });
  });

  test("brings the image to a registry where two requests of ten fail", async () => {
    const faults = [
      faultAnswer(503),
      faultAnswer(502, "unread"),
      tooMany("seconds", 1),
      reset("before"),
      reset("middle"),
      reset("after"),
    ];
    await using proxy = await startFaultProxy({
      upstreamHost: () => registry.host,
      plan: seededFaults(7, 0.2, () => faults),
    });
    const repository = newRepository();
    const { digest } = await pushWell(NAME, `${repository}:v1`, { host: proxy.host });
    expect((await readManifest(repository, "v1")).digest).toBe(digest);
    expect(await expectWhole(repository, "v1")).toBe(3);
  });

  test("pushes the same image several times at once", async () => {
    const names = [newRepository(), newRepository(), newRepository()];
    const results = await Promise.all(names.map((name) => push(NAME, `${name}:v1`)));
    expect(new Set(results.map(digestOf)).size).toBe(1);
    for (const [i, { code, stderr }] of results.entries()) {
      expect(code, stderr).toBe(0);
      expect(await expectWhole(names[i] ?? "", "v1")).toBe(3);
    }
    expect(await callsOf("image save")).toEqual([]);
    expect(await ownNames()).toEqual([]);
  });

  test("sends little again of a blob whose push broke off", async () => {
    const name = "team/huge:v1";
    const [chunks, chunkBytes] = [5, 5 * 1024 * 1024];
    await using context = await temporaryFolder(engine.folder);
    await Bun.write(join(context.path, "huge"), seededBytes(chunks * chunkBytes, "huge"));
    await Bun.write(join(context.path, "Dockerfile"), "FROM scratch\nCOPY huge /\n");
    await engine.build(context.path, "--tag", name);
    const reached = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    let patches = 0;
    intercept = async (_, kind) => {
      if (kind !== "patch" || ++patches < 4) return undefined;
      reached.resolve();
      await held.promise;
      return undefined;
    };
    const repository = newRepository();
    const args = ["--chunk-size", `${chunkBytes}`];
    const pushing = startWatchedPush(["--debug", ...args, name, `${registry.host}/${repository}:v1`], {
      cwd: cwd.path,
      env: env(),
    });
    await reached.promise;
    process.kill(pushing.pid, "SIGINT");
    held.resolve();
    const { code, stderr } = await pushing.ended;
    expect(code, stderr).toBe(130);
    expect(await ownNames()).toEqual([]);
    await pushWell(name, `${repository}:v1`, { args });
    expect(await expectWhole(repository, "v1")).toBe(3);
    // What was on its way.
    expect(sentBytes(repository)).toBeLessThan((chunks + 2) * chunkBytes);
  });

  test("does not get the password, and the listener for it serves no other program", async () => {
    await using folder = await temporaryFolder(engine.folder);
    const credentials = { username: "me", password: "correct horse" };
    const statuses: Record<string, string | number> = {};
    let isFirst = true;
    await using closed = await startStrictRegistry({
      directory: join(folder.path, "registry"),
      credentials,
      intercept: async (_, kind) => {
        if (kind !== "start-upload" || !isFirst) return undefined;
        isFirst = false;
        const [name = ""] = await ownNames();
        const [, origin, repository] = /^(127\.0\.0\.1:\d+)\/(.*):/.exec(name) ?? [];
        for (const other of ["team/app", "library/x", `${repository}x`])
          statuses[other === `${repository}x` ? "one more letter" : other] = (
            await fetch(`http://${origin}/v2/${other}/tags/list`)
          ).status;
        const tags = `http://${origin}/v2/${repository}/tags/list`;
        statuses["its own, by this user"] = (await fetch(tags)).status;
        const script = `console.log((await fetch("${tags}")).status)`;
        if (canRunAsNobody())
          statuses["its own, by another user"] = Number(
            await runWell(asNobody([process.execPath, "-e", script]), { cwd: "/" }),
          );
        return undefined;
      },
    });
    const log = join(folder.path, "environment");
    const more = {
      PATH: await insteadOfDocker(folder.path, `{ env; echo "$@"; } >>'${log}'`),
      USERNAME_REGISTRY: credentials.username,
      REGISTRY_JWT_TOKEN: credentials.password,
    };
    const result = await push(NAME, "team/app:v1", { host: closed.host, more });
    expect(result.code, result.stderr).toBe(0);
    expect(result.stderr).not.toContain("The engine saves");
    expect(await Bun.file(log).text()).not.toContain("correct");
    expect(statuses).toEqual({
      "team/app": 403,
      "library/x": 403,
      "one more letter": 403,
      // There are no tags yet.
      "its own, by this user": 404,
      ...(canRunAsNobody() && { "its own, by another user": 403 }),
    });
    const wrong = { ...more, REGISTRY_JWT_TOKEN: "wrong" };
    const refused = await push(NAME, "team/app:v1", { host: closed.host, more: wrong });
    expect(refused.code, refused.stderr).toBe(1);
    expect(await ownNames()).toEqual([]);
  });
});
