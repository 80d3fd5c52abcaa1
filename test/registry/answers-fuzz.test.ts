/**
 * Answers at random: any status with any headers and any body, at one request of six. Every push has to end soon, and
 * in nothing but success or an error for users.
 *
 *     CHUNKPUSH_FUZZ        how many times 250 pushes; 1 with all tests, else 0.2
 *     CHUNKPUSH_FUZZ_SEED   the first seed; 1 by default. A failure names the seed of its push
 */
import { expect, test } from "bun:test";
import { gzipSync } from "node:zlib";
import { PushError } from "../../index.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { imageManifest } from "../../src/oci/manifest.ts";
import { connect } from "../../src/registry/connect.ts";
import { putManifest } from "../../src/registry/put-manifest.ts";
import { FUZZ_FACTOR } from "../support/fuzz.ts";
import { blobOf, clientAt, clientOf, connectOptions, ensure } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const PUSHES = 250 * FUZZ_FACTOR;
const FIRST_SEED = Number(process.env["CHUNKPUSH_FUZZ_SEED"] ?? 1);
const AT_A_TIME = 16;
const SHARE = 1 / 6;
const BOUND_MS = 20_000;

const CREDENTIALS = { username: "me", password: "hush-Xq7-hush-Xq7-hush" };
const CONFIG = blobOf(seededBytes(200, 1));
const LAYER = blobOf(seededBytes(150_000, 2));
const MANIFEST = imageManifest(CONFIG.descriptor, [LAYER.descriptor]);
const DIGESTS = [MANIFEST.digest, CONFIG.descriptor.digest, `sha256:${"0".repeat(64)}`, "sha256:", "x"];
const CODES = ["BLOB_UNKNOWN", "UNSUPPORTED", "DIGEST_INVALID", "UNAUTHORIZED", "x"];
const NUMBERS = [
  "0",
  "1",
  "-1",
  "65535",
  "65536",
  "100000",
  "150000",
  "9".repeat(15),
  "9".repeat(30),
  "NaN",
  "1e9",
  "",
];

type Pick = <T>(choices: readonly T[]) => T;
type Answered = { readonly request: Request; readonly answer: () => Promise<Response> };

/** Numbers that are the same for a seed in every run. */
function pickerOf(seed: number) {
  const words = new Uint32Array(seededBytes(8192, seed).buffer);
  let at = 0;
  const fraction = () => (words[at++ % words.length] ?? 0) / 2 ** 32;
  const pick: Pick = (choices) => choices[Math.floor(fraction() * choices.length)] as never;
  return { fraction, pick };
}

const locationsOf = ({ request: { url } }: Answered) => [
  url,
  new URL(url).pathname,
  "/v2/",
  "x",
  "",
  "//",
  "http://[::",
  "file:///etc/passwd",
  "http://169.254.169.254/",
  "http://127.0.0.1:1/",
  "https://127.0.0.1:1/",
  `/v2/?p=${CREDENTIALS.password}`,
  `${url}?${"y".repeat(20_000)}`,
];

const HEADERS: Record<string, (pick: Pick, answered: Answered) => string> = {
  location: (pick, answered) => pick(locationsOf(answered)),
  range: (pick) => `${pick(["", "bytes=", "0-", "0-", "0-", "5-"])}${pick(NUMBERS)}`,
  "content-encoding": (pick) => pick(["gzip", "br", "zstd", "identity", "x"]),
  "docker-content-digest": (pick) => pick(DIGESTS),
  "oci-chunk-min-length": (pick) => pick(NUMBERS),
  "oci-chunk-max-length": (pick) => pick(NUMBERS),
  "retry-after": (pick) => pick(["0", "0", "-1", "99999999999", "soon", "Thu, 01 Jan 1970 00:00:00 GMT"]),
  "www-authenticate": (pick, answered) =>
    pick([
      "Basic",
      "Bearer",
      `Bearer realm="${pick(locationsOf(answered))}",scope="a:b:c"`,
      `Bearer realm="${new URL("/token", answered.request.url).href}"`,
      `Bearer realm="\\`,
    ]),
};

const BODIES: ((pick: Pick) => ConstructorParameters<typeof Response>[0])[] = [
  () => null,
  () => "<html>",
  () => "x".repeat(1_500_000),
  () => gzipSync(Buffer.alloc(100_000)),
  () => "[".repeat(10_000),
  (pick) => new Uint8Array(seededBytes(500, pick([1, 2, 3]))),
  (pick) =>
    JSON.stringify({
      errors: [{ code: pick(CODES), message: `\u001b[2J${CREDENTIALS.password} ${pick(DIGESTS)}` }],
    }),
  (pick) =>
    JSON.stringify({ token: pick(["t", "", 5, null, "a\nb"]), expires_in: pick([-1, 0, 1e308, "x", null]) }),
  () => MANIFEST.bytes,
];

