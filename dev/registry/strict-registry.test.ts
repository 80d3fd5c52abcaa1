import { describe, expect, test } from "bun:test";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { connect, type Socket } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import * as v from "valibot";
import type { Intercept } from "./answer-request.ts";
import { type StrictRegistry, type StrictRegistryOptions, startStrictRegistry } from "./registry.ts";

const MIN = 1024;
const MAX = 8192;
const ABSENT_UUID = "00000000-0000-4000-8000-000000000000";
const EMPTY_DIGEST = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const IMAGE_TYPE = "application/vnd.oci.image.manifest.v1+json";
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";
const LAYER_TYPE = "application/vnd.oci.image.layer.v1.tar+gzip";

async function start(options: Partial<StrictRegistryOptions> = {}) {
  const directory = await mkdtemp(join(tmpdir(), "strict-registry-"));
  const registry = await startStrictRegistry({
    directory,
    minChunkBytes: MIN,
    maxChunkBytes: MAX,
    ...options,
  });
  return {
    ...registry,
    directory,
    async [Symbol.asyncDispose]() {
      await registry.stop();
      await rm(directory, { recursive: true });
    },
  };
}

/** Tells when a PATCH has come. */
function noticePatch() {
  const { promise: seen, resolve } = Promise.withResolvers<void>();
  const intercept: Intercept = (_, kind) => {
    if (kind === "patch") resolve();
    return undefined;
  };
  return { seen, intercept };
}

/** Bytes that differ from place to place, so that parts in a wrong order change the digest. */
function bytes(length: number, seed = 1): Uint8Array<ArrayBuffer> {
  return Uint8Array.from({ length }, (_, index) => (index * 31 + (index >> 8) * 17 + seed) % 251);
}

/** A body that fetch sends with chunked transfer encoding. */
function unsized(content: Uint8Array<ArrayBuffer>): ReadableStream<Uint8Array<ArrayBuffer>> {
  return new ReadableStream({
    start(controller) {
      controller.enqueue(content);
      controller.close();
    },
  });
}

function digestOf(content: string | Uint8Array): string {
  return `sha256:${new Bun.CryptoHasher("sha256").update(content).digest("hex")}`;
}

function header(response: Response, name: string): string {
  const value = response.headers.get(name);
  if (value === null) throw new Error(`expected the header "${name}", got none in a ${response.status}`);
  return value;
}

function location(registry: StrictRegistry, response: Response): string {
  return registry.url + header(response, "location");
}

const errorBody = v.object({
  errors: v.pipe(
    v.array(v.object({ code: v.string(), message: v.string(), detail: v.unknown() })),
    v.length(1),
  ),
});

async function errorOf(response: Response): Promise<{ code: string; message: string; detail: unknown }> {
  const [error] = v.parse(errorBody, await response.json()).errors;
  if (error === undefined) throw new Error("expected one error");
  return error;
}

async function expectInternalError(response: Response): Promise<void> {
  expect(response.status).toBe(500);
  expect(header(response, "content-type")).toBe("application/json;charset=UTF-8");
  expect(await response.text()).toBe(
    '{"errors":[{"code":"INTERNAL_ERROR","message":"internal error","detail":null}]}',
  );
}

/** @returns the current Location that the 416 carries */
async function expectRangeError(
  registry: StrictRegistry,
  response: Response,
  range: string,
): Promise<string> {
  expect(response.status).toBe(416);
  expect(header(response, "range")).toBe(range);
  expect(header(response, "content-type")).toStartWith("text/plain");
  expect(response.headers.has("oci-chunk-max-length")).toBe(false);
  const current = location(registry, response);
  expect(current).toContain(header(response, "docker-upload-uuid"));
  const error = await errorOf(response);
  expect(error.code).toBe("RANGE_ERROR");
  expect(error.message).toMatch(/^stateHash [0-9a-f]{64} does not match state /);
  expect(error.detail).toBeObject();
  return current;
}

async function startUpload(registry: StrictRegistry, repository = "team/app"): Promise<string> {
  const response = await fetch(`${registry.url}/v2/${repository}/blobs/uploads/`, { method: "POST" });
  expect(response.status).toBe(202);
  return location(registry, response);
}

function patch(url: string, body: Uint8Array<ArrayBuffer>, contentRange?: string): Promise<Response> {
  const headers: Record<string, string> = contentRange === undefined ? {} : { "content-range": contentRange };
  return fetch(url, { method: "PATCH", headers, body });
}

/** Sends chunks that the registry takes, one after the other. @returns the last Location */
async function patchAll(registry: StrictRegistry, url: string, chunks: Uint8Array<ArrayBuffer>[]) {
  let current = url;
  for (const chunk of chunks) {
    const response = await patch(current, chunk);
    expect(response.status).toBe(202);
    current = location(registry, response);
  }
  return current;
}

function close(url: string, digest: string, body: Uint8Array<ArrayBuffer> = bytes(0)): Promise<Response> {
  return fetch(`${url}&digest=${digest}`, { method: "PUT", body });
}

/** The upload's URL without the `_stateHash`. */
function withoutHash(url: string): string {
  return url.slice(0, url.indexOf("?"));
}

async function pushBlob(registry: StrictRegistry, content: Uint8Array<ArrayBuffer>, repository = "team/app") {
  const digest = digestOf(content);
  const response = await close(await startUpload(registry, repository), digest, content);
  expect(response.status).toBe(201);
  return { mediaType: LAYER_TYPE, digest, size: content.byteLength };
}

async function getBlob(registry: StrictRegistry, digest: string, repository = "team/app") {
  const response = await fetch(`${registry.url}/v2/${repository}/blobs/${digest}`);
  expect(response.status).toBe(200);
  expect(header(response, "docker-content-digest")).toBe(digest);
  return response.bytes();
}

