/** The packed package, installed from a registry by what people install with, and each time a push with it. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, symlink } from "node:fs/promises";
import { dirname, join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import packageJson from "../../package.json";
import { RUNS_ALL } from "../support/all-tests.ts";
import { type CommandResult, run, runWell, startDaemon, waitFor } from "../support/command.ts";
import {
  blobOf,
  type FixtureBlob,
  filesOf,
  fixtureImage,
  untypedManifest,
} from "../support/image-fixture.ts";
import { archiveBytes, layoutFiles } from "../support/image-forms.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { tool, whyNoTools } from "./tools.ts";

setDefaultTimeout(120_000);

const { CI } = process.env;
const root = join(import.meta.dir, "../..");
const missing = RUNS_ALL ? whyNoTools() : "the argument --all";
const OCI = "application/vnd.oci.image";
const { config, layers, files } = untypedManifest(fixtureImage(1, 2), Bun.gzipSync);
const MANIFEST = blobOf(
  JSON.stringify({
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: described(config, `${OCI}.config.v1+json`),
    layers: layers.map((layer) => described(layer, `${OCI}.layer.v1.tar+gzip`)),
  }),
);
const ARCHIVE = archiveBytes({
  ...layoutFiles([described(MANIFEST, `${OCI}.manifest.v1+json`)]),
  ...files,
  ...filesOf([MANIFEST]),
});

const npm = (major: number, node: number) => ({
  node: tool(`node-${node}/bin/node`),
  npm: tool(`npm-${major}/bin/npm-cli.js`),
  npx: tool(`npm-${major}/bin/npx-cli.js`),
});

type Programs = Readonly<Record<string, string>>;

let folder: TemporaryFolder;
let registry: StrictRegistry;
let packages: string;
const resources = new AsyncDisposableStack();
afterAll(() => resources.disposeAsync());

describe.skipIf(missing !== undefined && !(CI && missing.startsWith("npm")))(
  missing ? `chunkpush, installed (needs ${missing})` : "chunkpush, installed",
  () => {
    beforeAll(async () => {
      folder = resources.use(await temporaryFolder());
      registry = resources.use(await startStrictRegistry({ directory: join(folder.path, "registry") }));
      packages = await startPackageRegistry();
      const [path, newest] = [process.env["PATH"] ?? "", npm(12, 26)];
      const tarball = `${packageJson.name}-${packageJson.version}.tgz`;
      await runWell([newest.node, newest.npm, "pack", "--silent", "--pack-destination", folder.path], {
        cwd: root,
        env: { HOME: folder.path, PATH: `${dirname(newest.node)}:${path}` },
      });
      const token = `--${packages.replace("http:", "")}/:_authToken=any`;
      await runWell([newest.node, newest.npm, "publish", tarball, `--registry=${packages}`, token], {
        cwd: folder.path,
        env: { HOME: folder.path },
      });
    });

    for (const [major, node] of [
      [10, 20],
      [11, 22],
      [12, 26],
    ] as const) {
      test(`with npx and npm ${major} on Node ${node}, and no script allowed, it pushes`, async () => {
        const user = await newUser(npm(major, node));
        await user.run("npm", "install", "--global", "--ignore-scripts", "chunkpush");
        await expectPush(user, "chunkpush");
        await expectPush(user, "npx", "--yes", "--ignore-scripts", "chunkpush");
      });
    }

    test("with pnpm, once and for everywhere, it pushes", async () => {
      const user = await newUser({ node: npm(12, 22).node, pnpm: tool("@pnpm/exe.linux-x64/pnpm") });
      await expectPush(user, "pnpm", "dlx", "chunkpush");
      await user.run("pnpm", "add", "--global", "chunkpush");
      await expectPush(user, "chunkpush");
    });

    test("with yarn 4, it needs nodeLinker: node-modules, which its error names", async () => {
      const user = await newUser({ node: npm(12, 22).node, yarn: tool("yarn-4/bin/yarn.js") });
      const refused = await user.try("yarn", "dlx", "--quiet", "chunkpush", "--version");
      expect(refused.stderr + refused.stdout).toContain("nodeLinker: node-modules");
      expect(refused.code).toBe(1);
      await expectPush(user, "env", "YARN_NODE_LINKER=node-modules", "yarn", "dlx", "--quiet", "chunkpush");
    });

    test("with bunx, it pushes where there is no Node", async () => {
      await expectPush(await newUser({ bun: process.execPath, bunx: process.execPath }), "bunx", "chunkpush");
    });

    test("with npm, but without optional packages, it says what is missing, or takes the Bun of PATH", async () => {
      const user = await newUser(npm(12, 26));
      await user.run("npm", "install", "--omit=optional", "chunkpush");
      const command = "../node_modules/.bin/chunkpush";
      const { code, stdout, stderr } = await user.try(command, "--version");
      expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
      expect(stderr).toStartWith("Error: chunkpush needs Bun ");
      expect(stderr).toContain("@oven/bun-linux-x64");
      expect(stderr).toContain("--omit=optional");
      await symlink(process.execPath, join(user.home, "bin/bun"));
      await expectPush(user, command);
    });
  },
);

function described({ digest, bytes }: FixtureBlob, mediaType: string) {
  return { mediaType, digest, size: bytes.length };
}

/** A home with nothing but these programs, and the shell that they need, on its PATH. */
async function newUser(programs: Programs) {
  const home = join(folder.path, Bun.randomUUIDv7());
  const bin = join(home, "bin");
  await mkdir(bin, { recursive: true });
  for (const [name, path] of Object.entries({ ...programs, sh: "/bin/sh", env: "/usr/bin/env" }))
    await symlink(path, join(bin, name));
  await Bun.write(join(home, ".npmrc"), `registry=${packages}/\nprefix=${home}\nupdate-notifier=false\n`);
  const options = {
    cwd: home,
    env: {
      HOME: home,
      PATH: bin,
      PNPM_HOME: home,
      YARN_NPM_REGISTRY_SERVER: packages,
      YARN_UNSAFE_HTTP_WHITELIST: "127.0.0.1",
      YARN_ENABLE_TELEMETRY: "0",
      YARN_COMPRESSION_LEVEL: "0",
      // This package is as young as can be.
      YARN_NPM_MINIMAL_AGE_GATE: "0",
    },
  };
  const inBin = ([name = "", ...args]: readonly string[]) => [join(bin, name), ...args];
  return {
    home,
    try: (...command: readonly string[]): Promise<CommandResult> => run(inBin(command), options),
    run: (...command: readonly string[]): Promise<string> => runWell(inBin(command), options),
  };
}