const STATUSES = [
  200, 201, 202, 204, 206, 301, 302, 303, 304, 307, 308, 400, 401, 403, 404, 405, 408, 409, 411, 413, 415,
  416, 425, 429, 431, 500, 501, 502, 503, 504, 520, 524, 599,
];

/** Makes an answer up, or garbles a right one. */
async function fuzz({ fraction, pick }: ReturnType<typeof pickerOf>, answered: Answered) {
  if (fraction() < 0.1) return "drop";
  const right = fraction() < 0.5 ? await answered.answer() : undefined;
  if (right !== undefined && fraction() < 0.1) return "drop";
  const status = right !== undefined && fraction() < 0.5 ? right.status : pick(STATUSES);
  const headers = new Headers(fraction() < 0.7 ? right?.headers : undefined);
  for (const [name, write] of Object.entries(HEADERS)) {
    if (fraction() < 0.25) headers.set(name, write(pick, answered));
    else if (fraction() < 0.1) headers.delete(name);
  }
  headers.delete("content-length");
  const mayHaveBody = ![204, 304].includes(status) && answered.request.method !== "HEAD";
  return new Response(mayHaveBody ? pick(BODIES)(pick) : null, { status, headers });
}

test(
  "answers at random end every push soon, in success or in an error for users",
  async () => {
    await using folder = await temporaryFolder();
    const pickers = new Map<string, ReturnType<typeof pickerOf>>();
    /** Repositories that the registry was let tag, whatever it said then. */
    const tagged = new Set<string>();
    /** Repositories of which the registry said that it tags, and did not. Not every such lie can be told. */
    const liedAbout = new Set<string>();
    let requests = 0;
    const ends = { published: 0, refused: 0 };
    await using registry = await startTestRegistry({
      async intercept(request, kind, answer) {
        const { pathname } = new URL(request.url);
        const name = /^\/v2\/(fuzz\/\d+)\//.exec(pathname)?.[1] ?? "";
        const picker = pickers.get(name);
        if (picker === undefined) return undefined;
        requests++;
        const noted = async () => {
          const response = await answer();
          // A redirect may have led to another tag.
          const isStored = kind === "put-manifest" && response.status === 201;
          if (isStored) (pathname.endsWith("/v1") ? tagged : liedAbout).add(name);
          return response;
        };
        if (picker.fraction() >= SHARE) return noted();
        const answered = await fuzz(picker, { request, answer: noted });
        const confirms = kind === "put-manifest" && answered !== "drop" && answered.status === 201;
        if (confirms && !tagged.has(name)) liedAbout.add(name);
        return answered;
      },
    });

    async function pushWith(seed: number): Promise<void> {
      const repository = `fuzz/${seed}`;
      const { retries, ...options } = connectOptions(registry, folder.path);
      const credentials = CREDENTIALS;
      const target = { ...options.target, repository };
      const few = { ...retries, count: 3 };
      const greeted = await connect(
        { ...options, target, credentials, retries: few, stallTimeoutMs: 2000 },
        clientOf(registry),
      );
      const client = clientAt(greeted, repository);
      pickers.set(repository, pickerOf(seed));
      const work = (async () => {
        for (const blob of [CONFIG, LAYER]) await ensure(client, blob, { chunkBytes: undefined });
        await putManifest(client, "v1", MANIFEST, client);
      })();
      const late = Bun.sleep(BOUND_MS).then(() => "it did not end");
      const ended = await Promise.race([work, late]).then(
        (told) => told ?? "pushed",
        (error: unknown) => error,
      );
      pickers.delete(repository);
      const manifest = await registry.pullManifest(repository, "v1");
      const context = `Seed ${seed}`;
      if (ended === "pushed") {
        if (liedAbout.has(repository)) return;
        for (const { descriptor } of [CONFIG, LAYER]) {
          expect(digestOf(await registry.pullBlob(repository, descriptor.digest)), context).toBe(
            descriptor.digest,
          );
        }
        expect(manifest, context).toBe(new TextDecoder().decode(MANIFEST.bytes));
        ends.published++;
        return;
      }
      if (!(ended instanceof PushError)) throw new Error(`${context}: ${ended}`, { cause: ended });
      if (!tagged.has(repository)) expect(manifest, context).toBeUndefined();
      const shown = `${ended.message} ${ended.hint ?? ""}`;
      expect(shown, context).not.toContain("Xq7");
      expect(shown, context).toMatch(/^[\x20-\x7e…]{1,2000}$/);
      ends.refused++;
    }

    const seeds = Array.from({ length: PUSHES }, (_, i) => FIRST_SEED + i).values();
    await Promise.all(
      Array.from({ length: AT_A_TIME }, async () => {
        for (const seed of seeds) await pushWith(seed);
      }),
    );
    if (PUSHES >= 50) expect(Math.min(ends.published, ends.refused)).toBeGreaterThan(PUSHES / 20);
    console.log(`${PUSHES} pushes from seed ${FIRST_SEED} on, ${requests} requests.`);
  },
  60_000 * Math.max(1, PUSHES / 250),
);
