/** What a push says where the engine has not what is asked for, and how it finds the engine that is meant. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { runWell } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { requireParts } from "../support/parts.ts";
import { PROGRAM, runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const NAMES = ["team/shop:v1", "team/shop:v2", "shop:v1", "other/thing:latest"];

describe.skipIf(!requireParts("dockerd"))("a push from the engine", () => {
  let engine: DockerEngine;
  let registry: StrictRegistry;
  let cwd: TemporaryFolder;
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());

  beforeAll(async () => {
    cwd = resources.use(await temporaryFolder());
    registry = resources.use(await startStrictRegistry({ directory: join(cwd.path, "registry") }));
    engine = resources.use(await startDockerEngine());
    await mkdir(join(cwd.path, "bin"));
    await symlink(Bun.which("docker") ?? "", join(cwd.path, "bin/docker"));
    await Bun.write(join(cwd.path, "context/file"), "content\n");
    await Bun.write(join(cwd.path, "context/Dockerfile"), "FROM scratch\nCOPY file /\n");
    const tags = NAMES.flatMap((name) => ["--tag", name]);
    await engine.docker("build", "--quiet", ...tags, join(cwd.path, "context"));
  });

  /** Pushes where docker is the only engine's command. */
  const push = (args: readonly string[], env: Readonly<Record<string, string>> = engine.env) =>
    runCli(args, { cwd: cwd.path, env: { PATH: join(cwd.path, "bin"), ...env } });
  const puts = () => registry.requests.filter(({ method }) => method === "PUT");

  test("lists the nearest names where there is no such image", async () => {
    const { code, stderr, stdout } = await push(["team/shp:v1", `${registry.host}/a:v1`]);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toContain(
      'The Docker engine has no image "team/shp:v1". The nearest names are team/shop:v1, ',
    );
    expect(stderr).toContain("team/shop:v2");
    expect(stderr).toContain(" shop:v1");
    expect(stderr).toContain(`${PROGRAM} team/shop:v1 ${registry.host}/a:v1`);
    expect(stderr).not.toContain("other/thing");
    expect(puts()).toEqual([]);
  });

  test("lists the nearest names where none is like the target", async () => {
    const target = `${registry.host}/team/shop:v3`;
    const { code, stderr } = await push([target]);
    expect(code).toBe(1);
    expect(stderr).toContain(`The Docker engine has no image "${target}".`);
    expect(stderr).toMatch(/The nearest names are team\/shop:v[12], team\/shop:v[12], shop:v1\./);
    expect(stderr).toMatch(new RegExp(`docker tag team/shop:v[12] ${target}`));
    expect(puts()).toEqual([]);
  });

  test("says that an engine does not answer", async () => {
    const socket = join(cwd.path, "no-engine.sock");
    const env = { ...engine.env, DOCKER_HOST: `unix://${socket}` };
    const { code, stderr } = await push(["team/shop:v1", `${registry.host}/a:v1`], env);
    expect(code).toBe(1);
    expect(stderr).toContain("the Docker engine does not answer");
    expect(stderr).toContain(socket);
    expect(stderr).toContain("check DOCKER_HOST");
    expect(puts()).toEqual([]);
  });

  test("says that there is no command of an engine", async () => {
    const { code, stderr } = await push(["team/shop:v1", `${registry.host}/a:v1`], { PATH: cwd.path });
    expect(code).toBe(1);
    expect(stderr).toContain("[ENGINE_MISSING]");
    expect(stderr).toContain("docker save my/app:v1 --output image.tar");
    expect(puts()).toEqual([]);
  });

  test("goes to the engine of the context that docker uses", async () => {
    const client = { DOCKER_CONFIG: join(cwd.path, "contexts") };
    const context = (...args: string[]) => runWell(["docker", "context", ...args], { env: client });
    await context("create", "ours", "--docker", `host=${engine.host}`);
    await context("create", "theirs", "--docker", `host=unix://${join(cwd.path, "theirs.sock")}`);

    await context("use", "ours");
    const used = await push(["team/shop:v1", `${registry.host}/context:used`], client);
    expect(used.code, used.stderr).toBe(0);
    const others = await push(["team/shop:v1", `${registry.host}/context:others`], {
      ...client,
      DOCKER_CONTEXT: "theirs",
    });
    expect(others.code).toBe(1);
    expect(others.stderr).toContain("theirs.sock");
    const byHost = await push(["team/shop:v1", `${registry.host}/context:by-host`], {
      ...client,
      DOCKER_HOST: engine.host,
    });
    expect(byHost.code, byHost.stderr).toBe(0);
  });

  test.each([
    ["ghcr.io/team/tool:v1", "ghcr.io/team/tool:v1"],
    ["ghcr.io/team/tool", "ghcr.io/team/tool:latest"],
    ["registry.cloudflare.com/0123abcd/tool:v1", "registry.cloudflare.com/0123abcd/tool:v1"],
    ["docker.io/library/tool:v2", "tool:v2"],
    ["docker.io/tool:v3", "tool:v3"],
    ["index.docker.io/team/tool:v4", "team/tool:v4"],
    ["tool:v5", "docker.io/library/tool:v5"],
  ])("takes %s as docker does, which has it as %s", async (name, tagged) => {
    await engine.docker("tag", "shop:v1", tagged);
    const { code, stderr } = await push([name, `${registry.host}/names:v1`]);
    await engine.docker("rmi", tagged);
    expect(code, stderr).toBe(0);
  });

  test("saves an image once at most for targets at two registries", async () => {
    await using other = await startStrictRegistry({ directory: join(cwd.path, "other") });
    const targets = [registry, other].flatMap(({ host }) => [
      "-t",
      `${host}/twice:v1`,
      "-t",
      `${host}/twice:v2`,
    ]);
    const { code, stdout, stderr } = await push(["team/shop:v1", ...targets]);
    expect(code, stderr).toBe(0);
    expect(new Set(stdout.match(/sha256:\w+/g)).size).toBe(1);
    expect(stderr.match(/: saved/g)?.length ?? 0).toBeLessThanOrEqual(1);
    expect(other.requests.filter(({ kind }) => kind === "put-manifest")).toHaveLength(2);
  });

  test("finds the image of the target's name, and no other registry's", async () => {
    const target = `${registry.host}/team/tool:v1`;
    await engine.docker("tag", "shop:v1", "ghcr.io/team/tool:v1");
    const wrong = await push([target]);
    expect(wrong.code).toBe(1);
    expect(wrong.stderr).toContain(`${PROGRAM} ghcr.io/team/tool:v1 ${target}`);
    await engine.docker("tag", "ghcr.io/team/tool:v1", target);
    const right = await push([target]);
    expect(right.code, right.stderr).toBe(0);
  });
});
