import { describe, expect, test } from "bun:test";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { type BlobGuard, guardBlob } from "../../src/layers/guard.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const bytes = seededBytes(100_000, 61);
const damaged = Uint8Array.from(bytes, (byte, i) => (i === 70_000 ? byte ^ 1 : byte));
const never = new AbortController().signal;

const descriptor = { mediaType: "application/octet-stream", digest: digestOf(bytes), size: bytes.length };
const guardOver = (content: Blob) => guardBlob({ descriptor, content }, "abc/layer.tar", never);

/** Whoever reads of it fails. */
const unreadable = Bun.file("/nonexistent/layer").slice(0, bytes.length);

/** Shows a guard the blob, from one place to another each time. */
async function show(guard: BlobGuard, ...ranges: readonly (readonly [start: number, end: number])[]) {
  for (const [start, end] of ranges) await guard.pass(end, bytes.subarray(start, end));
}

describe("a guard over a blob", () => {
  test("that saw all pieces reads nothing more", async () => {
    const guard = guardOver(unreadable);
    await show(guard, [0, 30_000], [30_000, 99_999], [99_999, 100_000]);
    await guard.verify();
  });

  test("lets the last piece pass after an interruption, if it saw all before", async () => {
    const interrupt = new AbortController();
    const guard = guardBlob({ descriptor, content: unreadable }, "abc/layer.tar", interrupt.signal);
    await show(guard, [0, 60_000]);
    interrupt.abort(new Error("Stop."));
    await show(guard, [60_000, 100_000]);
  });

  test("takes no byte twice when pieces come again, in other sizes", async () => {
    const guard = guardOver(unreadable);
    await show(guard, [0, 30_000], [0, 20_000], [10_000, 60_000], [0, 60_000], [50_000, 100_000]);
    await show(guard, [50_000, 100_000]);
    await guard.verify();
  });

  test("reads what it has not seen", async () => {
    for (const start of [1, 50_000, 99_999]) {
      const guard = guardOver(new Blob([bytes]));
      await guard.pass(bytes.length, bytes.subarray(start));
    }
    await guardOver(new Blob([bytes])).verify();
  });

  test("does not let the last piece of a damaged blob pass, nor any time it comes", async () => {
    const guard = guardOver(new Blob([damaged]));
    await guard.pass(80_000, damaged.subarray(0, 80_000));
    for (let i = 0; i < 2; i++) {
      const error = await rejection(Promise.resolve(guard.pass(bytes.length, damaged.subarray(80_000))));
      expect([error.code, error.message]).toEqual([
        "CONTENT_MISMATCH",
        expect.stringContaining(`"abc/layer.tar"`),
      ]);
    }
    expect((await rejection(guard.verify())).code).toBe("CONTENT_MISMATCH");
  });

  test("finds the damage in what an earlier push had sent", async () => {
    const guard = guardOver(new Blob([damaged]));
    const passing = Promise.resolve(guard.pass(bytes.length, damaged.subarray(90_000)));
    expect((await rejection(passing)).code).toBe("CONTENT_MISMATCH");
  });

  test("names the layer whose file is gone", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "layer");
    await Bun.write(path, bytes);
    const guard = guardOver(Bun.file(path).slice(0, bytes.length));
    await rm(path);
    const error = await rejection(guard.verify());
    expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining(`"abc/layer.tar"`)]);
  });
});