function putManifest(registry: StrictRegistry, reference: string, manifest: unknown, type = IMAGE_TYPE) {
  return fetch(`${registry.url}/v2/team/app/manifests/${reference}`, {
    method: "PUT",
    headers: { "content-type": type },
    body: typeof manifest === "string" ? manifest : JSON.stringify(manifest),
  });
}

async function pushImage(registry: StrictRegistry) {
  const config = await pushBlob(registry, bytes(100));
  const layer = await pushBlob(registry, bytes(3000));
  return { schemaVersion: 2, mediaType: IMAGE_TYPE, config, layers: [layer] };
}

/** For what fetch does not send. The connection stays open for as long as the caller keeps it. */
async function openSocket(registry: StrictRegistry, request: string): Promise<Socket> {
  const socket = connect(Number(new URL(registry.url).port), "127.0.0.1");
  await new Promise<void>((resolve, reject) => {
    socket.once("connect", resolve).once("error", reject);
  });
  socket.on("error", () => undefined);
  socket.write(request);
  return socket;
}

/** Everything that comes back until the registry closes the connection. */
async function readAll(socket: Socket): Promise<string> {
  const pieces: Buffer[] = [];
  return new Promise((resolve) => {
    socket.on("data", (piece) => pieces.push(Buffer.from(piece)));
    socket.once("close", () => resolve(Buffer.concat(pieces).toString()));
  });
}

function requestHead(method: string, url: string, headers: Record<string, string>): string {
  const { pathname, search, host } = new URL(url);
  const lines = Object.entries({ host, ...headers }).map(([name, value]) => `${name}: ${value}\r\n`);
  return `${method} ${pathname}${search} HTTP/1.1\r\n${lines.join("")}\r\n`;
}

async function stored(registry: { directory: string }): Promise<string[]> {
  const entries = await readdir(registry.directory, { recursive: true, withFileTypes: true });
  return entries.filter((entry) => entry.isFile()).map((entry) => entry.name);
}

describe("The start of an upload in the strict registry", () => {
  test.each(["/uploads/", "/uploads"])(
    "with POST %s gets a relative Location and the chunk limits",
    async (path) => {
      await using registry = await start();
      const response = await fetch(`${registry.url}/v2/team/app/blobs${path}`, { method: "POST" });
      expect(response.status).toBe(202);
      const uuid = header(response, "docker-upload-uuid");
      expect(header(response, "location")).toMatch(
        new RegExp(`^/v2/team/app/blobs/uploads/${uuid}\\?_stateHash=[0-9a-f]{64}$`),
      );
      expect(header(response, "range")).toBe("0-0");
      expect(header(response, "content-range")).toBe("0-0");
      expect(header(response, "oci-chunk-min-length")).toBe("1024");
      expect(header(response, "oci-chunk-max-length")).toBe("8192");
      expect(await response.text()).toBe("");
    },
  );

  test("announces the chunk limits of serverless-registry by default", async () => {
    await using directory = await start();
    await using registry = await startStrictRegistry({ directory: directory.directory });
    const response = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
    expect(header(response, "oci-chunk-min-length")).toBe("5242880");
    expect(header(response, "oci-chunk-max-length")).toBe("100000000");
  });

  test("announces no chunk limits if they are turned off", async () => {
    await using registry = await start({ chunkHints: false });
    const response = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
    expect(response.status).toBe(202);
    expect(response.headers.has("oci-chunk-min-length")).toBe(false);
    expect(response.headers.has("oci-chunk-max-length")).toBe(false);
  });

  test("treats a POST with a digest and a body as a plain POST", async () => {
    await using registry = await start();
    const digest = digestOf(bytes(10));
    const url = `${registry.url}/v2/a/blobs/uploads/?digest=${digest}`;
    const response = await fetch(url, { method: "POST", body: bytes(10) });
    expect(response.status).toBe(202);
    const status = await fetch(withoutHash(location(registry, response)));
    expect(header(status, "range")).toBe("0--1");
    expect((await fetch(`${registry.url}/v2/a/blobs/${digest}`, { method: "HEAD" })).status).toBe(404);
  });
});

