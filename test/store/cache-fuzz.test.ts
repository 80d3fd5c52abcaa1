/**
 * Caches in which anything may stand. Whatever does: a push ends well or with a `PushError`, touches nothing outside of
 * the cache, and sends the registry nothing that it would not send with an empty cache.
 */
import { describe, expect, test } from "bun:test";
import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { push } from "../../index.ts";
import { PushError } from "../../src/errors.ts";
import { DEFAULT_COMPRESSION } from "../../src/oci/compression.ts";
import { digestOf, hexOf, parseDiffId, parseDigest } from "../../src/oci/digest.ts";
import { connect } from "../../src/registry/connect.ts";
import { resumeUpload } from "../../src/registry/upload/begin.ts";
import { recallRepository } from "../../src/store/blob-places.ts";
import { readCache } from "../../src/store/contents.ts";
import { findCachedDocument, storeDocuments } from "../../src/store/documents.ts";
import { limitName, placesName, pointerName, uploadName } from "../../src/store/file-names.ts";
import { findCachedLayer, findPackedLayer, openLayerCache } from "../../src/store/layers.ts";
import { CACHE_IN_USE, openLocks } from "../../src/store/locks.ts";
import { pruneCache } from "../../src/store/prune.ts";
import { forgetUpload, rememberUpload } from "../../src/store/upload-notes.ts";
import { FUZZ_FACTOR, FUZZ_TIMEOUT, fuzz, HAS_MANY_CASES, type Random } from "../support/fuzz.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { posixOnly } from "../support/needs.ts";
import { blobOf, clientAt, connectOptions } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";
import { outsideOf, plantCache } from "./planted-cache.ts";

const LAYER = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(6000, 1) }]));
const IMAGE = dockerArchive([LAYER], ["team/app:v1"]);
const DIFF_ID = parseDiffId(digestOf(LAYER), "test");
const PACKED = new Uint8Array(gzipSync(LAYER));
const BLOB = blobOf(PACKED);
const { digest } = BLOB.descriptor;
const never = new AbortController().signal;

/** The files of a cache that is in order. An upload of these bytes, or of others, stands at an address. */
function cacheFiles(origin: string, location: string, uploaded = digest) {
  const key = { origin, repository: "team/app", digest: uploaded };
  return new Map<string, string | Uint8Array>([
    [hexOf(digest), PACKED],
    [pointerName(DIFF_ID, DEFAULT_COMPRESSION), hexOf(digest)],
    [hexOf(digestOf(IMAGE.config)), IMAGE.config],
    [uploadName(key), JSON.stringify({ location, offset: 0, chunkBytes: 1024, minBytes: 1, maxBytes: 4096 })],
    [placesName(origin), JSON.stringify({ [digest]: "team/other" })],
    [limitName(origin), JSON.stringify({ maxBodyBytes: 4096, bytesPerSecond: 1e6, wholePuts: "preferred" })],
  ]);
}

/** An address that is an upload's, or nearly. */
function locationAt(random: Random, ...origins: [string, ...string[]]): string {
  const path = random.pick([
    "/v2/team/app/blobs/uploads/1",
    "/v2/team/app/manifests/v1",
    "/v2/team/other/blobs/uploads/1",
  ]);
  const parts = [
    "..",
    "%2e%2e",
    "%2f",
    "\\",
    "manifests",
    "v1",
    "//",
    "?a=/",
    "#",
    "@",
    ":",
    "upload",
    "\n",
    "é",
    " ",
  ];
  let text = path;
  for (let i = random.below(3); i > 0; i--) {
    const place = random.below(text.length + 1);
    text = text.slice(0, place) + random.pick(["/", ""]) + random.pick(parts) + text.slice(place);
  }
  return (random.below(4) === 0 ? random.pick(origins) : origins[0]) + text;
}

/** What a push asks of a registry, without the queries. */
const OURS = /^\/v2\/(?:team\/app\/(?:blobs\/(?:uploads\/(?:[^/]+)?|sha256:[0-9a-f]{64})|manifests\/v1))?$/;

/** Ends well, or with an error that a user understands. */
async function orPushError(work: () => Promise<unknown>): Promise<void> {
  await work().catch((error: unknown) => {
    if (!(error instanceof PushError)) throw error;
  });
}

