/** Images that are pushed from where their engine keeps them: what goes wrong meanwhile, and what is shared. */
import { afterAll, afterEach, beforeAll, beforeEach, describe, expect, setDefaultTimeout } from "bun:test";
import { readdir, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { testInTurn } from "../support/all-tests.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startWatchedPush, stopWhileCompressing } from "../support/watched-push.ts";
import { type DockerWrapper, installDockerWrapper } from "./docker-wrapper.ts";
import { loadImage } from "./engine-images.ts";
import { ENGINES, type Engine, type EngineRole } from "./engines.ts";
import { readLayers } from "./registry-content.ts";

setDefaultTimeout(120_000);

const NAME = "stored/app:v1";
const OTHER = "stored/other:v1";
const CHUNK_BYTES = 5 * 1024 * 1024;
const NOISE_BYTES = 3 * CHUNK_BYTES;
const text = (content: string) => new TextEncoder().encode(content);
/** The largest is compressed first, and sent in one chunk; the second is sent in several. */
const FILES = [
  text("small\n"),
  text("every line is the same\n".repeat(1_000_000)),
  seededBytes(NOISE_BYTES, "noise"),
];

/** One engine of each kind of store. */
const ROLES = new Map(ENGINES.toReversed().map((role) => [`${role.identity} ${role.runtime}`, role]));

for (const [turn, role] of [...ROLES.values()].entries())
  describe(`an image in the storage of ${role.title}`, () => testStorage(role, testInTurn(turn, ROLES.size)));

function testStorage(
  { start, identity, runtime = "docker" }: EngineRole,
  inTurn: ReturnType<typeof testInTurn>,
): void {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let engine: Engine;
  let registry: StrictRegistry;
  let docker: DockerWrapper;
  let cwd: TemporaryFolder;
  let intercept: Intercept | undefined;

  beforeAll(async () => {
    engine = resources.use(await start());
    const folder = resources.use(await temporaryFolder(engine.folder));
    const directory = join(folder.path, "registry");
    registry = resources.use(
      await startStrictRegistry({ directory, intercept: (...request) => intercept?.(...request) }),
    );
    docker = await installDockerWrapper(folder.path, 0, engine.command, runtime);
    await loadImage(engine, NAME, FILES);
    await loadImage(engine, OTHER, [text("other\n")]);
  });

  beforeEach(async () => {
    cwd = await temporaryFolder(engine.folder);
    intercept = undefined;
    await docker.calls();
    // The folder has to be there to be watched.
    await Bun.write(join(cwd.path, ".cache/keep"), "");
  });
  afterEach(() => cwd[Symbol.asyncDispose]());

  let repositories = 0;
  const newRepository = () => `stored/number-${++repositories}`;
  const env = () => ({ ...engine.env, ...docker.env() });
  const push = (to: string, ...args: string[]) =>
    runCli(["--debug", ...args, NAME, `${registry.host}/${to}`], { cwd: cwd.path, env: env() });
  const startPush = (source: string, to: string, more: Record<string, string> = {}) =>
    startWatchedPush(["--debug", "--chunk-size", `${CHUNK_BYTES}`, source, `${registry.host}/${to}`], {
      cwd: cwd.path,
      env: { ...env(), ...more },
    });
  const requestsTo = (repository: string) =>
    registry.requests.filter(({ path }) => path.startsWith(`/v2/${repository}/`));
  const isTagged = (repository: string) =>
    requestsTo(repository).some(({ kind, status }) => kind === "put-manifest" && status === 201);
  const sentBytes = (repository: string) =>
    requestsTo(repository).reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  const digestOf = (stdout: string) => stdout.trim().slice(stdout.indexOf("@") + 1);
  const pushed = (repository: string, at = registry) => readLayers(`${at.host}/${repository}:v1`);
  const inspected = async (name: string): Promise<string[]> =>
    JSON.parse(await engine.docker("image", "inspect", "--format", "{{json .RootFS.Layers}}", name));

  async function expectUntouched(): Promise<void> {
    const calls = await docker.calls();
    expect(calls.filter((call) => !/^(?:image inspect|info|manifest exists) /.test(call))).toEqual([]);
    const left = await readdir(join(cwd.path, ".cache"));
    expect(left.filter((name) => name.endsWith(".tmp") || name.startsWith("spool-"))).toEqual([]);
  }

  inTurn("is compressed once and sent once by two pushes at once, and neither has it saved", async () => {
    const repository = newRepository();
    const results = await Promise.all([push(`${repository}:v1`), push(`${repository}:v2`)]);
    for (const { code, stderr } of results) expect(code, stderr).toBe(0);
    expect(new Set(results.map(({ stdout }) => digestOf(stdout))).size).toBe(1);
    const said = results.map(({ stderr }) => stderr).join("");
    expect(said.match(/layer .*: compressed, /g)).toHaveLength(FILES.length);
    expect(said.match(/layer .*: uploaded in /g)).toHaveLength(FILES.length);
    expect((await pushed(repository)).diffIds).toEqual([await inspected(NAME)]);
    await expectUntouched();
  });

  inTurn("is compressed once for two registries, and sent to each", async () => {
    await using folder = await temporaryFolder();
    await using second = await startStrictRegistry({ directory: folder.path });
    const repository = newRepository();
    const targets = [registry, second].flatMap(({ host }) => ["-t", `${host}/${repository}:v1`]);
    const { code, stdout, stderr } = await runCli(["--debug", ...targets, NAME], {
      cwd: cwd.path,
      env: env(),
    });
    expect(code, stderr).toBe(0);
    expect(new Set(stdout.match(/sha256:\w+/g)).size).toBe(1);
    expect(stderr.match(/layer .*: compressed, /g)).toHaveLength(FILES.length);
    expect(await pushed(repository, second)).toEqual(await pushed(repository));
    await expectUntouched();
  });

  inTurn(
    "leaves no process and no tag after Ctrl-C in the middle of a layer, and the next push brings it",
    async () => {
      const repository = newRepository();
      const mark = `CHUNKPUSH_TEST_${crypto.randomUUID().replaceAll("-", "")}`;
      const pushing = await stopWhileCompressing(join(cwd.path, ".cache"), () =>
        startPush(NAME, `${repository}:v1`, { [mark]: "1" }),
      );
      process.kill(pushing.pid, "SIGINT");
      process.kill(pushing.pid, "SIGCONT");
      const { code, stdout, stderr } = await pushing.ended;
      expect({ code, stdout }, stderr).toEqual({ code: 130, stdout: "" });
      expect(await processesWith(mark)).toEqual([]);
      expect(isTagged(repository)).toBe(false);
      await expectUntouched();
      const again = await push(`${repository}:v1`);
      expect(again.code, again.stderr).toBe(0);
      expect((await pushed(repository)).diffIds).toEqual([await inspected(NAME)]);
    },
  );

  inTurn("has its upload resumed by the next push after Ctrl-C in the middle of it", async () => {
    const repository = newRepository();
    const reached = Promise.withResolvers<void>();
    const held = Promise.withResolvers<void>();
    let patches = 0;
    intercept = async (_, kind) => {
      if (kind !== "patch" || ++patches < 2) return undefined;
      reached.resolve();
      await held.promise;
      return undefined;
    };
    const pushing = startPush(NAME, `${repository}:v1`);
    await reached.promise;
    process.kill(pushing.pid, "SIGINT");
    held.resolve();
    const { code, stderr } = await pushing.ended;
    expect(code, stderr).toBe(130);
    expect(isTagged(repository)).toBe(false);
    intercept = undefined;
    const before = sentBytes(repository);
    expect(before).toBeGreaterThan(CHUNK_BYTES);
    const again = await push(`${repository}:v1`, "--chunk-size", `${CHUNK_BYTES}`);
    expect(again.code, again.stderr).toBe(0);
    expect(sentBytes(repository) - before).toBeLessThan(NOISE_BYTES - CHUNK_BYTES);
    expect((await pushed(repository)).diffIds).toEqual([await inspected(NAME)]);
    await expectUntouched();
  });

  inTurn("is pushed as it was found where its name is moved to another image meanwhile", async () => {
    const [repository, plain] = [newRepository(), newRepository()];
    const name = "stored/moved:v1";
    await engine.docker("tag", NAME, name);
    const pushing = await stopWhileCompressing(join(cwd.path, ".cache"), () =>
      startPush(name, `${repository}:v1`),
    );
    await engine.docker("tag", OTHER, name);
    process.kill(pushing.pid, "SIGCONT");
    const { code, stdout, stderr } = await pushing.ended;
    expect(code, stderr).toBe(0);
    expect((await pushed(repository)).diffIds).toEqual([await inspected(NAME)]);
    expect(digestOf((await push(`${plain}:v1`)).stdout)).toBe(digestOf(stdout));
    expect(await inspected(name)).toEqual(await inspected(OTHER));
    await engine.docker("rmi", name);
  });

  // The last one, for it leaves the engine without its content.
  inTurn("is not tagged where the engine removes it meanwhile, and the error says what to do", async () => {
    const repository = newRepository();
    const name = "stored/removed:v1";
    await loadImage(engine, name, [...FILES, text("one more\n")].toReversed());
    const pushing = await stopWhileCompressing(join(cwd.path, ".cache"), () =>
      startPush(name, `${repository}:v1`),
    );
    await engine.docker("rmi", "--force", name);
    // containerd's garbage collection comes some time later.
    if (identity === "manifest") await rm(await contentStore(), { recursive: true });
    process.kill(pushing.pid, "SIGCONT");
    const { code, stdout, stderr } = await pushing.ended;
    expect({ code, stdout }, stderr).toEqual({ code: 1, stdout: "" });
    expect(stderr).toMatch(/may have been removed|no other program removes it/);
    expect(stderr).not.toContain("bug in chunkpush");
    expect(isTagged(repository)).toBe(false);
    await expectUntouched();
  });

  async function contentStore(): Promise<string> {
    const root = await engine.docker("info", "--format", "{{.DockerRootDir}}");
    return join(root, "containerd/daemon/io.containerd.content.v1.content/blobs");
  }
}

/** The processes of this machine that were started with a variable. */
async function processesWith(variable: string): Promise<string[]> {
  const ids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const marked = ids.map(async (id) => {
    const environment = await readFile(`/proc/${id}/environ`, "latin1").catch(() => "");
    return environment.includes(`${variable}=`) ? [id] : [];
  });
  return (await Promise.all(marked)).flat();
}
