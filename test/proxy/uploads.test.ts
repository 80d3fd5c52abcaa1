/** Uploads of clients, in every form that the specification has. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { readdir } from "node:fs/promises";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { startTestProxy, type TestProxy } from "../support/proxy.ts";
import {
  begin,
  chunked,
  close,
  type OpenRequest,
  openRequest,
  patch,
  pushBlob,
  putBlob,
  refusalOf,
  until,
} from "../support/proxy-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(20_000);

const MIB = 1024 * 1024;
const UPLOADS = "/v2/team/app/blobs/uploads/";

/** The registry has the blob, and the spool is empty. */
async function expectArrived(
  registry: TestRegistry,
  proxy: TestProxy,
  bytes: Uint8Array<ArrayBuffer>,
  name = "team/app",
): Promise<void> {
  expect(await proxy.settled()).toEqual([]);
  const stored = await registry.pullBlob(name, digestOf(bytes));
  expect(Buffer.compare(stored, bytes)).toBe(0);
  await until(async () => (await proxy.spooled()).count === 0);
}

/** Ways to push a blob. */
const FORMS: Readonly<
  Record<string, (proxy: TestProxy, bytes: Uint8Array<ArrayBuffer>, digest: string) => Promise<Response>>
> = {
  "a POST, a PATCH without a length and a PUT": async (proxy, bytes, digest) => {
    const place = await begin(proxy);
    await patch(proxy, place, bytes);
    return close(proxy, place, digest);
  },
  "a POST, a PATCH with a length and a PUT": async (proxy, bytes, digest) => {
    const place = await begin(proxy);
    await proxy.request(place, { method: "PATCH", body: bytes });
    return close(proxy, place, digest);
  },
  "a POST, several PATCHes with Content-Range and a PUT": async (proxy, bytes, digest) => {
    let place = await begin(proxy);
    const step = Math.max(1, Math.ceil(bytes.length / 3));
    for (let start = 0; start < bytes.length; start += step) {
      const piece = bytes.slice(start, start + step);
      const range = `${start}-${start + piece.length - 1}`;
      const response = await patch(proxy, place, piece, { "content-range": range });
      expect({ status: response.status, range: response.headers.get("range") }).toEqual({
        status: 202,
        range: `0-${start + piece.length - 1}`,
      });
      place = response.headers.get("location") ?? "";
    }
    return close(proxy, place, digest);
  },
  "a POST, a PATCH and a PUT with the last bytes": async (proxy, bytes, digest) => {
    const place = await begin(proxy);
    const half = Math.floor(bytes.length / 2);
    await patch(proxy, place, bytes.slice(0, half));
    return close(proxy, place, digest, bytes.slice(half));
  },
  "a POST and a PUT with the whole": async (proxy, bytes, digest) =>
    close(proxy, await begin(proxy), digest, bytes),
  "a POST and a PUT with the whole, without a length": async (proxy, bytes, digest) =>
    proxy.request(`${await begin(proxy)}?digest=${digest}`, {
      method: "PUT",
      body: chunked(bytes),
    }),
  "a POST with the whole": (proxy, bytes, digest) =>
    proxy.request(`${UPLOADS}?digest=${digest}`, { method: "POST", body: bytes }),
  "a POST with the whole, without a length": (proxy, bytes, digest) =>
    proxy.request(`${UPLOADS}?digest=${digest}`, { method: "POST", body: chunked(bytes) }),
};

describe.each(Object.entries(FORMS))("a blob that comes as %s", (_, send) => {
  test.each([0, 1, 3000, 5 * MIB - 1, 5 * MIB, 5 * MIB + 1])("of %d bytes arrives", async (size) => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(size, size);
    const response = await send(proxy, bytes, digestOf(bytes));
    expect(response.status).toBe(201);
    expect(response.headers.get("location")).toBe(`/v2/team/app/blobs/${digestOf(bytes)}`);
    expect(response.headers.get("docker-content-digest")).toBe(digestOf(bytes));
    await expectArrived(registry, proxy, bytes);
  });

  test.each([1, 3000, 6 * MIB])("arrives only with its digest: %d other bytes are refused", async (size) => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const digest = digestOf(seededBytes(100, 4));
    const response = await send(proxy, seededBytes(size, 5), digest);
    expect(await refusalOf(response)).toMatchObject({ status: 400, code: "DIGEST_INVALID" });
    await until(async () => (await proxy.spooled()).count === 0);
    const head = await proxy.request(`/v2/team/app/blobs/${digest}`, { method: "HEAD" });
    expect(head.status).toBe(404);
    // Nothing of it stays at the registry.
    const begun = registry.recorded("start-upload").length;
    await until(() => registry.recorded("cancel-upload").length === begun);
  });

  test("is checked even where the registry has the blob that it pretends to be", async () => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 6);
    await pushBlob(proxy, bytes);
    const response = await send(proxy, seededBytes(3000, 7), digestOf(bytes));
    expect(await refusalOf(response)).toMatchObject({ status: 400, code: "DIGEST_INVALID" });
    await expectArrived(registry, proxy, bytes);
  });
});