describe("A PATCH to the strict registry", () => {
  test("stores a chunk, and gets a new Location without chunk limits", async () => {
    await using registry = await start();
    const first = await startUpload(registry);
    const response = await patch(first, bytes(2000), "0-1999");
    expect(response.status).toBe(202);
    expect(header(response, "range")).toBe("0-1999");
    expect(header(response, "location")).toStartWith("/v2/team/app/blobs/uploads/");
    expect(location(registry, response)).not.toBe(first);
    expect(withoutHash(location(registry, response))).toBe(withoutHash(first));
    expect(first).toContain(header(response, "docker-upload-uuid"));
    expect(response.headers.has("oci-chunk-min-length")).toBe(false);
    expect(response.headers.has("oci-chunk-max-length")).toBe(false);
    expect(await response.text()).toBe("");
    const second = await patch(location(registry, response), bytes(2000), "2000-3999");
    expect(second.status).toBe(202);
    expect(header(second, "range")).toBe("0-3999");
  });

  test("with a stale Location gets a 416 whose Location continues the upload", async () => {
    await using registry = await start();
    const stale = await startUpload(registry);
    await patchAll(registry, stale, [bytes(2000, 1)]);
    const refused = await patch(stale, bytes(2000, 2), "0-1999");
    expect(registry.requests.at(-1)).toMatchObject({ status: 416, bodyBytes: 2000 });
    const current = await expectRangeError(registry, refused, "0-1999");
    const response = await patch(current, bytes(2000, 2), "2000-3999");
    expect(response.status).toBe(202);
    const digest = digestOf(Buffer.concat([bytes(2000, 1), bytes(2000, 2)]));
    expect((await close(location(registry, response), digest)).status).toBe(201);
  });

  test.each([
    ["a wrong offset", "5-2004"],
    ["the unit of RFC 9110", "bytes 0-1999/*"],
    ["bytes=", "bytes=0-1999"],
    ["an end before the start", "0--5"],
  ])("with %s in Content-Range gets a 416 and changes nothing", async (_, contentRange) => {
    await using registry = await start();
    const url = await startUpload(registry);
    const current = await expectRangeError(registry, await patch(url, bytes(2000), contentRange), "0--1");
    expect(current).toBe(url);
    expect((await patch(current, bytes(2000), "0-1999")).status).toBe(202);
  });

  test("is accepted if only the start of Content-Range is right", async () => {
    await using registry = await start();
    expect((await patch(await startUpload(registry), bytes(2000), "0-7")).status).toBe(202);
  });

  test("without Content-Range appends its chunk", async () => {
    await using registry = await start();
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000, 1), bytes(2000, 2)]);
    const digest = digestOf(Buffer.concat([bytes(2000, 1), bytes(2000, 2)]));
    expect((await close(url, digest)).status).toBe(201);
  });

  test("of one byte is refused with Content-Range and accepted without", async () => {
    await using registry = await start();
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000)]);
    const current = await expectRangeError(registry, await patch(url, bytes(1), "2000-2000"), "0-1999");
    const response = await patch(current, bytes(1));
    expect(response.status).toBe(202);
    expect(header(response, "range")).toBe("0-2000");
  });

  test("without _stateHash, of an unknown session or to another repository gets a 500", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    await expectInternalError(await patch(withoutHash(url), bytes(2000)));
    await expectInternalError(
      await patch(url.replace(/uploads\/[^?]+/, `uploads/${ABSENT_UUID}`), bytes(2000)),
    );
    await expectInternalError(await patch(url.replace("team/app", "team/other"), bytes(2000)));
    expect((await patch(url, bytes(2000))).status).toBe(202);
  });

  test("with chunked transfer encoding gets a 411", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    expect((await fetch(url, { method: "PATCH", body: unsized(bytes(2000)) })).status).toBe(411);
    expect(registry.requests.at(-1)).toMatchObject({
      kind: "patch",
      transferEncoding: "chunked",
      status: 411,
    });
    expect((await patch(url, bytes(2000))).status).toBe(202);
  });

  test("without a body gets a 400", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    const socket = await openSocket(registry, requestHead("PATCH", url, { connection: "close" }));
    expect(await readAll(socket)).toStartWith("HTTP/1.1 400 ");
  });
});

describe("The strict registry enforces the sizes of chunks:", () => {
  /** Each step is a chunk's size and the status it gets; a 416 must leave the upload as it was. */
  test.each<[string, [number, number][], number]>([
    [
      "equal chunks and a smaller last one",
      [
        [2000, 202],
        [2000, 202],
        [500, 202],
      ],
      201,
    ],
    ["a first chunk below the minimum", [[500, 202]], 201],
    [
      "the same size again below the minimum",
      [
        [500, 202],
        [500, 416],
      ],
      201,
    ],
    [
      "a larger one after one below the minimum",
      [
        [500, 202],
        [2000, 416],
      ],
      201,
    ],
    [
      "a smaller one after one below the minimum",
      [
        [500, 202],
        [400, 202],
      ],
      500,
    ],
    [
      "a second chunk larger than the first",
      [
        [2000, 202],
        [3000, 416],
        [2000, 202],
      ],
      201,
    ],
    [
      "the same size after a smaller one",
      [
        [2000, 202],
        [1500, 202],
        [1500, 416],
        [2000, 416],
      ],
      201,
    ],
    [
      "ever smaller ones",
      [
        [2000, 202],
        [1500, 202],
        [1200, 202],
      ],
      500,
    ],
    [
      "an empty chunk after a full one",
      [
        [2000, 202],
        [0, 202],
      ],
      201,
    ],
    [
      "an empty chunk first",
      [
        [0, 202],
        [2000, 416],
        [0, 416],
      ],
      201,
    ],
  ])("%s", async (_, steps, closing) => {
    await using registry = await start();
    let url = await startUpload(registry);
    const taken: Uint8Array[] = [];
    for (const [index, [size, status]] of steps.entries()) {
      const chunk = bytes(size, index);
      const response = await patch(url, chunk);
      expect([index, response.status]).toEqual([index, status]);
      if (status === 202) taken.push(chunk);
      expect(header(response, "range")).toBe(`0-${Buffer.concat(taken).byteLength - 1}`);
      url = location(registry, response);
    }
    const content = Buffer.concat(taken);
    const response = await close(url, digestOf(content));
    expect(response.status).toBe(closing);
    if (closing === 201) expect(await getBlob(registry, digestOf(content))).toEqual(new Uint8Array(content));
  });

  test("one part more than R2 allows gets a 500", async () => {
    await using registry = await start({ maxParts: 2 });
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000), bytes(2000)]);
    await expectInternalError(await patch(url, bytes(2000)));
    expect(header(await fetch(withoutHash(url)), "range")).toBe("0-3999");
  });

  test("a body over the limit gets the page of Cloudflare's edge, before credentials are checked", async () => {
    await using registry = await start({ credentials: { username: "u", password: "p" } });
    const response = await patch(`${registry.url}/v2/a/blobs/uploads/${ABSENT_UUID}`, bytes(MAX + 1));
    expect(response.status).toBe(413);
    expect(header(response, "content-type")).toStartWith("text/html");
    expect(header(response, "connection")).toBe("close");
    expect(await response.text()).toMatch(/^<html>.*413 Request Entity Too Large.*cloudflare/s);
    expect(registry.requests).toMatchObject([
      { kind: "patch", status: 413, contentLength: MAX + 1, bodyBytes: 0 },
    ]);
  });

  test("the limit of the edge may differ from the announced one", async () => {
    await using registry = await start({ maxBodyBytes: 3000 });
    const response = await fetch(`${registry.url}/v2/a/blobs/uploads/`, { method: "POST" });
    expect(header(response, "oci-chunk-max-length")).toBe(`${MAX}`);
    expect((await patch(location(registry, response), bytes(3001))).status).toBe(413);
    expect((await patch(location(registry, response), bytes(3000))).status).toBe(202);
  });
});

