/**
 * docs/ci.md: its commands, run as they stand there. A registry of this machine is in the place of the one that they name, a
 * checkout in that of the package, and a stand-in in that of each program that not every machine has.
 */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, cp, mkdir, symlink } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { gzipSync } from "node:zlib";
import { digestOf } from "../../src/oci/digest.ts";
import { commandFolder, runWell } from "../support/command.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { openPodmanStore } from "../support/podman-store.ts";
import { readAction } from "../support/run-action.ts";
import { cliCommand } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(60_000);

const ROOT = join(import.meta.dir, "../..");
const ME = { username: "me", password: "hush-Xq7" };
const RAW = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(5000, 1) }]));

const text = await Bun.file(join(ROOT, "docs/ci.md")).text();
const blocksOf = (language: string) =>
  [...text.matchAll(new RegExp(`^\`\`\`${language}\\n([\\s\\S]*?)^\`\`\``, "gm"))].map(
    ([, block = ""]) => block,
  );

type YamlStep = {
  readonly uses?: string;
  readonly with?: Readonly<Record<string, unknown>>;
  readonly run?: string;
};

const yaml = blocksOf("yaml").map((block) => Bun.YAML.parse(block));
const gitlab = yaml.find((each) => Object.hasOwn(Object(each), "push")) as {
  readonly push: { readonly script: readonly string[] };
};
const steps = yaml.flatMap((each): readonly YamlStep[] => {
  if (Array.isArray(each)) return each;
  const { jobs } = each as {
    readonly jobs?: Readonly<Record<string, { readonly steps: readonly YamlStep[] }>>;
  };
  return Object.values(jobs ?? {}).flatMap((job) => job.steps);
});

/** Programs that not every machine has: each leaves behind what stands for its output. */
const STAND_INS = {
  docker: `cp "$STAND_IN/image.tar" image.tar`,
  bazel: `mkdir -p bazel-bin/app/load
    cp "$STAND_IN/docker.tar" bazel-bin/app/load/tarball.tar
    cp "$STAND_IN/image.tar" bazel-bin/app/image_oci_layout.tar`,
  ko: `cp -r "$STAND_IN/layout" image`,
  "nix-build": `case $1 in
    --out-link) cp "$STAND_IN/docker.tar.gz" "$2" ;;
    *) echo "$STAND_IN/stream" ;;
  esac`,
};

async function writeProgram(path: string, script: string): Promise<void> {
  await Bun.write(path, `#!/bin/sh\nset -e\n${script}\n`);
  await chmod(path, 0o755);
}

/** An OCI layout, whose layer is compressed, and archives of the same image. @returns the layout's digest */
async function writeStandIns(folder: string): Promise<string> {
  const layer = new Uint8Array(gzipSync(RAW));
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    rootfs: { type: "layers", diff_ids: [digestOf(RAW)] },
  });
  const part = (mediaType: string, content: string | Uint8Array) => ({
    mediaType: `application/vnd.oci.image.${mediaType}`,
    digest: digestOf(content),
    size: Buffer.byteLength(content),
  });
  const manifest = JSON.stringify({
    schemaVersion: 2,
    ...{ mediaType: "application/vnd.oci.image.manifest.v1+json", config: part("config.v1+json", config) },
    layers: [part("layer.v1.tar+gzip", layer)],
  });
  const files = new Map<string, string | Uint8Array>([
    ["oci-layout", JSON.stringify({ imageLayoutVersion: "1.0.0" })],
    ["index.json", JSON.stringify({ schemaVersion: 2, manifests: [part("manifest.v1+json", manifest)] })],
    ...[layer, config, manifest].map((each) => [`blobs/${digestOf(each).replace(":", "/")}`, each] as const),
  ]);
  for (const [path, content] of files) await Bun.write(join(folder, "layout", path), content);
  const members = [...files].map(([path, body]) => ({
    path,
    body: typeof body === "string" ? body : Buffer.from(body),
  }));
  await Bun.write(join(folder, "image.tar"), tarBytes(members));
  const { archive } = dockerArchive([RAW], ["my/app:v1"]);
  await Bun.write(join(folder, "docker.tar"), archive);
  await Bun.write(join(folder, "docker.tar.gz"), gzipSync(archive));
  await writeProgram(join(folder, "stream"), `cat "$STAND_IN/docker.tar"`);
  return digestOf(manifest);
}