/** Sends bytes of an upload, and vanishes when they are in the spool. */
async function vanish(
  proxy: TestProxy,
  request: Parameters<typeof openRequest>[1],
  path: string,
  bytes: Uint8Array,
  length?: number,
): Promise<void> {
  const { bytes: before } = await proxy.spooled();
  const open = openRequest(proxy, request, path, length);
  open.send(bytes);
  await until(async () => (await proxy.spooled()).bytes === before + bytes.length);
  open.cut();
}

const isGone = async (proxy: TestProxy, place: string) => (await proxy.request(place)).status === 404;

describe("an upload", () => {
  test("tells where it stands, and refuses bytes that belong elsewhere", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 10);
    const place = await begin(proxy);
    const status = async () => {
      const response = await proxy.request(place);
      const { headers } = response;
      return [response.status, headers.get("range"), headers.get("location")];
    };
    expect(await status()).toEqual([204, "0-0", place]);
    await patch(proxy, place, bytes.slice(0, 1000));
    expect(await status()).toEqual([204, "0-999", place]);
    for (const range of ["0-999", "999-1999", "2000-2999", "1000", "-", "bytes 0-5/*", "words"]) {
      const refused = await patch(proxy, place, bytes.slice(0, 1000), { "content-range": range });
      const { headers } = refused;
      expect([range, refused.status, headers.get("range"), headers.get("location")]).toEqual([
        range,
        416,
        "0-999",
        place,
      ]);
      expect(await refusalOf(refused)).toMatchObject({ code: "BLOB_UPLOAD_INVALID" });
    }
    for (const [start, range] of [
      [1000, "bytes 1000-1999/*"],
      [2000, "2000-2999"],
    ] as const) {
      const taken = await patch(proxy, place, bytes.slice(start, start + 1000), { "content-range": range });
      expect(taken.status).toBe(202);
    }
    expect((await close(proxy, place, digestOf(bytes))).status).toBe(201);
    expect(await isGone(proxy, place)).toBe(true);
    await expectArrived(registry, proxy, bytes);
  });

  test("takes one request at a time", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 11);
    const place = await begin(proxy);
    const first = openRequest(proxy, "PATCH", place);
    first.send(bytes);
    await until(async () => (await proxy.spooled()).bytes === 3000);
    expect((await patch(proxy, place, bytes)).status).toBe(416);
    expect((await close(proxy, place, digestOf(bytes))).status).toBe(416);
    first.end();
    expect(await first.reply).toStartWith("HTTP/1.1 202");
    expect((await close(proxy, place, digestOf(bytes))).status).toBe(201);
    await expectArrived(registry, proxy, bytes);
  });

  test("is closed once, whoever else closes it at the same time", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 12);
    const place = await begin(proxy);
    await patch(proxy, place, bytes);
    const all = Array.from({ length: 5 }, () => close(proxy, place, digestOf(bytes)));
    const statuses = (await Promise.all(all)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 201)).toEqual([201]);
    expect(statuses.filter((status) => ![201, 404, 416].includes(status))).toEqual([]);
    await expectArrived(registry, proxy, bytes);
  });

  test("of another repository, or with another digest than sha256, is refused", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const place = await begin(proxy);
    expect((await proxy.request(place.replace("team/app", "team/other"))).status).toBe(404);
    for (const digest of ["", "sha256:1", `sha512:${"0".repeat(128)}`, `sha256:${"A".repeat(64)}`]) {
      expect(await refusalOf(await close(proxy, place, digest))).toMatchObject({
        status: 400,
        code: "DIGEST_INVALID",
      });
      const whole = await proxy.request(`${UPLOADS}?digest=${digest}`, { method: "POST", body: "x" });
      expect(await refusalOf(whole)).toMatchObject({ status: 400, code: "DIGEST_INVALID" });
    }
    expect(await isGone(proxy, place)).toBe(false);
  });

  test("that is cancelled leaves nothing behind", async () => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const place = await begin(proxy);
    await patch(proxy, place, seededBytes(6 * MIB, 13));
    await until(() => registry.recorded("start-upload").length === 1);
    expect((await proxy.request(place, { method: "DELETE" })).status).toBe(204);
    expect(await isGone(proxy, place)).toBe(true);
    expect((await proxy.request(place, { method: "DELETE" })).status).toBe(404);
    await until(() => registry.recorded("cancel-upload").length === 1);
    await until(async () => (await proxy.spooled()).count === 0);
  });

  test("that is cancelled while bytes come ends the request that brings them", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const place = await begin(proxy);
    const open = openRequest(proxy, "PATCH", place);
    open.send(seededBytes(3000, 14));
    await until(async () => (await proxy.spooled()).bytes === 3000);
    await proxy.request(place, { method: "DELETE" });
    open.send(seededBytes(3000, 15));
    open.end();
    expect(await open.reply).toStartWith("HTTP/1.1 503");
    await until(async () => (await proxy.spooled()).count === 0);
  });

  test("of 30 MB goes up while it comes", async () => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(30 * MIB, 16);
    const place = await begin(proxy);
    await patch(proxy, place, bytes);
    await until(() => registry.recorded("patch").length >= 2);
    expect(registry.recorded("close-upload")).toEqual([]);
    expect((await close(proxy, place, digestOf(bytes))).status).toBe(201);
    await expectArrived(registry, proxy, bytes);
  });

  test("in one PUT is not sent where the registry has the blob", async () => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(6 * MIB, 17);
    expect((await putBlob(proxy, bytes)).status).toBe(201);
    const begun = registry.recorded("start-upload").length;
    expect((await putBlob(proxy, bytes)).status).toBe(201);
    expect(registry.recorded("start-upload").length).toBe(begun);
    await expectArrived(registry, proxy, bytes);
  });

  test("that begins while the proxy ends is refused, and leaves nothing behind", async () => {
    await using registry = await startTestRegistry();
    const ending = new AbortController();
    await using proxy = await startTestProxy(registry, { signal: ending.signal });
    ending.abort();
    const refused = await proxy.request(UPLOADS, { method: "POST" });
    expect(await refusalOf(refused)).toMatchObject({ status: 503, code: "UNAVAILABLE" });
    expect((await proxy.spooled()).count).toBe(0);
  });

  test("is one of a thousand at most", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const all = Array.from({ length: 1010 }, () => proxy.request(UPLOADS, { method: "POST" }));
    const statuses = (await Promise.all(all)).map(({ status }) => status);
    expect(statuses.filter((status) => status === 202).length).toBe(1000);
    expect(statuses.filter((status) => status === 503).length).toBe(10);
  });
});

