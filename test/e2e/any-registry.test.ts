/**
 * The same test for any registry there is, asked over its plain HTTP API:
 *
 *     CHUNKPUSH_TEST_REGISTRY       [scheme://]host[:port][/prefix]
 *     CHUNKPUSH_TEST_USERNAME
 *     CHUNKPUSH_TEST_PASSWORD
 *     CHUNKPUSH_TEST_SEED           what the image is made of, to repeat a run; a new one by default
 *
 * It pushes 12 MB into the repository `chunkpush-test` and deletes them afterwards, where the registry allows it.
 */

import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { layerOf, seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { MANIFEST, pulledImage } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { sha256 } from "../support/sha256.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { TELLS_EVENTS, toldBlobs } from "../support/told-events.ts";

setDefaultTimeout(600_000);

/** R2 takes no smaller part than this, other than the last. */
const CHUNK_SIZE = "5MiB";
/** Three chunks, for nothing compresses it. */
const BIG_BYTES = 12_000_000;

const {
  CHUNKPUSH_TEST_REGISTRY: place,
  CHUNKPUSH_TEST_USERNAME: username,
  CHUNKPUSH_TEST_PASSWORD: password,
} = process.env;
if (!place) console.log("The test for any registry is skipped: CHUNKPUSH_TEST_REGISTRY names none.");

const seed = process.env["CHUNKPUSH_TEST_SEED"] ?? Date.now().toString(36);
const [, scheme, host = "", prefix = ""] = /^(https?:\/\/)?([^/]+)(\/.*)?$/.exec(place ?? "") ?? [];
const repository = `${prefix.replace(/^\/|\/$/g, "")}/chunkpush-test`.replace(/^\//, "");
const isLocal = /^(localhost|127(\.\d+){3}|\[::1\])(:\d+)?$/.test(host);
const api = `${scheme ?? (isLocal ? "http://" : "https://")}${host}/v2/${repository}`;
const reference = `${host}/${repository}:${seed}`;

test.skipIf(!place)("a registry gives back what was pushed, and is sent nothing twice", async () => {
  console.log(`Pushing to ${reference}, with CHUNKPUSH_TEST_SEED=${seed}.`);
  await using resources = new AsyncDisposableStack();
  const cwd = resources.use(await temporaryFolder());
  const image = dockerArchive(
    [
      seededLayer(BIG_BYTES, `big ${seed}`),
      layerOf("text", `text ${seed}\n`.repeat(200_000)),
      seededLayer(1000, `small ${seed}`),
    ],
    ["chunkpush-test:v1"],
  );
  await Bun.write(join(cwd.path, "output.tar"), image.archive);

  const pushed = await push(cwd.path);
  expect(pushed.code, pushed.stderr).toBe(0);
  resources.defer(deleteImage);
  expect(toldBlobs(pushed.stderr, "present")).toEqual([]);

  const manifest = await ask(`manifests/${seed}`);
  expect(manifest.headers.get("content-type")).toBe("application/vnd.oci.image.manifest.v1+json");
  const pulled = await pulledImage(await manifest.bytes(), async (digest) =>
    (await ask(`blobs/${digest}`)).bytes(),
  );
  expect(pushed.stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
  expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
  expect(pulled.diffIds).toEqual([...image.diffIds]);

  // With the cache of the first push, and as another machine that has none.
  for (const flags of [[], ["--cache-dir", "other-cache"]]) {
    const again = await push(cwd.path, ...flags);
    expect(again.code, again.stderr).toBe(0);
    expect(toldBlobs(again.stderr, "sent")).toEqual([]);
    expect(toldBlobs(again.stderr, "present")).toHaveLength(image.diffIds.length + 1);
  }
});

function push(cwd: string, ...flags: readonly string[]) {
  return runCli(["--chunk-size", CHUNK_SIZE, ...flags, `${scheme ?? ""}${reference}`], {
    cwd,
    env: TELLS_EVENTS,
    ...(username !== undefined && {
      env: { ...TELLS_EVENTS, USERNAME_REGISTRY: username },
      input: password ?? "",
    }),
  });
}

async function ask(path: string, method = "GET"): Promise<Response> {
  const headers = new Headers({ accept: "application/vnd.oci.image.manifest.v1+json" });
  if (username !== undefined) {
    const login = Buffer.from(`${username}:${password ?? ""}`).toString("base64");
    headers.set("authorization", `Basic ${login}`);
  }
  const response = await fetch(`${api}/${path}`, { method, headers });
  if (!response.ok) throw new Error(`${method} ${api}/${path} answered ${response.status}.`);
  return response;
}

/** The test is a guest there. Not every registry deletes, and one that does not is no failure. */
async function deleteImage(): Promise<void> {
  const manifest = await (await ask(`manifests/${seed}`)).bytes();
  const { config, layers } = v.parse(MANIFEST, JSON.parse(new TextDecoder().decode(manifest)));
  // Some registries delete tags, some delete digests alone.
  const manifests = [`manifests/${seed}`, `manifests/${sha256(manifest)}`];
  const blobs = [config, ...layers].map(({ digest }) => `blobs/${digest}`);
  for (const path of [...manifests, ...blobs]) {
    await ask(path, "DELETE").catch(({ message }: Error) => console.log(`Not deleted: ${message}`));
  }
}