/** Asks for help, and pushes an OCI archive. */
async function expectPush(
  user: Awaited<ReturnType<typeof newUser>>,
  ...command: readonly string[]
): Promise<void> {
  expect(await user.run(...command, "--help")).toContain(
    "\n  chunkpush my/app:v1 registry.example.com/my/app:v1\n",
  );
  await Bun.write(join(user.home, "image.tar"), ARCHIVE);
  const repository = Bun.randomUUIDv7();
  const reference = `${registry.host}/${repository}:v1`;
  const { code, stdout, stderr } = await user.try(...command, "image.tar", reference);
  expect(code, stderr).toBe(0);
  expect(stdout).toBe(`${reference}@${MANIFEST.digest}\n`);
  const pulled = await fetch(`${registry.url}/v2/${repository}/manifests/v1`);
  expect(await pulled.bytes()).toEqual(MANIFEST.bytes);
}

/** A registry that has this package, and gets all others where npm gets them. @returns its URL */
async function startPackageRegistry(): Promise<string> {
  const home = join(folder.path, "packages");
  // Proxies and authorities, if the way to npm's registry needs some.
  const env = process.env as Record<string, string>;
  const upstream = (await runWell(["npm", "config", "get", "registry"], { env })).trim();
  const config = {
    storage: join(home, "storage"),
    uplinks: { upstream: { url: upstream } },
    packages: {
      chunkpush: { access: "$all", publish: "$anonymous" },
      "**": { access: "$all", proxy: "upstream" },
    },
    log: { type: "stdout", level: "warn" },
  };
  // YAML has JSON in it.
  await Bun.write(join(home, "config.yaml"), JSON.stringify(config));
  const url = `http://127.0.0.1:${await freePort()}`;
  const daemon = startDaemon(
    [
      tool("node-26/bin/node"),
      tool("verdaccio/bin/verdaccio"),
      "--config",
      join(home, "config.yaml"),
      "--listen",
      url,
    ],
    { stdout: join(home, "stdout"), stderr: join(home, "stderr") },
    { ...env, HOME: home },
  );
  resources.defer(() => daemon.stop());
  return waitFor("verdaccio", async () => {
    if (daemon.hasExited()) throw new Error(await Bun.file(join(home, "stderr")).text());
    const answer = await fetch(`${url}/-/ping`).catch(() => undefined);
    return answer?.ok ? url : undefined;
  });
}

async function freePort(): Promise<number> {
  using listener = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
  return listener.port;
}
