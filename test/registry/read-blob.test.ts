/** Blobs that come from another registry: what its answers and its connection do to them. */
import { afterAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { setImmediate } from "node:timers/promises";
import { digestOf } from "../../src/oci/digest.ts";
import { readBlob } from "../../src/registry/read-blob.ts";
import { streamedBlob } from "../../src/registry/upload/streamed-blob.ts";
import { until } from "../support/proxy-client.ts";
import { clientOf, ensure, type TestClient, type TestClientOptions } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(30_000);

const MIB = 1024 * 1024;
const BYTES = seededBytes(3 * MIB, 41);
const DIGEST = digestOf(BYTES);

const folder = await temporaryFolder();
afterAll(() => folder[Symbol.asyncDispose]());

type Pieces = Iterable<Uint8Array> | AsyncIterable<Uint8Array>;

/** An answer. Its pieces may be fewer than its length: the connection breaks then. */
type Answer = {
  readonly status?: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly pieces: Pieces;
};

/** How a source answers one GET that asks for the blob from an offset on. */
type Answering = (from: number) => Answer;

type Asked = { readonly path: string; readonly headers: Headers };

/** A registry that keeps to no rules. Its last answer is for all further requests. */
async function startSource(...answers: Answering[]) {
  const asked: Asked[] = [];
  const server = createServer(async (socket) => {
    socket.on("error", () => undefined);
    const head = String(await new Promise((resolve) => socket.once("data", resolve)));
    const [first = "", ...lines] = head.trimEnd().split("\r\n");
    const headers = new Headers(lines.map((line) => line.split(/: (.*)/s).slice(0, 2) as [string, string]));
    asked.push({ path: first.split(" ")[1] ?? "", headers });
    const [, from = "0"] = /^bytes=(\d+)-$/.exec(headers.get("range") ?? "") ?? [];
    const answer = (answers[Math.min(asked.length, answers.length) - 1] as Answering)(Number(from));
    const said = Object.entries({ connection: "close", ...answer.headers }).map((line) => line.join(": "));
    socket.write(`${[`HTTP/1.1 ${answer.status ?? 200} Answer`, ...said].join("\r\n")}\r\n\r\n`);
    for await (const piece of answer.pieces) {
      if (socket.destroyed) break;
      socket.write(piece);
    }
    socket.end();
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const { port } = server.address() as AddressInfo;
  return {
    url: `http://127.0.0.1:${port}`,
    asked,
    [Symbol.asyncDispose]: async () => void server.close(),
  };
}

function partOf(bytes: Uint8Array, from: number, pieces: Pieces = [bytes]): Answer {
  const length = { "content-length": `${bytes.length}` };
  if (from === 0) return { headers: length, pieces };
  const range = `bytes ${from}-${from + bytes.length - 1}/${from + bytes.length}`;
  return { status: 206, headers: { ...length, "content-range": range }, pieces };
}

const wholeOf =
  (bytes: Uint8Array): Answering =>
  () =>
    partOf(bytes, 0);

/** The rest of the blob, as the specification has it. */
const rest: Answering = (from) => partOf(BYTES.subarray(from), from);

/** So many bytes of the rest: when they are there, the connection breaks. */
function brokenAfter(count: number): Answering {
  return (from) => partOf(BYTES.subarray(from), from, piecesUntil(from, from + count));
}

async function* piecesUntil(from: number, to: number) {
  yield BYTES.subarray(from, to);
  await until(async () => {
    const [file = ""] = await readdir(folder.path);
    return Bun.file(join(folder.path, file)).size === to;
  });
}

type Copying = {
  readonly source: { readonly url: string };
  readonly registry: TestRegistry;
  readonly client?: TestClient;
  readonly from?: TestClientOptions;
  readonly mountFrom?: readonly string[];
};

/** Copies the blob. Whatever becomes of it, no file is left. */
async function copy({ source, registry, mountFrom, from: options, client = clientOf(registry) }: Copying) {
  const from = clientOf(source, { repository: "their/app", ...options });
  const descriptor = { mediaType: "a/b", digest: DIGEST, size: BYTES.length };
  try {
    const read = (signal: AbortSignal) => readBlob(from, descriptor, { ...from, signal });
    const stored = { descriptor, content: { size: descriptor.size, read } };
    await using blob = await streamedBlob(stored, folder.path, from.signal);
    const signal = AbortSignal.any([client.signal, blob.lost]);
    return await ensure(client, blob, { signal, mountFrom });
  } finally {
    expect(await readdir(folder.path)).toEqual([]);
  }
}

async function expectThere(registry: TestRegistry, repository = "team/app"): Promise<void> {
  expect(Buffer.compare(await registry.pullBlob(repository, DIGEST), BYTES)).toBe(0);
}

const rangesOf = ({ asked }: { readonly asked: readonly Asked[] }) =>
  asked.map(({ headers }) => headers.get("range"));

describe("a blob from another registry", () => {
  test("is read once, and arrives as it is", async () => {
    await using source = await startSource(rest);
    await using registry = await startTestRegistry();
    expect(await copy({ source, registry })).toMatchObject({ how: "sent", sentBytes: BYTES.length });
    await expectThere(registry);
    expect(source.asked.map(({ path }) => path)).toEqual([`/v2/their/app/blobs/${DIGEST}`]);
  });

  test("is not read where the target has it, nor where the target can mount it", async () => {
    await using source = await startSource(rest);
    await using registry = await startTestRegistry();
    await copy({ source, registry });
    expect(await copy({ source, registry })).toEqual({ how: "present" });
    const client = clientOf(registry, { repository: "other/app" });
    const mounted = await copy({ source, registry, client, mountFrom: ["team/app"] });
    expect(mounted).toEqual({ how: "mounted", from: "team/app" });
    expect(source.asked).toHaveLength(1);
  });

  test("goes up while it still comes", async () => {
    const gate = Promise.withResolvers<void>();
    const slow: Answering = () =>
      partOf(
        BYTES,
        0,
        (async function* () {
          yield BYTES.subarray(0, MIB);
          await gate.promise;
          yield BYTES.subarray(MIB);
        })(),
      );
    await using source = await startSource(slow);
    await using registry = await startTestRegistry({
      onRequest: ({ kind }) => kind === "patch" && gate.resolve(),
    });
    await copy({ source, registry });
    await expectThere(registry);
  });

  test("is read on from where the connection broke", async () => {
    await using source = await startSource(brokenAfter(MIB + 7), brokenAfter(11), rest);
    await using registry = await startTestRegistry();
    expect(await copy({ source, registry })).toMatchObject({ how: "sent", sentBytes: BYTES.length });
    await expectThere(registry);
    expect(rangesOf(source)).toEqual([null, `bytes=${MIB + 7}-`, `bytes=${MIB + 18}-`]);
  });

  test("is read anew where a source knows no ranges", async () => {
    await using source = await startSource(brokenAfter(MIB + 7), wholeOf(BYTES));
    await using registry = await startTestRegistry();
    await copy({ source, registry });
    await expectThere(registry);
  });

  test("gets all retries back with each step of progress", async () => {
    await using source = await startSource(brokenAfter(MIB), brokenAfter(MIB), rest);
    await using registry = await startTestRegistry();
    await copy({ source, registry, from: { retries: 1 } });
    await expectThere(registry);
  });

  test("that comes in no pieces worth a retry fails, and the next push resumes its upload", async () => {
    const patched = Promise.withResolvers<void>();
    const first: Answering = (from) =>
      partOf(
        BYTES,
        from,
        (async function* () {
          yield* piecesUntil(from, MIB);
          await patched.promise;
        })(),
      );
    await using source = await startSource(first, brokenAfter(7), brokenAfter(7), rest);
    await using registry = await startTestRegistry({
      onRequest: ({ kind }) => kind === "patch" && patched.resolve(),
    });
    const client = clientOf(registry);
    const failed = copy({ source, registry, client, from: { retries: 1 } });
    expect(await rejection(failed)).toMatchObject({ code: "CONNECTION_LOST" });
    // The target did nothing wrong.
    expect(client.seenRetries).toEqual([]);
    const sent = await copy({ source, registry });
    expect(sent.how === "sent" && sent.resumedBytes).toBeGreaterThan(0);
    await expectThere(registry);
  });

  test("that the source does not have fails as the source says", async () => {
    await using source = await startSource(() => ({
      status: 404,
      headers: { "content-length": "0" },
      pieces: [],
    }));
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    expect(await rejection(copy({ source, registry, client }))).toMatchObject({
      code: "REGISTRY_REFUSED",
      answer: { status: 404 },
    });
    expect(source.asked).toHaveLength(1);
    expect(client.seenRetries).toEqual([]);
  });

  test("follows redirects to storage, which gets no credentials", async () => {
    await using storage = await startSource(rest);
    await using source = await startSource(() => ({
      status: 307,
      headers: { location: `${storage.url}/signed`, "content-length": "0" },
      pieces: [],
    }));
    await using registry = await startTestRegistry();
    const credentials = { username: "me", password: "secret of the source" };
    await copy({ source, registry, from: { credentials, headers: { "x-secret": "header of the source" } } });
    await expectThere(registry);
    expect(source.asked[0]?.headers.has("authorization")).toBe(true);
    expect(
      storage.asked.map(({ headers }) => [headers.has("authorization"), headers.has("x-secret")]),
    ).toEqual([[false, false]]);
  });
});

const other = seededBytes(BYTES.length, 42);
const spliced = BYTES.slice();
spliced.set([~(spliced.at(-1) as number)], spliced.length - 1);

async function* endless() {
  for (;;) {
    yield BYTES.subarray(0, 64 * 1024);
    await setImmediate();
  }
}

describe("other bytes than the digest says", () => {
  test.each<[string, Answering[]]>([
    ["of the same size", [wholeOf(other)]],
    ["but for the last byte", [wholeOf(spliced)]],
    ["fewer", [wholeOf(BYTES.slice(1))]],
    ["more", [wholeOf(Buffer.concat([BYTES, BYTES.subarray(0, 1)]))]],
    ["more, of which no length is told", [() => ({ headers: {}, pieces: [BYTES, BYTES.subarray(0, 1)] })]],
    ["without an end", [() => ({ headers: {}, pieces: endless() })]],
    ["after a broken connection", [brokenAfter(MIB), (from) => partOf(other.subarray(from), from)]],
    ["from another place on", [brokenAfter(MIB), (from) => partOf(BYTES.subarray(from + 1), from + 1)]],
    ["of another whole", [brokenAfter(MIB), () => partOf(BYTES.subarray(0, 1), 5)]],
    ["from a place that is not told", [brokenAfter(MIB), () => ({ ...partOf(BYTES, 0), status: 206 })]],
  ])("never complete an upload: %s", async (_, answers) => {
    await using source = await startSource(...answers);
    await using registry = await startTestRegistry();
    const failed = await rejection(copy({ source, registry }));
    expect(failed).toMatchObject({ code: "CONTENT_MISMATCH" });
    expect(registry.recorded("close-upload")).toEqual([]);
    // The next push does not go on from wrong bytes.
    expect(registry.recorded("cancel-upload")).toHaveLength(1);
    await using right = await startSource(rest);
    expect(await copy({ source: right, registry })).toMatchObject({ how: "sent", resumedBytes: 0 });
    await expectThere(registry);
  });
});