describe("a client that vanishes", () => {
  test("in a PATCH may go on from where the upload stands", async () => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(7 * MIB, 20);
    const place = await begin(proxy);
    await vanish(proxy, "PATCH", place, bytes.slice(0, 6 * MIB));
    const status = await proxy.request(place);
    expect(status.headers.get("range")).toBe(`0-${6 * MIB - 1}`);
    await until(async () => {
      const range = `${6 * MIB}-${7 * MIB - 1}`;
      return (await patch(proxy, place, bytes.slice(6 * MIB), { "content-range": range })).status === 202;
    });
    expect((await close(proxy, place, digestOf(bytes))).status).toBe(201);
    await expectArrived(registry, proxy, bytes);
  });

  test("in a PATCH leaves nothing behind when it does not come back", async () => {
    await using registry = await startTestRegistry({ maxChunkBytes: 8 * MIB });
    await using proxy = await startTestProxy(registry, { idleMs: 1000 });
    const place = await begin(proxy);
    await vanish(proxy, "PATCH", place, seededBytes(6 * MIB, 21));
    await until(() => isGone(proxy, place));
    await until(() => registry.recorded("cancel-upload").length === 1);
    await until(async () => (await proxy.spooled()).count === 0);
    expect(await proxy.settled()).toEqual([]);
  });

  test("after a POST leaves nothing behind", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry, { idleMs: 10 });
    const place = await begin(proxy);
    await until(() => isGone(proxy, place));
    await until(async () => (await proxy.spooled()).count === 0);
  });

  test.each(["PUT", "POST"])("in a %s with the whole resumes with the same blob", async (method) => {
    await using registry = await startTestRegistry({ minChunkBytes: MIB, maxChunkBytes: 2 * MIB });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(7 * MIB, 22);
    const path = async () => `${method === "PUT" ? await begin(proxy) : UPLOADS}?digest=${digestOf(bytes)}`;
    const first = await path();
    const open = openRequest(proxy, method, first, bytes.length);
    open.send(bytes.slice(0, 5 * MIB));
    await until(() => registry.recorded("patch").length === 2);
    open.cut();
    await until(async () => (await proxy.spooled()).count === 0);
    expect(registry.recorded("cancel-upload")).toEqual([]);
    const again = await proxy.request(await path(), { method, body: bytes });
    expect(again.status).toBe(201);
    const sentBytes = registry.recorded("patch").reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
    expect(sentBytes).toBe(bytes.length);
    await expectArrived(registry, proxy, bytes);
  });

  test("while the registry takes its time after the closing PUT still has its blob there", async () => {
    const [reached, gate] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const intercept: Intercept = async (_, kind) => {
      if (kind !== "close-upload") return undefined;
      reached.resolve();
      await gate.promise;
      return undefined;
    };
    await using registry = await startTestRegistry({ intercept });
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 23);
    const place = await begin(proxy);
    await patch(proxy, place, bytes);
    const open = openRequest(proxy, "PUT", `${place}?digest=${digestOf(bytes)}`, 0);
    await reached.promise;
    open.cut();
    gate.resolve();
    await expectArrived(registry, proxy, bytes);
  });
});

