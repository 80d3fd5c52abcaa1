/** The GitHub Action, its steps run as the runner does. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { cp, mkdir, readdir, rm } from "node:fs/promises";
import { delimiter, dirname, join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { type ActionOptions, readAction, runAction, type SavedCache } from "../support/run-action.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(120_000);

const ROOT = join(import.meta.dir, "../..");
const ME = { username: "me", password: "hush-$(id) \"'\\Xq7" };
const HEADER_SECRET = "hush-header-9";
/** What a checkout of the action has, as far as it is used. */
const SHIPPED = [
  "action.yml",
  "package.json",
  "bun.lock",
  ".npmrc",
  "bin",
  "dev/with-bun.mjs",
  "index.ts",
  "src",
];

// Windows finds the bash of its Linux first. The runner does not.
const isPossible = process.platform !== "win32" && Bun.which("bash") !== null && Bun.which("node") !== null;

const folder = await temporaryFolder();
afterAll(() => folder[Symbol.asyncDispose]());
const actionPath = join(folder.path, "action");
if (isPossible) {
  for (const file of SHIPPED) await cp(join(ROOT, file), join(actionPath, file), { recursive: true });
}

/** An OCI archive with one layer, not compressed. */
function ociArchive(): Buffer {
  const layer = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(20_000, 1) }]));
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [digestOf(layer)] },
  });
  const describe = (mediaType: string, content: string | Uint8Array) => ({
    mediaType,
    digest: digestOf(content),
    size: Buffer.byteLength(content),
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: "application/vnd.oci.image.manifest.v1+json",
    config: describe("application/vnd.oci.image.config.v1+json", config),
    layers: [describe("application/vnd.oci.image.layer.v1.tar", layer)],
  });
  const index = {
    schemaVersion: 2,
    manifests: [describe("application/vnd.oci.image.manifest.v1+json", manifest)],
  };
  return tarBytes([
    { path: "oci-layout", body: JSON.stringify({ imageLayoutVersion: "1.0.0" }) },
    { path: "index.json", body: JSON.stringify(index) },
    ...[layer, config, manifest].map((body) => ({
      path: `blobs/${digestOf(body).replace(":", "/")}`,
      body: typeof body === "string" ? body : Buffer.from(body),
    })),
  ]);
}