describe("A status request for an upload in the strict registry", () => {
  test("needs no hash, and gets the current Location, Range and chunk limits", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    const empty = await fetch(withoutHash(url));
    expect(empty.status).toBe(204);
    expect(header(empty, "range")).toBe("0--1");
    expect(location(registry, empty)).toBe(url);

    const current = await patchAll(registry, url, [bytes(2000)]);
    const response = await fetch(url);
    expect(response.status).toBe(204);
    expect(header(response, "range")).toBe("0-1999");
    expect(location(registry, response)).toBe(current);
    expect(url).toContain(header(response, "docker-upload-uuid"));
    expect(header(response, "oci-chunk-min-length")).toBe(`${MIN}`);
    expect(header(response, "oci-chunk-max-length")).toBe(`${MAX}`);
  });

  test.each([ABSENT_UUID, "no-uuid", "%2e%2e%2f%2e%2e"])(
    "for the unknown session %s gets a 404",
    async (uuid) => {
      await using registry = await start();
      const response = await fetch(`${registry.url}/v2/team/app/blobs/uploads/${uuid}`);
      expect(response.status).toBe(404);
      expect(await response.text()).toBe("");
    },
  );

  test("for another repository's session gets a 404", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    expect((await fetch(url.replace("team/app", "team/other"))).status).toBe(404);
  });

  test("gets a 404 after a DELETE, which gets a 204, and a 404 when repeated", async () => {
    await using registry = await start();
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000)]);
    expect((await fetch(withoutHash(url), { method: "DELETE" })).status).toBe(204);
    expect((await fetch(withoutHash(url), { method: "DELETE" })).status).toBe(404);
    expect((await fetch(url)).status).toBe(404);
    await expectInternalError(await patch(url, bytes(2000)));
    expect(await stored(registry)).toEqual([]);
  });
});

describe("A blob in a single PUT to the strict registry", () => {
  test("is stored, and ends its session", async () => {
    await using registry = await start();
    const content = bytes(3000);
    const digest = digestOf(content);
    const url = await startUpload(registry);
    const response = await close(url, digest, content);
    expect(response.status).toBe(201);
    expect(header(response, "location")).toBe(`/v2/team/app/blobs/${digest}`);
    expect(header(response, "docker-content-digest")).toBe(digest);
    expect(await getBlob(registry, digest)).toEqual(content);
    expect((await fetch(url)).status).toBe(404);
    await expectInternalError(await close(url, digest, content));
    await expectInternalError(await patch(url, content));
  });

  test.each<[string, (url: string) => string]>([
    ["a wrong digest", (url) => `${url}&digest=${digestOf("other")}`],
    ["no digest", (url) => url],
    ["a malformed digest", (url) => `${url}&digest=sha256:abc`],
    ["no _stateHash", (url) => `${withoutHash(url)}?digest=${digestOf(bytes(3000))}`],
  ])("with %s gets a 500, and the session stays", async (_, spoil) => {
    await using registry = await start();
    const url = await startUpload(registry);
    await expectInternalError(await fetch(spoil(url), { method: "PUT", body: bytes(3000) }));
    expect((await fetch(url)).status).toBe(204);
    expect((await close(url, digestOf(bytes(3000)), bytes(3000))).status).toBe(201);
  });

  test("may be empty", async () => {
    await using registry = await start();
    expect((await close(await startUpload(registry), EMPTY_DIGEST)).status).toBe(201);
    expect(registry.requests.at(-1)).toMatchObject({ kind: "close-upload", contentLength: 0 });
    expect(await getBlob(registry, EMPTY_DIGEST)).toEqual(bytes(0));
    const head = await fetch(`${registry.url}/v2/team/app/blobs/${EMPTY_DIGEST}`, { method: "HEAD" });
    expect(header(head, "content-length")).toBe("0");
  });

  test("with chunked transfer encoding gets a 500, and the session stays", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    const digest = digestOf(bytes(3000));
    const body = unsized(bytes(3000));
    await expectInternalError(await fetch(`${url}&digest=${digest}`, { method: "PUT", body }));
    expect(registry.requests.at(-1)).toMatchObject({ kind: "close-upload", transferEncoding: "chunked" });
    expect((await close(url, digest, bytes(3000))).status).toBe(201);
  });

  test("without a length gets a 500, which does not harm an upload with parts", async () => {
    await using registry = await start();
    const empty = `${await startUpload(registry)}&digest=${EMPTY_DIGEST}`;
    const refused = await openSocket(registry, requestHead("PUT", empty, { connection: "close" }));
    expect(await readAll(refused)).toStartWith("HTTP/1.1 500 ");
    const parts = await patchAll(registry, await startUpload(registry), [bytes(2000)]);
    const url = `${parts}&digest=${digestOf(bytes(2000))}`;
    const taken = await openSocket(registry, requestHead("PUT", url, { connection: "close" }));
    expect(await readAll(taken)).toStartWith("HTTP/1.1 201 ");
  });

  test("may have a percent-encoded digest", async () => {
    await using registry = await start();
    const digest = encodeURIComponent(digestOf(bytes(10)));
    expect((await close(await startUpload(registry), digest, bytes(10))).status).toBe(201);
  });
});

