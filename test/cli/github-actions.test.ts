/** What a push tells GitHub Actions in files: the outputs of the step and the summary of the job. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(60_000);

const LAYER = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(5_000, 1) }]));

/** A step of a job: a folder with an image, and the files that a runner makes for it, with a line of an earlier program. */
async function setUp(env: Readonly<Record<string, string>> = {}) {
  const resources = new AsyncDisposableStack();
  const { path } = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry());
  const work = join(path, "work");
  await mkdir(work);
  await Bun.write(join(work, "output.tar"), dockerArchive([LAYER], ["my/app:v1"]).archive);
  const output = join(path, "output");
  const summary = join(path, "summary");
  await Bun.write(output, "earlier=1\n");
  await Bun.write(summary, "earlier\n");
  const runner = { GITHUB_ACTIONS: "true", GITHUB_OUTPUT: output, GITHUB_STEP_SUMMARY: summary };
  return {
    registry,
    work,
    run: (...targets: string[]) =>
      runCli(
        targets.flatMap((target) => ["-t", target]),
        { cwd: work, env: { ...runner, ...env } },
      ),
    outputs: () => Bun.file(output).text(),
    summary: () => Bun.file(summary).text(),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

describe("A push in GitHub Actions", () => {
  test("appends the digest and the reference to the step's outputs, and a table to the job's summary", async () => {
    await using setup = await setUp();
    const target = `${setup.registry.host}/my/app:v1`;
    const { code, stdout, stderr } = await setup.run(target);
    expect(code, stderr).toBe(0);
    const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
    expect(stdout).toBe(`${target}@${digest}\n`);
    expect(await setup.outputs()).toBe(`earlier=1\ndigest=${digest}\nreference=${target}@${digest}\n`);
    const summary = await setup.summary();
    expect(summary).toStartWith("earlier\n### Pushed ");
    expect(summary).toContain(`\`${target}@${digest}\``);
    expect(summary).toMatch(/^\| layer 1\\\/1 .*\| compressed from .*\| uploaded \|/m);
    expect(summary).toMatch(/^\| config .*\| uploaded \|/m);
  });

  test("writes no outputs if a target fails, and a summary of those that are published", async () => {
    await using setup = await setUp();
    await using refusing = await startTestRegistry({
      intercept: (_, kind) => (kind === "put-manifest" ? new Response("No.", { status: 403 }) : undefined),
    });
    const target = `${setup.registry.host}/my/app:v1`;
    const { code, stdout } = await setup.run(target, `${refusing.host}/my/app:v1`);
    expect(code).toBe(1);
    expect(stdout).toStartWith(`${target}@`);
    expect(await setup.outputs()).toBe("earlier=1\n");
    expect((await setup.summary()).match(/^### Pushed/gm)).toHaveLength(1);
  });

  test("warns if a file of the runner cannot be written, and the push succeeds", async () => {
    await using setup = await setUp({
      GITHUB_OUTPUT: "/nowhere/output",
      GITHUB_STEP_SUMMARY: "/nowhere/summary",
    });
    const { code, stdout, stderr } = await setup.run(`${setup.registry.host}/my/app:v1`);
    expect(code).toBe(0);
    expect(stdout).toContain("@sha256:");
    expect(stderr.match(/Warning: cannot write to the file that GITHUB_\w+ names/g)).toHaveLength(2);
  });

  test("writes nothing elsewhere, even if the files are named", async () => {
    await using setup = await setUp({ GITHUB_ACTIONS: "" });
    expect((await setup.run(`${setup.registry.host}/my/app:v1`)).code).toBe(0);
    expect([await setup.outputs(), await setup.summary()]).toEqual(["earlier=1\n", "earlier\n"]);
  });

  test("does not take the runner's variables from a .env file", async () => {
    await using setup = await setUp({ GITHUB_ACTIONS: "", GITHUB_OUTPUT: "", GITHUB_STEP_SUMMARY: "" });
    const planted = join(setup.work, "planted");
    await Bun.write(planted, "");
    const names = ["GITHUB_OUTPUT", "GITHUB_STEP_SUMMARY"];
    const lines = ["GITHUB_ACTIONS=true", ...names.map((name) => `${name}=${planted}`)];
    await Bun.write(join(setup.work, ".env"), lines.join("\n"));
    const { code, stderr } = await runCli(["-t", `${setup.registry.host}/my/app:v1`], { cwd: setup.work });
    expect(code, stderr).toBe(0);
    expect(await Bun.file(planted).text()).toBe("");
  });
});

describe("The log of a push in GitHub Actions", () => {
  test("has a group for each target, and its result below the group", async () => {
    await using setup = await setUp();
    const targets = ["v1", "v2"].map((tag) => `${setup.registry.host}/my/app:${tag}`);
    const { stderr } = await setup.run(...targets);
    const lines = stderr.split("\n").filter((line) => /^::|^Pushed/.test(line));
    expect(lines.map((line) => line.replace(/ in .*/, ""))).toEqual(
      targets.flatMap((target) => [`::group::Push ${target}`, "::endgroup::", `Pushed ${target}`]),
    );
  });

  test("has a failure as an annotation with its code, after the end of the group", async () => {
    await using setup = await setUp();
    await using refusing = await startTestRegistry({
      intercept: (_, kind) => (kind === "put-manifest" ? new Response("No.", { status: 403 }) : undefined),
    });
    const { code, stderr } = await setup.run(`${refusing.host}/my/app:v1`);
    expect(code).toBe(1);
    const [last, end] = stderr.trimEnd().split("\n").toReversed();
    expect(end).toBe("::endgroup::");
    expect(last).toMatch(/^::error title=chunkpush%3A DENIED::.+%0A {2}.+$/);
  });

  test("escapes text from outside that would begin a command", async () => {
    const said = "\n::set-output name=x::y\r##[error]z";
    await using setup = await setUp();
    await using refusing = await startTestRegistry({
      intercept: (_, kind) =>
        kind === "put-manifest"
          ? Response.json({ errors: [{ code: "DENIED", message: said }] }, { status: 400 })
          : undefined,
    });
    const { stderr } = await setup.run(`${refusing.host}/my/app:v1`);
    expect(stderr.match(/^\s*::\w+/gm)).toEqual(["::group", "::endgroup", "::error"]);
    expect(stderr).not.toContain("##[");
  });
});