describe("a proxy", () => {
  test("that ends in the middle of a blob with a name leaves it to the next one to resume", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry({ minChunkBytes: MIB, maxChunkBytes: 2 * MIB });
    const bytes = seededBytes(7 * MIB, 50);
    const first = await startTestProxy(registry, { cache: folder.path });
    const open = openRequest(first, "PUT", `${await begin(first)}?digest=${digestOf(bytes)}`, bytes.length);
    open.send(bytes.slice(0, 5 * MIB));
    const other = await begin(first);
    await patch(first, other, seededBytes(6 * MIB, 51));
    await until(() => registry.recorded("patch").length >= 4);
    await first[Symbol.asyncDispose]();
    await open.reply;
    expect((await readdir(folder.path)).filter((name) => name.startsWith("spool-"))).toEqual([]);
    const before = registry.recorded("patch").length;
    await using second = await startTestProxy(registry, { cache: folder.path });
    expect((await putBlob(second, bytes)).status).toBe(201);
    const again = registry.recorded("patch").slice(before);
    expect(again.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0)).toBe(3 * MIB);
    await expectArrived(registry, second, bytes);
  });

  test("gets a new token where one ends in the middle of a blob", async () => {
    const me = { username: "me", password: "hush-Xq7" };
    await using tokens = startTokenServer({ credentials: me });
    let patches = 0;
    const intercept: Intercept = (_, kind) => {
      if (kind === "patch" && ++patches === 2) tokens.revokeAll();
      return undefined;
    };
    const limits = { minChunkBytes: MIB, maxChunkBytes: 2 * MIB };
    await using registry = await startTestRegistry({ ...limits, tokens, intercept });
    await using proxy = await startTestProxy(registry, { credentials: me });
    const bytes = seededBytes(7 * MIB, 52);
    expect((await pushBlob(proxy, bytes)).status).toBe(201);
    await expectArrived(registry, proxy, bytes);
    expect(tokens.requests.length).toBe(2);
  });

  test("keeps a KiB back, so that the last request is not tiny", async () => {
    const gate = Promise.withResolvers<void>();
    const intercept: Intercept = async (_, kind) => {
      if (kind === "start-upload") await gate.promise;
      return undefined;
    };
    const options = { maxBodyBytes: 100 * MIB, profile: "distribution-3", intercept } as const;
    await using registry = await startTestRegistry(options);
    await using proxy = await startTestProxy(registry, { chunkBytes: 8 * MIB });
    const bytes = seededBytes(6 * MIB, 53);
    const path = `${await begin(proxy)}?digest=${digestOf(bytes)}`;
    const open = openRequest(proxy, "PUT", path, bytes.length);
    open.send(bytes.slice(0, -1));
    await until(async () => (await proxy.spooled()).bytes === bytes.length - 1);
    gate.resolve();
    await until(() => registry.recorded("patch").length === 1);
    open.send(bytes.slice(-1));
    expect(await open.reply).toStartWith("HTTP/1.1 201");
    expect(registry.recorded("patch").map(({ bodyBytes }) => bodyBytes)).toEqual([6 * MIB - 1024, 1024]);
    await expectArrived(registry, proxy, bytes);
  });
});

