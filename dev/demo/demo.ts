/**
 * The main job, start to end, on this machine alone: a registry that refuses large bodies, an image with a layer
 * larger than that, a push, a pull that compares every digest, and a second push that sends nothing.
 * With an argument, that executable pushes: `npm run demo -- dist/release/chunkpush-linux-x64`.
 */
import { randomBytes } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { startStrictRegistry } from "../registry/registry.ts";
import { makeImage } from "./make-image.ts";
import { pullImage } from "./pull-image.ts";

const MEGABYTE = 1_000_000;
const CHUNK_BYTES = 2 * MEGABYTE;
const REPOSITORY = "my/app";
const TAG = "v1";
const USERNAME = "me";

const executable = process.argv[2];
const command = executable
  ? [resolve(executable)]
  : [process.execPath, "run", join(import.meta.dir, "../../index.ts")];
const password = randomBytes(12).toString("hex");
const folder = await mkdtemp(join(tmpdir(), "chunkpush-demo-"));
try {
  process.exitCode = (await demo()) ? 0 : 1;
} finally {
  await rm(folder, { recursive: true, force: true });
}

async function demo(): Promise<boolean> {
  await using registry = await startStrictRegistry({
    directory: join(folder, "registry"),
    credentials: { username: USERNAME, password },
    minChunkBytes: MEGABYTE,
    maxChunkBytes: CHUNK_BYTES,
  });
  say(`A registry on ${registry.host} that refuses bodies over ${CHUNK_BYTES / MEGABYTE} MB`);

  const image = await makeImage(folder, `${REPOSITORY}:${TAG}`, [
    { "hello.txt": "Hello from the base layer.\n" },
    { "model.bin": randomBytes(7 * MEGABYTE) },
    { "words.txt": "many words that compress well\n".repeat(100_000) },
  ]);
  say("An image of three layers, one of 7 MB that does not compress, in output.tar");

  const target = `${registry.host}/${REPOSITORY}:${TAG}`;
  say(`echo "$PASSWORD" | USERNAME_REGISTRY=${USERNAME} ${executable ?? "bun run index.ts"} ${target}`);
  if (!(await push(target))) return false;
  const chunks = registry.requests.filter(({ kind, status }) => kind === "patch" && status === 202);
  console.log(
    `  The registry received ${chunks.length} chunks: ${chunks.map(({ bodyBytes }) => bodyBytes).join(", ")} bytes`,
  );

  say("Pulling it back, and comparing every digest");
  const authorization = `Basic ${Buffer.from(`${USERNAME}:${password}`).toString("base64")}`;
  const pulled = await pullImage(registry.url, REPOSITORY, TAG, authorization);
  const isSame = [
    compare("config", image.configDigest, pulled.configDigest),
    ...image.diffIds.map((diffId, i) => compare(`layer ${i + 1}`, diffId, pulled.diffIds[i])),
  ].every(Boolean);

  say("The same push again");
  const sentBefore = registry.requests.length;
  if (!(await push(target))) return false;
  const blobBytes = registry.requests
    .slice(sentBefore)
    .filter(({ kind }) => kind === "patch" || kind === "close-upload")
    .reduce((bytes, request) => bytes + request.bodyBytes, 0);
  console.log(`  Bytes of layers sent a second time: ${blobBytes}`);

  const isFine = isSame && chunks.length > 1 && blobBytes === 0;
  say(
    isFine
      ? "Every digest matches. Next, push an image of your own: see README.md"
      : "Something is wrong, see above",
  );
  return isFine;
}

/** Runs the program as a user would, in the folder with output.tar. */
async function push(target: string): Promise<boolean> {
  // What this shell has set for real pushes stays out of it.
  const { REGISTRY_JWT_TOKEN, SKIP_AUTH, MAX_RETRIES, CHUNKPUSH_CHUNK_SIZE, CHUNKPUSH_CACHE_DIR, ...env } =
    process.env;
  const child = Bun.spawn([...command, target], {
    cwd: folder,
    // The targets of real pushes stay those that are suggested.
    env: { ...env, USERNAME_REGISTRY: USERNAME, XDG_STATE_HOME: join(folder, "state") },
    stdio: [new Blob([`${password}\n`]), "inherit", "inherit"],
  });
  return (await child.exited) === 0;
}

function compare(what: string, expected: string, found: string | undefined): boolean {
  const isSame = expected === found;
  const shown = isSame ? `${found?.slice(0, 19)}…` : `${found} instead of ${expected}`;
  console.log(`  ${isSame ? "✓" : "✗"} ${what.padEnd(8)} ${shown}`);
  return isSame;
}

function say(text: string): void {
  console.log(`\n● ${text}`);
}
