/**
 * The commands of the docs, run as they stand there, but for docs/ci.md, which has a test of its own. A registry of this
 * machine is in the place of those that they name, a checkout in that of the package, and a stand-in in that of Docker.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { commandFolder, runWell } from "../support/command.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { openPodmanStore } from "../support/podman-store.ts";
import { cliCommand } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { type Block, blocksOf, PAGES, ROOT, readPage } from "./pages.ts";

setDefaultTimeout(60_000);

const ME = { username: "me", password: "hush-Xq7" };
const OWN_TEST = "docs/ci.md";

const blocks = (
  await Promise.all(
    PAGES.filter((page) => page !== OWN_TEST).map(async (page) =>
      blocksOf(await readPage(page))
        .filter(({ language }) => ["bash", "sh", "console", "ts"].includes(language))
        .map((block) => ({ ...block, page })),
    ),
  )
).flat();
const run = blocks
  .filter(({ notRun }) => notRun === undefined)
  .map((block) => ({ ...block, title: `${block.page}: ${block.code.split("\n")[0]}` }));
/** These take an image of an engine, which is Podman here. */
const ofEngine = run.filter(({ code }) => /^(?:chunkpush \S+:v1 |podman )/m.test(code));

/** Docker without an image, but with an archive to save, and pushes that go through chunkpush to `localhost`. */
const DOCKER = (chunkpush: string) => `case "$1" in
  save) if [ "$3" = --output ]; then cp "$ARCHIVE" "$4"; else cat "$ARCHIVE"; fi ;;
  login) grep -q "$2" "$DOCKER_CONFIG/config.json" ;;
  push) exec ${chunkpush} --cache-dir "$HOME/other-cache" "$ARCHIVE" "$2" ;;
  *) echo "Error: No such image" >&2; exit 1 ;;
esac`;

async function writeProgram(path: string, script: string): Promise<void> {
  await Bun.write(path, `#!/bin/sh\n${script}\n`);
  await chmod(path, 0o755);
}

/** A folder with image.tar and output.tar, a login, and a registry that has earlier images. */
async function setUp() {
  await using resources = new AsyncDisposableStack();
  const { path } = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry({ credentials: ME }));
  const at = (name: string) => join(path, name);
  const chunkpush = cliCommand([])
    .map((word) => `'${word}'`)
    .join(" ");
  await writeProgram(at("bin/chunkpush"), `exec ${chunkpush} "$@"`);
  await writeProgram(at("bin/npx"), `[ "$1" = chunkpush ] && shift && exec ${chunkpush} "$@"`);
  await writeProgram(at("bin/docker"), DOCKER(chunkpush));
  const layer = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(5000, 1) }]));
  const { archive } = dockerArchive([layer], ["my/app:v1"]);
  for (const name of ["archive.tar", "work/image.tar", "work/output.tar"]) await Bun.write(at(name), archive);
  const auth = Buffer.from(`${ME.username}:${ME.password}`).toString("base64");
  const logIn = () =>
    Bun.write(at("docker/config.json"), JSON.stringify({ auths: { [registry.host]: { auth } } }));
  await logIn();
  const bash = (script: string, cwd: string, env: Readonly<Record<string, string>> = {}) =>
    runWell([Bun.which("bash") ?? "bash", "-euo", "pipefail", "-c", script], {
      cwd,
      env: {
        PATH: [at("bin"), process.env["PATH"]].join(delimiter),
        HOME: path,
        DOCKER_CONFIG: at("docker"),
        ARCHIVE: at("archive.tar"),
        PASSWORD: ME.password,
        ...env,
      },
    });
  const first = ["x/y:v1", "my/app:v1"].map((name) => `-t ${registry.host}/${name}`);
  await bash(`chunkpush --cache-dir ${at("first-cache")} image.tar ${first.join(" ")}`, at("work"));
  const owned = resources.move();
  return {
    path,
    registry,
    async run({ code, language }: Block): Promise<void> {
      // An earlier command may have logged out.
      await logIn();
      const here = code.replaceAll(/registry\.example\.com|ghcr\.io/g, registry.host);
      if (language === "ts") {
        const program = here.replace('"chunkpush"', JSON.stringify(join(ROOT, "index.ts")));
        await Bun.write(at("work/program.ts"), program);
        await bash(`'${process.execPath}' program.ts`, at("work"));
      }
      // npm's scripts are those of this checkout. Variables of Access are the reader's.
      else
        await bash(here, code.startsWith("npm ") ? ROOT : at("work"), {
          ACCESS_ID: "id",
          ACCESS_SECRET: "secret",
        });
    },
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

describe.skipIf(process.platform === "win32")("the commands of the docs end well", () => {
  let scene: Awaited<ReturnType<typeof setUp>>;
  beforeAll(async () => {
    scene = await setUp();
  });
  afterAll(() => scene[Symbol.asyncDispose]());

  test.each(run.filter((each) => !ofEngine.includes(each)))("$title", (block) => scene.run(block));

  // Podman is started by its full path, so that a stand-in cannot hide that it is missing.
  test.skipIf(Bun.which("podman") === null && !process.env["CI"]).each(ofEngine)(
    "$title (needs podman)",
    async (block) => {
      await using store = await openPodmanStore();
      await commandFolder(scene.path, "podman", store);
      await store.podman("load", "--input", join(scene.path, "archive.tar"));
      await scene.run(block);
    },
  );
});

test("a command of the docs that is not run says why", () => {
  expect(run.length).toBeGreaterThan(5);
  const unexplained = blocks.filter(({ notRun }) => notRun !== undefined && notRun.length < 12);
  expect(unexplained).toEqual([]);
});