describe("A closing PUT to the strict registry", () => {
  test("makes a blob of the parts, and leaves nothing else behind", async () => {
    await using registry = await start();
    const chunks = [bytes(2000, 1), bytes(2000, 2), bytes(7, 3)];
    const url = await patchAll(registry, await startUpload(registry), chunks);
    const digest = digestOf(Buffer.concat(chunks));
    const response = await close(url, digest);
    expect(response.status).toBe(201);
    expect(header(response, "location")).toBe(`/v2/team/app/blobs/${digest}`);
    expect(header(response, "docker-content-digest")).toBe(digest);
    expect(await getBlob(registry, digest)).toEqual(new Uint8Array(Buffer.concat(chunks)));
    expect(await stored(registry)).toEqual([digest]);
    await expectInternalError(await close(url, digest));
  });

  test("ignores its own body", async () => {
    await using registry = await start();
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000)]);
    expect((await close(url, digestOf(bytes(2000)), bytes(500))).status).toBe(201);
    expect(await getBlob(registry, digestOf(bytes(2000)))).toEqual(bytes(2000));
  });

  test("fails if it brings the last bytes", async () => {
    await using registry = await start();
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000, 1)]);
    const digest = digestOf(Buffer.concat([bytes(2000, 1), bytes(500, 2)]));
    await expectInternalError(await close(url, digest, bytes(500, 2)));
  });

  test("with a wrong digest ends the session, although GET still answers", async () => {
    await using registry = await start();
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000)]);
    await expectInternalError(await close(url, digestOf("other")));
    await expectInternalError(await close(url, digestOf(bytes(2000))));
    await expectRangeError(registry, await patch(url, bytes(2000)), "0-1999");
    const status = await fetch(url);
    expect(status.status).toBe(204);
    expect(header(status, "range")).toBe("0-1999");
    expect((await fetch(url, { method: "DELETE" })).status).toBe(204);
    expect((await fetch(url)).status).toBe(404);
  });

  test("with a stale Location gets a 416 whose Location closes the upload", async () => {
    await using registry = await start();
    const stale = await startUpload(registry);
    await patchAll(registry, stale, [bytes(2000)]);
    const current = await expectRangeError(registry, await close(stale, digestOf(bytes(2000))), "0-1999");
    expect((await close(current, digestOf(bytes(2000)))).status).toBe(201);
  });
});

describe("Blobs in the strict registry:", () => {
  test("HEAD answers with size and digest", async () => {
    await using registry = await start();
    const { digest } = await pushBlob(registry, bytes(3000));
    const response = await fetch(`${registry.url}/v2/team/app/blobs/${digest}`, { method: "HEAD" });
    expect(response.status).toBe(200);
    expect(header(response, "content-length")).toBe("3000");
    expect(header(response, "docker-content-digest")).toBe(digest);
  });

  test("a blob belongs to one repository, and an encoded colon in its digest gets a 404", async () => {
    await using registry = await start();
    const { digest } = await pushBlob(registry, bytes(3000));
    for (const path of [`team/other/blobs/${digest}`, `team/app/blobs/${digest.replace(":", "%3A")}`]) {
      expect((await fetch(`${registry.url}/v2/${path}`, { method: "HEAD" })).status).toBe(404);
      const response = await fetch(`${registry.url}/v2/${path}`);
      expect(response.status).toBe(404);
      expect((await errorOf(response)).code).toBe("BLOB_UNKNOWN");
    }
  });

  test("a mount gets a 201, HEAD describes the link, GET returns the blob, and manifests may name it", async () => {
    await using registry = await start();
    const layer = await pushBlob(registry, bytes(3000), "source");
    const url = `${registry.url}/v2/team/app/blobs/uploads/?mount=${layer.digest}&from=source`;
    const response = await fetch(url, { method: "POST" });
    expect(response.status).toBe(201);
    expect(header(response, "location")).toBe(`/v2/team/app/blobs/${layer.digest}`);
    expect(header(response, "docker-content-digest")).toBe(layer.digest);

    const head = await fetch(`${registry.url}/v2/team/app/blobs/${layer.digest}`, { method: "HEAD" });
    expect(head.status).toBe(200);
    const link = `source/blobs/${layer.digest}`;
    expect(header(head, "content-length")).toBe("84");
    expect(header(head, "docker-content-digest")).toBe(digestOf(link));
    expect(await getBlob(registry, layer.digest)).toEqual(bytes(3000));

    const config = await pushBlob(registry, bytes(100));
    const manifest = { schemaVersion: 2, mediaType: IMAGE_TYPE, config, layers: [layer] };
    expect((await putManifest(registry, "v1", manifest)).status).toBe(201);

    const again = `${registry.url}/v2/third/blobs/uploads/?mount=${layer.digest}&from=team/app`;
    expect((await fetch(again, { method: "POST" })).status).toBe(201);
    expect(await getBlob(registry, layer.digest, "third")).toEqual(bytes(3000));
    const third = await fetch(`${registry.url}/v2/third/blobs/${layer.digest}`, { method: "HEAD" });
    expect(header(third, "docker-content-digest")).toBe(digestOf(link));
  });

  test("an upload replaces a mount", async () => {
    await using registry = await start();
    const { digest } = await pushBlob(registry, bytes(3000), "source");
    const url = `${registry.url}/v2/team/app/blobs/uploads/?mount=${digest}&from=source`;
    expect((await fetch(url, { method: "POST" })).status).toBe(201);
    await pushBlob(registry, bytes(3000));
    const head = await fetch(`${registry.url}/v2/team/app/blobs/${digest}`, { method: "HEAD" });
    expect(header(head, "content-length")).toBe("3000");
    expect(await stored(registry)).toEqual([digest, digest]);
  });

  test("a mount from the same repository starts an upload session, and the blob stays", async () => {
    await using registry = await start();
    const { digest } = await pushBlob(registry, bytes(3000));
    const url = `${registry.url}/v2/team/app/blobs/uploads/?mount=${digest}&from=team/app`;
    expect((await fetch(url, { method: "POST" })).status).toBe(202);
    expect(await getBlob(registry, digest)).toEqual(bytes(3000));
  });

  test.each(["from=source", "from=team/app", ""])(
    "a mount of a missing blob (%s) starts an upload session",
    async (from) => {
      await using registry = await start();
      const url = `${registry.url}/v2/team/app/blobs/uploads/?mount=${digestOf(bytes(3000))}&${from}`;
      const response = await fetch(url, { method: "POST" });
      expect(response.status).toBe(202);
      const closed = await close(location(registry, response), digestOf(bytes(3000)), bytes(3000));
      expect(closed.status).toBe(201);
    },
  );
});