/** A checkout with what a build leaves behind, and a registry with a password. */
async function setUp(programs: Readonly<Record<string, string>> = STAND_INS) {
  const resources = new AsyncDisposableStack();
  const { path } = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry({ credentials: ME }));
  const standIn = join(path, "stand-in");
  const work = join(path, "work");
  await mkdir(work);
  const digest = await writeStandIns(standIn);
  await Bun.write(join(work, "Dockerfile"), "FROM scratch\nADD file.tar /\n");
  await Bun.write(join(work, "file.tar"), RAW);
  const quoted = cliCommand([]).map((word) => `'${word}'`);
  const npx = `[ "$1 $2" = "--yes chunkpush" ] && shift 2 && exec ${quoted.join(" ")} "$@"`;
  const bin = join(path, "bin");
  for (const [name, script] of Object.entries({ ...programs, npx }))
    await writeProgram(join(bin, name), script);
  return {
    registry,
    path,
    work,
    bin,
    standIn,
    digest,
    run: (script: string, env: Readonly<Record<string, string>> = {}) =>
      runWell(
        [
          Bun.which("bash") ?? "bash",
          "-euo",
          "pipefail",
          "-c",
          script.replaceAll("registry.example.com", registry.host),
        ],
        {
          cwd: work,
          env: {
            PATH: [bin, process.env["PATH"]].join(delimiter),
            HOME: path,
            STAND_IN: standIn,
            PASSWORD: ME.password,
            ...env,
          },
        },
      ),
    published: (tag = "v1") => registry.pullManifest("my/app", tag),
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

const shell = blocksOf("bash");
const ofPrograms = shell.filter((block) => /^(?:podman|buildah) /m.test(block));
// The engine's own images are pushed in test/e2e/engine-push.test.ts.
const ofStandIns = shell.filter(
  (block) => !ofPrograms.includes(block) && !block.includes("docker build --tag"),
);
const isPosix = process.platform !== "win32";

describe.skipIf(!isPosix)("a recipe of docs/ci.md publishes the image", () => {
  test.each(ofStandIns.map((block) => [block.trim().split("\n").at(0) ?? "", block]))(
    "%s",
    async (_, block) => {
      await using setup = await setUp();
      await setup.run(block);
      const manifest = (await setup.published()) ?? "";
      expect(manifest).toContain('"layers"');
      // Layouts keep their digest.
      if (/type=oci|oci_tarball|--oci-layout-path/.test(block))
        expect(digestOf(manifest)).toBe(setup.digest as never);
    },
  );

  test("of GitHub Actions without the action", async () => {
    await using setup = await setUp();
    const [step, ...others] = steps.filter(({ run }) => run?.includes("chunkpush"));
    expect(others).toEqual([]);
    await cp(join(setup.standIn, "image.tar"), join(setup.work, "image.tar"));
    const output = join(setup.path, "output");
    await setup.run(step?.run ?? "", {
      USERNAME_REGISTRY: ME.username,
      REGISTRY_PASSWORD: ME.password,
      GITHUB_SHA: "0123abc",
      GITHUB_ACTIONS: "true",
      GITHUB_OUTPUT: output,
    });
    expect(await setup.published("0123abc")).toBeDefined();
    expect(await Bun.file(output).text()).toStartWith(`digest=${setup.digest}\n`);
  });

  test("of GitLab, also with a cache that everybody may write", async () => {
    await using setup = await setUp();
    await cp(join(setup.standIn, "docker.tar"), join(setup.work, "image.tar"));
    const script = gitlab.push.script.join("\n");
    const env = { USERNAME_REGISTRY: ME.username, REGISTRY_PASSWORD: ME.password };
    await setup.run(script, { ...env, CI_COMMIT_SHORT_SHA: "first" });
    await runWell(["chmod", "-R", "a+rwX", join(setup.work, ".cache")]);
    // Standard error joins standard output.
    const log = await setup.run(`exec 2>&1\n${script}`, {
      ...env,
      CHUNKPUSH_PROGRESS: "json",
      CI_COMMIT_SHORT_SHA: "second",
    });
    expect(await setup.published("second")).toBe((await setup.published("first")) as string);
    expect(log).toContain('"how":"cached"');
    expect(log).not.toContain("CACHE_DISTRUSTED");
  });

  test("of Bazel's folder, once its links are resolved", async () => {
    await using setup = await setUp();
    const image = join(setup.work, "bazel-bin/app/image");
    await cp(join(setup.standIn, "layout"), image, { recursive: true });
    const [, digits = ""] = setup.digest.split(":");
    await runWell(["mv", join(image, "blobs/sha256", digits), join(setup.work, "elsewhere")]);
    await symlink("../../../../../elsewhere", join(image, "blobs/sha256", digits));
    const push = "npx --yes chunkpush --username me image registry.example.com/my/app:v1 <<<$PASSWORD";
    const [copy = ""] = /cp --recursive[^`]*/.exec(text) ?? [];
    await expect(setup.run(push.replace(" image ", " bazel-bin/app/image "))).rejects.toThrow(
      "[ARCHIVE_INVALID]",
    );
    await setup.run(`${copy}\n${push}`);
    expect(digestOf((await setup.published()) ?? "")).toBe(setup.digest as never);
  });
});

describeWith("buildah", "a recipe of docs/ci.md publishes the image, with the real program", () => {
  test.each(ofPrograms.map((block) => [block.trim().split("\n").at(1) ?? "", block]))(
    "%s",
    async (_, block) => {
      await using setup = await setUp({});
      await using store = await openPodmanStore();
      await commandFolder(setup.path, "podman", store);
      // Buildah finds Podman's images where they are, but has no flag for temporary files.
      const flags = store.command.slice(1).filter((word, i, all) => ![word, all[i - 1]].includes("--tmpdir"));
      const buildah = [Bun.which("buildah") ?? "buildah", ...flags];
      await commandFolder(setup.path, "buildah", { command: buildah, env: store.env });
      await setup.run(block);
      expect(await setup.published()).toContain('"layers"');
    },
  );
});

describe("docs/ci.md", () => {
  test("has every shell recipe where these tests find and run it", () => {
    expect(shell).toHaveLength(text.match(/```bash/g)?.length ?? 0);
    expect(ofStandIns.length).toBeGreaterThan(ofPrograms.length);
  });

  test("gives the action only inputs that it has, and what it requires", async () => {
    const { inputs } = await readAction(ROOT);
    const uses = steps.filter((step) => step.uses?.startsWith("OWNER/chunkpush@"));
    expect(uses).toHaveLength(2);
    for (const { with: given = {} } of uses) {
      expect(Object.keys(given).filter((name) => !Object.hasOwn(inputs, name))).toEqual([]);
      expect(Object.keys(given)).toContain("target");
    }
  });
});
