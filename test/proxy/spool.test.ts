/** The spool: how much of it is used, by whom, and what becomes of it where the disk has no more. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir, readdir, rm } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { openSpool, openSpoolFile } from "../../src/proxy/spool.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { startTestProxy, type TestProxy } from "../support/proxy.ts";
import {
  begin,
  close,
  openRequest,
  patch,
  pushBlob,
  putBlob,
  refusalOf,
  until,
} from "../support/proxy-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { smallDisk } from "../support/small-disk.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(30_000);

/** Of the sizes: they matter beside each other alone. */
const UNIT = 128 * 1024;
const LARGE = { minChunkBytes: UNIT, maxChunkBytes: 8 * UNIT };

/** The signal of a client that does not go. */
const ALWAYS = new AbortController().signal;

/** A fault that holds requests of a kind until it is opened. */
function gateAt(kind: Parameters<Intercept>[1]) {
  const { promise, resolve } = Promise.withResolvers<void>();
  const intercept: Intercept = async (_, actual) => {
    if (actual === kind) await promise;
    return undefined;
  };
  return { intercept, open: resolve };
}

async function expectAll(
  registry: TestRegistry,
  proxy: TestProxy,
  blobs: readonly Uint8Array<ArrayBuffer>[],
): Promise<void> {
  expect(await proxy.settled()).toEqual([]);
  for (const bytes of blobs) {
    const stored = await registry.pullBlob("team/app", digestOf(bytes));
    expect(Buffer.compare(stored, bytes)).toBe(0);
  }
  await until(async () => (await proxy.spooled()).count === 0);
}

describe("the limit of the spool", () => {
  test("slows a client until the registry has what another one has sent", async () => {
    const gate = gateAt("close-upload");
    await using registry = await startTestRegistry({ ...LARGE, intercept: gate.intercept });
    await using proxy = await startTestProxy(registry, { spoolLimitBytes: 2 * UNIT, answerMs: 1 });
    const first = seededBytes(2 * UNIT, 1);
    expect((await pushBlob(proxy, first)).status).toBe(201);
    const second = seededBytes(3 * UNIT, 2);
    const place = await begin(proxy);
    const patching = patch(proxy, place, second);
    // As much as can has come by the time another request was answered.
    for (let i = 0; i < 20; i++) await proxy.request(place);
    expect((await proxy.spooled()).bytes).toBe(first.length);
    gate.open();
    expect((await patching).status).toBe(202);
    expect((await close(proxy, place, digestOf(second))).status).toBe(201);
    await expectAll(registry, proxy, [first, second]);
  });

  test("lets a blob pass that is larger, in any form", async () => {
    await using registry = await startTestRegistry(LARGE);
    await using proxy = await startTestProxy(registry, { spoolLimitBytes: 1000 });
    const blobs = [3000, 6 * UNIT, 12 * UNIT].map((size) => seededBytes(size, size));
    for (const [i, bytes] of blobs.entries()) {
      const push = i % 2 === 0 ? putBlob : pushBlob;
      expect((await push(proxy, bytes)).status).toBe(201);
    }
    await expectAll(registry, proxy, blobs);
  });

  const wholePuts = { chunkHints: false, minChunkBytes: 1, maxBodyBytes: 100 * UNIT };
  test.each([
    [1, "chunks", LARGE],
    [2, "chunks", LARGE],
    [3, "chunks", LARGE],
    [1, "one PUT", { ...wholePuts, intercept: faultAlways("patch", answering(405)) }],
    [3, "one PUT", { ...wholePuts, intercept: faultAlways("patch", answering(405)) }],
    [1, "chunks of a size that nobody announced", { ...wholePuts, maxBodyBytes: UNIT }],
    [2, "chunks of a size that nobody announced", { ...wholePuts, maxBodyBytes: UNIT }],
  ] as const)(
    "does not let blobs that fill it together wait for each other, %d at a time in %s",
    async (parallel, _, options) => {
      await using registry = await startTestRegistry(options);
      await using proxy = await startTestProxy(registry, { spoolLimitBytes: 4 * UNIT, parallel });
      const sizes = [6 * UNIT, 3 * UNIT, 7 * UNIT, 1000, 11 * UNIT, 6 * UNIT, 2 * UNIT, 9 * UNIT];
      const blobs = sizes.map((size, i) => seededBytes(size, i));
      // Each comes three times at once: as Docker and as containerd send it.
      const pushes = blobs.flatMap((bytes) => [
        pushBlob(proxy, bytes),
        putBlob(proxy, bytes),
        putBlob(proxy, bytes),
      ]);
      expect((await Promise.all(pushes)).map(({ status }) => status)).toEqual(pushes.map(() => 201));
      await expectAll(registry, proxy, blobs);
    },
  );

  test("does not let others wait for a client that has gone", async () => {
    await using registry = await startTestRegistry(LARGE);
    await using proxy = await startTestProxy(registry, { spoolLimitBytes: 2 * UNIT });
    const place = await begin(proxy);
    const gone = openRequest(proxy, "PATCH", place);
    gone.send(seededBytes(3 * UNIT, 5));
    await until(async () => (await proxy.spooled()).bytes === 3 * UNIT);
    gone.cut();
    const bytes = seededBytes(3 * UNIT, 6);
    expect((await pushBlob(proxy, bytes)).status).toBe(201);
    expect((await proxy.request(place)).status).toBe(204);
  });
});