describe("Manifests in the strict registry", () => {
  test("are stored by tag and by digest, byte for byte", async () => {
    await using registry = await start();
    const text = JSON.stringify(await pushImage(registry), null, 2);
    const digest = digestOf(text);
    const response = await putManifest(registry, "v1.0", text);
    expect(response.status).toBe(201);
    expect(header(response, "location")).toBe("/v2/team/app/manifests/v1.0");
    expect(header(response, "docker-content-digest")).toBe(digest);
    for (const reference of ["v1.0", digest]) {
      const url = `${registry.url}/v2/team/app/manifests/${reference}`;
      for (const [method, body] of [
        ["GET", text],
        ["HEAD", ""],
      ] as const) {
        const found = await fetch(url, { method });
        expect(found.status).toBe(200);
        expect(header(found, "content-type")).toBe(IMAGE_TYPE);
        expect(header(found, "content-length")).toBe(`${text.length}`);
        expect(header(found, "docker-content-digest")).toBe(digest);
        expect(await found.text()).toBe(body);
      }
    }
  });

  test("that are put by digest get that digest in the Location", async () => {
    await using registry = await start();
    const text = JSON.stringify(await pushImage(registry));
    const response = await putManifest(registry, digestOf(text), text);
    expect(response.status).toBe(201);
    expect(header(response, "location")).toBe(`/v2/team/app/manifests/${digestOf(text)}`);
    const wrong = await putManifest(registry, digestOf("other"), text);
    expect(wrong.status).toBe(400);
    expect((await errorOf(wrong)).code).toBe("DIGEST_INVALID");
  });

  test("get a 404 if they are missing", async () => {
    await using registry = await start();
    const url = `${registry.url}/v2/team/app/manifests/v1`;
    const response = await fetch(url);
    expect(response.status).toBe(404);
    expect((await errorOf(response)).code).toBe("MANIFEST_UNKNOWN");
    expect((await fetch(url, { method: "HEAD" })).status).toBe(404);
  });

  test("need their child manifests, by digest", async () => {
    await using registry = await start();
    const text = JSON.stringify(await pushImage(registry));
    const child = { mediaType: IMAGE_TYPE, digest: digestOf(text), size: text.length };
    const index = { schemaVersion: 2, mediaType: INDEX_TYPE, manifests: [child] };
    const refused = await putManifest(registry, "v1", index, INDEX_TYPE);
    expect(refused.status).toBe(400);
    expect(await errorOf(refused)).toMatchObject({
      code: "BLOB_UNKNOWN",
      message: `unknown manifest ${child.digest}`,
    });
    expect((await putManifest(registry, child.digest, text)).status).toBe(201);
    expect((await putManifest(registry, "v1", index, INDEX_TYPE)).status).toBe(201);
    const wrongSize = { ...index, manifests: [{ ...child, size: child.size + 1 }] };
    const wrong = await putManifest(registry, "v1", wrongSize, INDEX_TYPE);
    expect([wrong.status, (await errorOf(wrong)).code]).toEqual([400, "MANIFEST_INVALID"]);
  });

  test("are refused if they are invalid", async () => {
    await using registry = await start();
    const image = await pushImage(registry);
    const { mediaType: _, ...untyped } = image;
    const unknown = digestOf("unknown");
    const cases: [unknown, string, string | RegExp][] = [
      [untyped, "MANIFEST_INVALID", "Invalid input"],
      ["{", "MANIFEST_INVALID", "invalid manifest JSON"],
      [{ ...image, config: { ...image.config, digest: unknown } }, "BLOB_UNKNOWN", `unknown blob ${unknown}`],
      [
        { ...image, layers: [{ ...image.config, digest: unknown }] },
        "BLOB_UNKNOWN",
        `unknown blob ${unknown}`,
      ],
      [{ ...image, config: { ...image.config, size: 99 } }, "MANIFEST_INVALID", /has 100 bytes, not 99$/],
    ];
    for (const [manifest, code, message] of cases) {
      const response = await putManifest(registry, "v1", manifest);
      expect(response.status).toBe(400);
      const error = await errorOf(response);
      expect(error.code).toBe(code);
      expect(error.message).toMatch(message);
    }
    expect((await fetch(`${registry.url}/v2/team/app/manifests/v1`)).status).toBe(404);
  });

  test("need the blobs in their own repository", async () => {
    await using registry = await start();
    const image = await pushImage(registry);
    const response = await fetch(`${registry.url}/v2/team/other/manifests/v1`, {
      method: "PUT",
      headers: { "content-type": IMAGE_TYPE },
      body: JSON.stringify(image),
    });
    expect(response.status).toBe(400);
    expect((await errorOf(response)).code).toBe("BLOB_UNKNOWN");
  });

  test("need a Content-Type", async () => {
    await using registry = await start();
    const body = JSON.stringify(await pushImage(registry));
    const response = await fetch(`${registry.url}/v2/team/app/manifests/v1`, {
      method: "PUT",
      body: new TextEncoder().encode(body),
    });
    expect(response.status).toBe(400);
    expect((await errorOf(response)).code).toBe("SERVER_ERROR");
  });

  test.each(["Team/app", "team//app", "-app", "team/_blobs", "a..b"])(
    "are refused in a repository named %s",
    async (name) => {
      await using registry = await start();
      const response = await fetch(`${registry.url}/v2/${name}/blobs/uploads/`, { method: "POST" });
      expect([response.status, (await errorOf(response)).code]).toEqual([400, "NAME_INVALID"]);
    },
  );

  test.each([".v1", "v1+2", "a".repeat(129), "sha256:abc"])("are refused with a tag %s", async (tag) => {
    await using registry = await start();
    const response = await putManifest(registry, tag, await pushImage(registry));
    expect([response.status, (await errorOf(response)).code]).toEqual([400, "TAG_INVALID"]);
  });
});