describe.skipIf(!posixOnly())("a cache at random", () => {
  test(
    "is read, listed and pruned without harm, and only an upload of the repository is asked for",
    async () => {
      await using folder = await temporaryFolder();
      const seen: string[] = [];
      const answer = (request: Request) => {
        const { pathname } = new URL(request.url);
        seen.push(`${request.method} ${pathname}`);
        if (pathname === "/v2/") return new Response();
        const headers = { location: "/v2/team/app/blobs/uploads/2", range: "0-9" };
        return new Response(null, seen.length % 3 === 0 ? { status: 404 } : { status: 204, headers });
      };
      await using registry = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
      await using elsewhere = Bun.serve({ port: 0, hostname: "127.0.0.1", fetch: answer });
      const origin = registry.url.origin;
      const files = cacheFiles(origin, `${origin}/v2/team/app/blobs/uploads/1`);
      const outside = await outsideOf(folder.path, files);
      const directory = join(folder.path, "cache");

      let resumed = 0;
      await fuzz(1000, async (random) => {
        const location = locationAt(random, origin, elsewhere.url.origin, "http://169.254.169.254");
        await plantCache(directory, cacheFiles(origin, location), outside, random);
        await orPushError(() => readCache(directory));
        await orPushError(async () => {
          const cache = await openLayerCache(directory);
          using _lock = await openLocks(directory, never, () => {}).take(CACHE_IN_USE, () => {}, "shared");
          await findCachedLayer(cache, DIFF_ID, DEFAULT_COMPRESSION);
          await findPackedLayer(cache, digest, false);
          await findCachedDocument(cache, digestOf(IMAGE.config));
          await recallRepository(cache, origin, digest);
          seen.length = 0;
          const { host } = registry.url;
          const greeted = await connect(
            { ...connectOptions({ host }, directory), notes: cache },
            { signal: never, onRetry: () => {} },
          );
          await resumeUpload(clientAt(greeted), BLOB.descriptor, {
            signal: never,
            onRetry: () => {},
            chunkBytes: undefined,
          });
          if (seen.some((line) => line.includes("/uploads/"))) resumed++;
          expect(
            seen.filter((line) => !/^GET \/v2\/(?:team\/app\/blobs\/uploads?\/[^/]+\/?)?$/.test(line)),
          ).toEqual([]);
          // These wait for the disk.
          if (random.below(5) > 0) return;
          await storeDocuments(cache, new Map([[digestOf(IMAGE.config), IMAGE.config]]));
          const key = { origin, repository: "team/app", digest };
          await rememberUpload(cache, key, { location, offset: 0, chunkBytes: 1024 });
          await forgetUpload(cache, key);
        });
        const rules = { all: true, olderThanMs: undefined, maxBytes: undefined, dryRun: false };
        await orPushError(() => pruneCache(directory, rules, new Date()));
        await outside.assertUntouched();
      });
      if (HAS_MANY_CASES) expect(resumed).toBeGreaterThan(10 * FUZZ_FACTOR);
    },
    FUZZ_TIMEOUT,
  );

  test(
    "lets a push publish the image that it would publish without a cache",
    async () => {
      await using folder = await temporaryFolder();
      const source = join(folder.path, "image.tar");
      const cacheDirectory = join(folder.path, "cache");
      await Bun.write(source, IMAGE.archive);
      const outside = await outsideOf(folder.path, cacheFiles("", ""));
      const pushTo = ({ host }: TestRegistry) =>
        push({ retryDelayMs: 10, source, target: `${host}/team/app:v1`, cacheDirectory, chunkBytes: 2048 });
      const digests = new Set<string>();
      let made = digest;
      {
        await using registry = await startTestRegistry();
        digests.add((await pushTo(registry)).digest);
        const [name] = (await readCache(cacheDirectory)).blobs.map((blob) => blob.name);
        made = parseDigest(`sha256:${name}`, "test");
        await rm(cacheDirectory, { recursive: true });
        await mkdir(cacheDirectory, { mode: 0o700 });
        for (const [name, content] of cacheFiles("", ""))
          await writeFile(join(cacheDirectory, name), content);
        digests.add((await pushTo(registry)).digest);
      }
      expect(digests.size).toBe(2);

      await fuzz(100, async (random) => {
        await using registry = await startTestRegistry();
        const { url } = registry;
        await plantCache(
          cacheDirectory,
          cacheFiles(url, locationAt(random, url), random.pick([made, digest])),
          outside,
          random,
        );
        expect(digests).toContain((await pushTo(registry)).digest);
        await outside.assertUntouched();
        for (const { method, path, kind } of registry.requests) {
          // A push may cancel what it began itself.
          const isBegun = /\/uploads\/[0-9a-f]{8}(?:-[0-9a-f]{4,12}){4}$/.test(path);
          const isOurs = OURS.test(path) && kind !== "get-manifest" && (method !== "DELETE" || isBegun);
          if (!isOurs) throw new Error(`${method} ${path}`);
        }
      });
    },
    FUZZ_TIMEOUT,
  );
});