/** A job: a workspace with an archive, a registry with a password, and a runner. */
async function setUp(intercept?: Intercept) {
  const resources = new AsyncDisposableStack();
  const { path } = resources.use(await temporaryFolder());
  const registry = resources.use(
    await startTestRegistry({ credentials: ME, ...(intercept && { intercept }) }),
  );
  const workspace = join(path, "workspace");
  await mkdir(join(workspace, "out put"), { recursive: true });
  await Bun.write(join(workspace, "out put/image.tar"), ociArchive());
  const caches: SavedCache[] = [];
  return {
    registry,
    workspace,
    caches,
    run: (inputs: Readonly<Record<string, string>>, env: ActionOptions["env"] = {}) =>
      runAction({
        actionPath,
        workspace,
        runnerTemp: path,
        caches,
        env: { PATH: [dirname(process.execPath), process.env["PATH"]].join(delimiter), ...env },
        inputs: {
          source: "image.tar",
          "working-directory": "out put",
          ...ME,
          ...inputs,
        },
      }),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** The processes of this machine: their arguments, and what is in their environment. */
async function processes() {
  const pids = (await readdir("/proc")).filter((name) => /^\d+$/.test(name));
  const read = (pid: string, name: string) =>
    Bun.file(`/proc/${pid}/${name}`)
      .text()
      .catch(() => "");
  return Promise.all(
    pids.map(async (pid) => ({ args: await read(pid, "cmdline"), env: await read(pid, "environ") })),
  );
}

describe.skipIf(!isPossible)(
  isPossible ? "the GitHub Action" : "the GitHub Action (needs bash and node)",
  () => {
    test("pushes an OCI archive, gives the digest and a table, and shows the secrets to nobody", async () => {
      const seen: Awaited<ReturnType<typeof processes>> = [];
      let headers: string | null = null;
      await using setup = await setUp(async (request) => {
        headers ??= request.headers.get("x-pass");
        if (process.platform === "linux") seen.push(...(await processes()));
        return undefined;
      });
      const target = `${setup.registry.host}/my/app`;
      const { isSuccess, outputs, summary, log } = await setup.run({
        target: `${target}:v1\r\n\n${target}:latest\n`,
        headers: `X-Pass: ${HEADER_SECRET}\n`,
        "chunk-size": "64KiB",
        args: "--retries=1\n--debug\n",
      });
      expect(isSuccess, log).toBe(true);
      const digest = digestOf((await setup.registry.pullManifest("my/app", "v1")) ?? "");
      expect(outputs).toEqual({ digest, reference: `${target}:v1@${digest}` });
      expect(summary.match(/^### Pushed/gm)).toHaveLength(2);
      expect(summary).toMatch(/^\| layer 1\\\/1 .*\| uploaded \|/m);
      expect(headers as string | null).toBe(HEADER_SECRET);
      for (const secret of [ME.password, HEADER_SECRET]) {
        expect(log + summary).not.toContain(secret);
        expect(seen.filter(({ args }) => args.includes(secret))).toEqual([]);
      }
      const ours = seen.filter(({ args }) => args.includes(join(actionPath, "index.ts")));
      if (process.platform === "linux") expect(ours.length).toBeGreaterThan(1);
      expect(ours.filter(({ env }) => env.includes(ME.password) || env.includes("INPUT_"))).toEqual([]);
    });

    test("keeps what was compressed for the next run, and saves it once", async () => {
      await using setup = await setUp();
      const first = await setup.run({ target: `${setup.registry.host}/my/app:v1` });
      expect(first.isSuccess, first.log).toBe(true);
      expect(first.summary).toContain("compressed from");
      expect(setup.caches).toHaveLength(1);

      await rm(join(setup.workspace, "out put/.cache"), { recursive: true });
      const second = await setup.run({ target: `${setup.registry.host}/other/app:v1` });
      expect(second.isSuccess, second.log).toBe(true);
      expect(second.summary).toMatch(/\| cached \| (?:uploaded|mounted)/);
      expect(second.outputs["digest"]).toBe(first.outputs["digest"] ?? "");
      expect(setup.caches).toHaveLength(1);
    });

    test("saves no more of the cache than its size", async () => {
      await using setup = await setUp();
      const { isSuccess, log } = await setup.run({
        target: `${setup.registry.host}/my/app:v1`,
        "cache-max-size": "1KB",
      });
      expect(isSuccess, log).toBe(true);
      expect(
        (await readdir(setup.caches[0]?.folder ?? "")).filter((name) => /^[0-9a-f]{64}$/.test(name)),
      ).toEqual([]);
    });

    test("keeps nothing with cache: false", async () => {
      await using setup = await setUp();
      const { isSuccess, log } = await setup.run({
        target: `${setup.registry.host}/my/app:v1`,
        cache: "false",
      });
      expect(isSuccess, log).toBe(true);
      expect(setup.caches).toEqual([]);
    });

    test("takes a token without a user name", async () => {
      await using setup = await setUp();
      const { log } = await setup.run({ target: `${setup.registry.host}/my/app:v1`, username: "" });
      expect(log).toContain("as v0");
    });

    test("fails without a digest if the push fails", async () => {
      await using setup = await setUp();
      const { isSuccess, outputs, log } = await setup.run({
        target: `${setup.registry.host}/my/app:v1`,
        password: "hush-wrong-3",
      });
      expect(isSuccess).toBe(false);
      expect(outputs).toEqual({});
      expect(log).toContain("does not accept");
      expect(log).not.toContain("hush-wrong-3");
    });

    test.each([
      ["no target", { target: "\n" }, "The input target is empty."],
      [
        "a switch that is neither on nor off",
        { insecure: "yes" },
        "The input insecure should be true or false.",
      ],
      ["an unset secret", { password: "" }, "No password on standard input"],
    ])("says what is wrong with %s", async (_, inputs, words) => {
      await using setup = await setUp();
      const { isSuccess, log } = await setup.run({ target: `${setup.registry.host}/my/app:v1`, ...inputs });
      expect(isSuccess).toBe(false);
      expect(log).toContain(words);
    });

    test("says what is missing on a runner without Node and Bun", async () => {
      await using setup = await setUp();
      const { isSuccess, log } = await setup.run({ target: "r.example/my/app:v1" }, { PATH: "/nowhere" });
      expect(isSuccess).toBe(false);
      expect(log).toContain("Add actions/setup-node before this step.");
    });

    test.each(["source", "target", "image", "platform", "cache-from", "args", "username", "cache-max-size"])(
      "runs nothing that stands in the input %s",
      async (name) => {
        await using setup = await setUp();
        const marker = join(setup.workspace, "ran");
        const value = `x"'; touch ${marker}; $(touch ${marker}) \`touch ${marker}\` #\n$(touch ${marker})\ndigest=sha256:0`;
        const { outputs } = await setup.run({ target: `${setup.registry.host}/my/app:v1`, [name]: value });
        expect(await Bun.file(marker).exists()).toBe(false);
        expect(outputs["digest"]).not.toBe("sha256:0");
      },
    );

    test("takes a source that begins with a dash for a file", async () => {
      await using setup = await setUp();
      const { isSuccess, log } = await setup.run({
        target: `${setup.registry.host}/my/app:v1`,
        source: "--version",
      });
      expect(isSuccess).toBe(false);
      expect(log).toContain('"--version"');
    });
  },
);

describe("action.yml", () => {
  test("describes every input, gives all but the target a default, and uses each", async () => {
    const { inputs, runs } = await readAction(ROOT);
    const text = JSON.stringify(runs);
    for (const [name, input] of Object.entries(inputs)) {
      expect(Object.keys(input).sort()).toEqual(
        ["description", name === "target" ? "required" : "default"].sort(),
      );
      expect(typeof input.description).toBe("string");
      if (name !== "target") expect(typeof input.default, name).toBe("string");
      expect(text).toContain(`inputs.${name} `);
    }
  });

  test("is composite, names a shell for each script, and pins what it uses by a commit", async () => {
    const { name, description, runs, outputs } = await readAction(ROOT);
    expect([name, typeof description, runs.using]).toEqual(["chunkpush", "string", "composite"]);
    for (const step of runs.steps) {
      if (step.uses === undefined) expect(step.shell).toBe("bash");
      else expect(step.uses).toMatch(/^[\w./-]+@[0-9a-f]{40}$/);
    }
    expect(Object.keys(outputs)).toEqual(["digest", "reference"]);
  });

  test("puts no expression into a script", async () => {
    const { runs } = await readAction(ROOT);
    for (const { run = "", env = {} } of runs.steps) {
      expect(run).not.toContain("${{");
      for (const name of Object.keys(env).filter((each) => each.startsWith("INPUT_")))
        expect(run).toContain(name);
    }
  });
});