describe("Credentials of the strict registry", () => {
  const credentials = { username: "me", password: "a:b ü" };
  const authorization = `Basic ${Buffer.from("me:a:b ü").toString("base64")}`;

  test("are required for every request", async () => {
    await using registry = await start({ credentials });
    for (const [method, path] of [
      ["GET", "/v2/"],
      ["POST", "/v2/a/blobs/uploads/"],
      ["GET", "/v2/a/manifests/v1?x=1"],
    ] as const) {
      const response = await fetch(registry.url + path, { method });
      expect(response.status).toBe(401);
      expect(header(response, "www-authenticate")).toBe(`Basic realm="${registry.url}${path}"`);
      const error = await errorOf(response);
      expect([error.code, error.message]).toEqual(["UNAUTHORIZED", "authentication required"]);
    }
    const head = await fetch(`${registry.url}/v2/a/manifests/v1`, { method: "HEAD" });
    expect([head.status, await head.text()]).toEqual([401, ""]);
    expect(registry.requests.map(({ hadAuthorization }) => hadAuthorization)).toEqual(Array(4).fill(false));
  });

  test.each([
    ["right", authorization, 200],
    ["of another", `Basic ${Buffer.from("me:x").toString("base64")}`, 401],
    ["a bearer token", authorization.replace("Basic", "Bearer"), 401],
  ])("get the right answer if they are %s", async (_, header, status) => {
    await using registry = await start({ credentials });
    const response = await fetch(`${registry.url}/v2/`, { headers: { authorization: header } });
    expect(response.status).toBe(status);
    expect(registry.requests).toMatchObject([{ kind: "ping", hadAuthorization: true, status }]);
  });

  test("are not required for GET /v2/ of a registry without any, which answers 200", async () => {
    await using registry = await start();
    const response = await fetch(`${registry.url}/v2/`);
    expect([response.status, await response.text()]).toEqual([200, ""]);
    expect((await fetch(`${registry.url}/other`)).status).toBe(404);
  });
});

describe("Broken and parallel requests to the strict registry:", () => {
  test("a PATCH that breaks in the middle changes nothing", async () => {
    const ended = Promise.withResolvers<number>();
    await using registry = await start({
      onRequest: ({ kind, status }) => kind === "patch" && ended.resolve(status),
    });
    const url = await startUpload(registry);
    const head = requestHead("PATCH", url, { "content-length": "2000", "content-range": "0-1999" });
    const socket = await openSocket(registry, head);
    await new Promise((resolve) => socket.write(bytes(900), resolve));
    socket.end();
    expect(await ended.promise).toBe(0);
    expect(location(registry, await fetch(url))).toBe(url);
    expect(await stored(registry)).toEqual(["state.json"]);
    const next = await patchAll(registry, url, [bytes(2000)]);
    expect((await close(next, digestOf(bytes(2000)))).status).toBe(201);
  });

  test("a stalled PATCH does not block others, and is refused when it ends", async () => {
    const { seen, intercept } = noticePatch();
    await using registry = await start({ intercept });
    const url = await startUpload(registry);
    const head = requestHead("PATCH", url, { "content-length": "2000", connection: "close" });
    const socket = await openSocket(registry, head);
    socket.write(bytes(900, 1));
    await seen;
    const next = await patchAll(registry, url, [bytes(2000, 2)]);
    const answer = readAll(socket);
    socket.write(bytes(1100, 1));
    expect(await answer).toStartWith("HTTP/1.1 416 ");
    expect((await close(next, digestOf(bytes(2000, 2)))).status).toBe(201);
  });

  test("one of several PATCHes at the same time is stored", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    const statuses = await Promise.all(
      [1, 2, 3].map(async (seed) => (await patch(url, bytes(2000, seed))).status),
    );
    expect(statuses.toSorted()).toEqual([202, 416, 416]);
    expect(header(await fetch(url), "range")).toBe("0-1999");
  });

  test("uploads run side by side", async () => {
    await using registry = await start();
    await Promise.all(
      [1, 2, 3, 4, 5, 6, 7, 8].map(async (seed) => {
        const content = bytes(5000, seed);
        const chunks = [content.slice(0, 2000), content.slice(2000, 4000), content.slice(4000)];
        const url = await patchAll(registry, await startUpload(registry), chunks);
        expect((await close(url, digestOf(content))).status).toBe(201);
        expect(await getBlob(registry, digestOf(content))).toEqual(content);
      }),
    );
  });

  test("a session, its blobs and manifests survive a restart", async () => {
    await using first = await start();
    const url = await patchAll(first, await startUpload(first), [bytes(2000, 1)]);
    expect((await putManifest(first, "v1", await pushImage(first))).status).toBe(201);
    await first.stop();
    await Bun.write(join(first.directory, "temporary", "left-over"), "half a part");
    await using second = await startStrictRegistry({ directory: first.directory, minChunkBytes: MIN });
    expect(await stored(first)).not.toContain("left-over");
    const moved = url.replace(first.url, second.url);
    expect(header(await fetch(withoutHash(moved)), "range")).toBe("0-1999");
    const next = await patchAll(second, moved, [bytes(2000, 2)]);
    const digest = digestOf(Buffer.concat([bytes(2000, 1), bytes(2000, 2)]));
    expect((await close(next, digest)).status).toBe(201);
    expect((await fetch(`${second.url}/v2/team/app/manifests/v1`)).status).toBe(200);
    expect(await getBlob(second, digestOf(bytes(3000)))).toEqual(bytes(3000));
  });

  test("a stop breaks running requests and leaves no half-written file", async () => {
    const { seen, intercept } = noticePatch();
    await using registry = await start({ intercept });
    const url = await startUpload(registry);
    const socket = await openSocket(registry, requestHead("PATCH", url, { "content-length": "2000" }));
    socket.write(bytes(900));
    await seen;
    const closed = readAll(socket);
    await registry.stop();
    expect(await closed).toBe("");
    expect(await stored(registry)).toEqual(["state.json"]);
  });
});