describe("a mount", () => {
  const mount = (proxy: TestProxy, digest: string, from?: string) =>
    proxy.request(
      `/v2/team/other/blobs/uploads/?mount=${digest}${from === undefined ? "" : `&from=${from}`}`,
      { method: "POST" },
    );

  test("takes a blob from another repository, which is found there afterwards", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 40);
    await pushBlob(proxy, bytes);
    const mounted = await mount(proxy, digestOf(bytes), "team/app");
    const { headers } = mounted;
    const location = `/v2/team/other/blobs/${digestOf(bytes)}`;
    expect([mounted.status, headers.get("location")]).toEqual([201, location]);
    expect(headers.get("docker-content-digest")).toBe(digestOf(bytes));
    await expectArrived(registry, proxy, bytes, "team/other");
    expect(registry.recorded("close-upload").length).toBe(1);
  });

  test.each([
    ["that is not there", `sha256:${"1".repeat(64)}`, "team/app"],
    ["from nowhere", `sha256:${"1".repeat(64)}`, undefined],
    ["from what is no repository", `sha256:${"1".repeat(64)}`, "../Team"],
    ["of what is no digest", "sha256:1", "team/app"],
  ])("of a blob %s begins an upload", async (_, digest, from) => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const begun = await mount(proxy, digest, from);
    expect(begun.status).toBe(202);
    const bytes = seededBytes(3000, 41);
    const place = begun.headers.get("location") ?? "";
    expect((await close(proxy, place, digestOf(bytes), bytes)).status).toBe(201);
    await expectArrived(registry, proxy, bytes, "team/other");
    // The upload that the registry began for the mount is gone.
    const begunThere = registry.recorded("start-upload").length;
    expect(registry.recorded("cancel-upload").length).toBe(begunThere - 1);
  });

  test("does not wait for other uploads longer than its client", async () => {
    const gate = Promise.withResolvers<void>();
    const intercept: Intercept = async (_, kind) => {
      if (kind === "close-upload") await gate.promise;
      return undefined;
    };
    await using registry = await startTestRegistry({ intercept });
    await using proxy = await startTestProxy(registry, { parallel: 1, answerMs: 20 });
    const bytes = seededBytes(3000, 42);
    expect((await pushBlob(proxy, bytes)).status).toBe(201);
    const begun = await mount(proxy, `sha256:${"1".repeat(64)}`, "team/app");
    expect(begun.status).toBe(202);
    await proxy.request(begun.headers.get("location") ?? "", { method: "DELETE" });
    gate.resolve();
    await expectArrived(registry, proxy, bytes);
  });
});

describe("a registry that refuses", () => {
  test.each<[string, Intercept, number, string]>([
    ["the rights", faultAlways("start-upload", answering(403)), 403, "DENIED"],
    ["the credentials", faultAlways("start-upload", answering(401)), 403, "DENIED"],
    ["every body", faultAlways("patch", answering(413)), 413, "SIZE_INVALID"],
    ["everything", faultAlways("start-upload", answering(500)), 503, "UNAVAILABLE"],
  ])("%s tells a client that still sends", async (_, intercept, status, code) => {
    await using registry = await startTestRegistry({ intercept, minChunkBytes: MIB, maxChunkBytes: MIB });
    await using proxy = await startTestProxy(registry, { retries: 1 });
    // A reset may discard an answer on its way to a client that still sends: RFC 9112, section 9.6.
    let [place, reply] = ["", ""];
    for (let tries = 0; reply === "" && tries < 5; tries++) {
      place = await begin(proxy);
      const open = openRequest(proxy, "PATCH", place);
      open.send(seededBytes(6 * MIB, 30));
      const isOver = await Promise.race([open.reply.then(() => true), keepSending(open)]);
      expect(isOver).toBe(true);
      reply = await open.reply;
    }
    expect(reply).toStartWith(`HTTP/1.1 ${status}`);
    expect(reply).toContain(code);
    await until(async () => (await proxy.spooled()).count === 0);
    expect(await isGone(proxy, place)).toBe(true);
  });
});

/** Sends until the connection ends. */
async function keepSending(open: OpenRequest): Promise<false> {
  for (let i = 0; i < 10_000; i++) {
    open.send(new Uint8Array(1000));
    await Bun.sleep(1);
  }
  return false;
}