describe("a client that goes while it waits for room", () => {
  test("leaves nothing behind", async () => {
    const gate = gateAt("close-upload");
    await using registry = await startTestRegistry({ ...LARGE, intercept: gate.intercept });
    const options = { spoolLimitBytes: 2 * UNIT, answerMs: 1, idleMs: 20 };
    await using proxy = await startTestProxy(registry, options);
    const bytes = seededBytes(3 * UNIT, 15);
    const place = await begin(proxy);
    const open = [
      openRequest(proxy, "PATCH", place),
      openRequest(proxy, "PUT", `${await begin(proxy)}?digest=${digestOf(bytes)}`, bytes.length),
    ];
    for (const each of open) each.send(bytes.slice(0, 1000));
    await until(async () => (await proxy.spooled()).bytes === 2000);
    const first = seededBytes(2 * UNIT, 14);
    expect((await pushBlob(proxy, first)).status).toBe(201);
    for (const each of open) each.send(bytes.slice(1000, UNIT));
    for (let i = 0; i < 20; i++) await proxy.request(place);
    expect((await proxy.spooled()).bytes).toBe(first.length + 2000);
    for (const each of open) each.cut();
    await until(async () => (await proxy.request(place)).status === 404);
    await until(async () => (await proxy.spooled()).count === 1);
    gate.open();
    await expectAll(registry, proxy, [first]);
  });
});

describe("a file in the spool", () => {
  test("gives out its end when it is complete, if the client has said its digest before", async () => {
    await using folder = await temporaryFolder();
    const bytes = seededBytes(10_000, 8);
    await using file = await openSpoolFile(openSpool(folder.path, UNIT));
    file.declare({ mediaType: "a/b", digest: digestOf(bytes), size: bytes.length });
    await file.append(bytes, ALWAYS);
    expect((await file.slice(0, 10_001, 5000)).size).toBe(10_000 - 1024);
    const end = file.slice(0, 10_001);
    await file.finish(digestOf(bytes));
    expect(await (await end).bytes()).toEqual(bytes);
  });

  test("does not give out its end if the bytes are not those of the digest", async () => {
    await using folder = await temporaryFolder();
    const bytes = seededBytes(10_000, 9);
    await using file = await openSpoolFile(openSpool(folder.path, UNIT));
    file.declare({ mediaType: "a/b", digest: digestOf(seededBytes(10_000, 10)), size: bytes.length });
    await file.append(bytes, ALWAYS);
    const end = rejection(file.slice(0, 10_001));
    expect(await rejection(file.finish(digestOf(bytes.slice(1))))).toMatchObject({
      code: "CONTENT_MISMATCH",
    });
    expect(await end).toMatchObject({ code: "CONTENT_MISMATCH" });
  });
});

describe("the spool's disk", () => {
  test.skipIf(process.geteuid?.() !== 0)("ends only the upload that fills it", async () => {
    await using disk = await smallDisk(4 * UNIT);
    await using registry = await startTestRegistry(LARGE);
    await using proxy = await startTestProxy(registry, { spoolDirectory: disk.path });
    const place = await begin(proxy);
    const refused = await patch(proxy, place, seededBytes(5 * UNIT - 1, 11));
    const { status, message } = await refusalOf(refused);
    expect(status).toBe(507);
    expect(message).toContain(disk.path);
    await until(async () => (await readdir(disk.path)).length === 0);
    const bytes = seededBytes(3 * UNIT, 12);
    expect((await pushBlob(proxy, bytes)).status).toBe(201);
    await expectAll(registry, proxy, [bytes]);
  });

  test.skipIf(process.geteuid?.() !== 0)(
    "counts as full if it takes only a part of the last bytes",
    async () => {
      await using disk = await smallDisk(40_960);
      const file = await openSpoolFile(openSpool(disk.path, UNIT));
      await using _file = file;
      await file.append(new Uint8Array(38_000), ALWAYS);
      expect(await rejection(file.append(new Uint8Array(10_000), ALWAYS))).toMatchObject({
        code: "FILE_FAILED",
      });
      await rejection(file.finish(digestOf(new Uint8Array(48_000))));
    },
  );

  test("makes uploads fail until a missing folder is there again", async () => {
    await using folder = await temporaryFolder();
    const spoolDirectory = join(folder.path, "spool");
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry, { spoolDirectory });
    const refused = await proxy.request("/v2/team/app/blobs/uploads/", { method: "POST" });
    expect(await refusalOf(refused)).toMatchObject({ status: 507, code: "UNAVAILABLE" });
    await mkdir(spoolDirectory);
    const bytes = seededBytes(3000, 13);
    expect((await pushBlob(proxy, bytes)).status).toBe(201);
    await rm(spoolDirectory, { recursive: true, force: true });
  });
});