describe("Faults and records of the strict registry:", () => {
  test("an intercept answers in place of the registry", async () => {
    await using registry = await start({
      intercept: (_, kind) =>
        kind === "patch" ? new Response("Your worker restarted mid-request", { status: 503 }) : undefined,
    });
    const url = await startUpload(registry);
    expect((await patch(url, bytes(2000))).status).toBe(503);
    expect(header(await fetch(url), "range")).toBe("0--1");
    expect(registry.requests.map(({ status }) => status)).toEqual([202, 503, 204]);
  });

  test("a dropped request gets no answer and has no effect", async () => {
    await using registry = await start({ intercept: (_, kind) => (kind === "patch" ? "drop" : undefined) });
    const url = await startUpload(registry);
    await expect(patch(url, bytes(2000))).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(header(await fetch(url), "range")).toBe("0--1");
    expect(registry.requests.find(({ kind }) => kind === "patch")).toMatchObject({ status: 0, bodyBytes: 0 });
  });

  test("the answer to a request that was carried out can be lost", async () => {
    await using registry = await start({
      intercept: async (_, kind, answer) => {
        if (kind !== "patch") return undefined;
        expect((await answer()).status).toBe(202);
        return "drop";
      },
    });
    const url = await startUpload(registry);
    await expect(patch(url, bytes(2000))).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(header(await fetch(url), "range")).toBe("0-1999");
  });

  test("a connection can be dropped in the middle of a body", async () => {
    await using registry = await start({
      intercept: async (request, kind) => {
        if (kind !== "patch") return undefined;
        await request.body?.getReader().read();
        return "drop";
      },
    });
    const url = await startUpload(registry);
    await expect(patch(url, bytes(2000))).rejects.toMatchObject({ code: "ECONNRESET" });
    expect(location(registry, await fetch(url))).toBe(url);
  });

  test("an intercept may look at the answer and let it pass", async () => {
    const statuses: number[] = [];
    await using registry = await start({
      intercept: async (_, _kind, answer) => {
        statuses.push((await answer()).status);
        return undefined;
      },
    });
    const url = await patchAll(registry, await startUpload(registry), [bytes(2000)]);
    expect((await close(url, digestOf(bytes(2000)))).status).toBe(201);
    expect(statuses).toEqual([202, 202, 201]);
  });

  test("records have each request and its connection", async () => {
    await using registry = await start();
    const url = await startUpload(registry);
    await patch(url, bytes(2000), "0-1999");
    expect(registry.requests[1]).toEqual({
      method: "PATCH",
      path: new URL(url).pathname,
      query: new URL(url).search,
      kind: "patch",
      status: 202,
      contentLength: 2000,
      contentRange: "0-1999",
      bodyBytes: 2000,
      connection: expect.stringMatching(/^\d+$/),
      hadAuthorization: false,
    });
  });

  test.each<[string, string, string]>([
    ["GET", "/v2/", "ping"],
    ["HEAD", "/v2/a/blobs/x", "head-blob"],
    ["GET", "/v2/a/blobs/x", "get-blob"],
    ["POST", "/v2/a/blobs/uploads/", "start-upload"],
    ["PATCH", "/v2/a/blobs/uploads/x", "patch"],
    ["PUT", "/v2/a/blobs/uploads/x", "close-upload"],
    ["GET", "/v2/a/blobs/uploads/x", "upload-status"],
    ["DELETE", "/v2/a/blobs/uploads/x", "cancel-upload"],
    ["GET", "/v2/a/manifests/x", "get-manifest"],
    ["HEAD", "/v2/a/manifests/x", "head-manifest"],
    ["PUT", "/v2/a/manifests/x", "put-manifest"],
    ["DELETE", "/v2/a/manifests/x", "other"],
    ["GET", "/metrics", "other"],
  ])("the record of %s %s has the kind %s", async (method, path, kind) => {
    await using registry = await start();
    await fetch(registry.url + path, { method });
    expect(registry.requests).toMatchObject([{ kind }]);
  });
});
