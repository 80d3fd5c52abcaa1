import { describe, expect, test } from "bun:test";
import { truncate } from "node:fs/promises";
import { join } from "node:path";
import { fileBody } from "../../src/registry/http/file-body.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const PIECE = 256 * 1024;
const never = new AbortController().signal;

describe("fileBody", () => {
  test.each([1, PIECE - 1, PIECE, PIECE + 1, 3 * PIECE + 5])("gives %d bytes as they are", async (size) => {
    const bytes = seededBytes(size, size);
    const progress: number[] = [];
    const body = fileBody(new Blob([bytes]), never, (end) => void progress.push(end));
    const pieces = await Array.fromAsync(body);
    expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
    expect(Math.max(...pieces.map((piece) => piece.length))).toBeLessThanOrEqual(PIECE);
    // No empty piece at the end: it would end the body after the server has answered.
    expect(pieces).toHaveLength(Math.ceil(size / PIECE));
    expect(progress).toEqual(pieces.map((_, i) => Math.min((i + 1) * PIECE, size)));
  });

  test("gives a slice of a file", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "layer");
    const bytes = seededBytes(3 * PIECE, 4);
    await Bun.write(path, bytes);
    const body = fileBody(Bun.file(path).slice(1000, 2 * PIECE), never, () => {});
    const read = Buffer.concat(await Array.fromAsync(body));
    expect(read.equals(bytes.subarray(1000, 2 * PIECE))).toBe(true);
  });

  test("fails where the file became shorter", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "layer");
    await Bun.write(path, seededBytes(2 * PIECE, 4));
    const content = Bun.file(path).slice(0, 2 * PIECE);
    await truncate(path, PIECE + 10);
    const error = await rejection(Array.fromAsync(fileBody(content, never, () => {})));
    expect(error.code).toBe("CONTENT_MISMATCH");
  });

  test("is read only as fast as it is taken", async () => {
    const progress: number[] = [];
    const body = fileBody(new Blob([seededBytes(10 * PIECE, 1)]), never, (end) => void progress.push(end));
    const reader = body.getReader();
    await reader.read();
    await reader.read();
    // One piece may lie ready.
    expect(progress.length).toBeLessThanOrEqual(3);
    await reader.cancel();
  });
});
