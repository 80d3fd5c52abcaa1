import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { hashBlob, hashStream } from "../../src/layers/hash.ts";
import { unpackLayer } from "../../src/layers/unpack.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const MIB = 1024 * 1024;
const never = new AbortController().signal;
const raw = seededBytes(3 * MIB + 5, 1);
const reason = new Error("enough");
const thrownBy = (work: Promise<unknown>) => work.then(String, (error: unknown) => error);

const packers = [
  ["gzip", (bytes: Uint8Array<ArrayBuffer>) => Bun.gzipSync(bytes)],
  ["zstd", (bytes: Uint8Array<ArrayBuffer>) => Bun.zstdCompressSync(bytes)],
] as const;

describe("hashBlob", () => {
  test.each([0, 1, MIB - 1, MIB, MIB + 1, 3 * MIB + 5])("hashes %d bytes", async (length) => {
    const bytes = raw.subarray(0, length);
    const seen: number[] = [];
    expect(await hashBlob(new Blob([bytes]), never, (done) => seen.push(done))).toBe(digestOf(bytes));
    expect(seen.at(-1) ?? 0).toBe(length);
    expect(seen).toEqual(seen.toSorted((a, b) => a - b));
  });

  test("hashes a piece of a file", async () => {
    await using folder = await temporaryFolder();
    await Bun.write(join(folder.path, "x"), raw);
    const piece = Bun.file(join(folder.path, "x")).slice(1000, 2 * MIB);
    expect(await hashBlob(piece, never)).toBe(digestOf(raw.subarray(1000, 2 * MIB)));
  });

  test("ends with the reason of an interruption", async () => {
    const controller = new AbortController();
    const hashing = hashBlob(new Blob([raw]), controller.signal, () => controller.abort(reason));
    expect(await thrownBy(hashing)).toBe(reason);
    expect(await thrownBy(hashBlob(new Blob([raw]), controller.signal))).toBe(reason);
  });
});

describe.each(packers)("unpackLayer of %s", (compression, pack) => {
  const unpacked = (content: Blob, signal = never) =>
    hashStream(unpackLayer(content, compression, "l.tar", signal));
  const packed = pack(raw);

  test("unpacks one piece", async () => {
    expect(await unpacked(new Blob([packed]))).toBe(digestOf(raw));
  });

  test("unpacks nothing to nothing", async () => {
    expect(await unpacked(new Blob([pack(new Uint8Array())]))).toBe(digestOf(new Uint8Array()));
  });

  test("unpacks several members or frames, one after another", async () => {
    const cuts = [0, 10, 10, MIB, raw.length];
    const members = cuts.slice(1).map((end, i) => pack(raw.slice(cuts[i], end)));
    expect(await unpacked(new Blob(members))).toBe(digestOf(raw));
  });

  test("unpacks a piece of a file", async () => {
    await using folder = await temporaryFolder();
    const path = join(folder.path, "x");
    await Bun.write(path, new Blob([seededBytes(777, 2), packed, seededBytes(777, 3)]));
    expect(await unpacked(Bun.file(path).slice(777, 777 + packed.length))).toBe(digestOf(raw));
  });

  test("refuses what is damaged, naming the layer, or hashes it to something else", async () => {
    const flipped = Uint8Array.from(packed);
    flipped[packed.length >> 1] = (flipped[packed.length >> 1] ?? 0) ^ 0xff;
    for (const bytes of [flipped, packed.slice(0, packed.length - 20), packed.slice(0, 5)]) {
      const outcome = await thrownBy(unpacked(new Blob([Uint8Array.from(bytes)])));
      if (typeof outcome === "string") expect(outcome).not.toBe(digestOf(raw));
      else {
        expect(outcome).toMatchObject({
          code: "CONTENT_MISMATCH",
          message: expect.stringContaining(`"l.tar"`),
        });
      }
    }
  });

  test.each([
    ["a zero", new Uint8Array(1)],
    ["zeros", new Uint8Array(3_000_000)],
    ["text", Buffer.from("something else ".repeat(100))],
    ["a byte", Buffer.from("x")],
    ["the start of another part", packed.slice(0, 3)],
    ["another part that is cut short", packed.slice(0, packed.length - 1)],
  ])("refuses what goes on after its end, as Go does: %s", async (_, more) => {
    const error = await rejection(unpacked(new Blob([packed, new Uint8Array(more)])));
    expect([error.code, error.message]).toEqual(["CONTENT_MISMATCH", expect.stringContaining(`"l.tar"`)]);
  });

  test("refuses what is cut short, however little is missing", async () => {
    for (let missing = 1; missing <= 16; missing++) {
      const error = await rejection(unpacked(new Blob([packed.slice(0, packed.length - missing)])));
      expect(error.code).toBe("CONTENT_MISMATCH");
    }
  });

  test("refuses what is not packed at all", async () => {
    const bytes = new Blob([packed.slice(0, 4), seededBytes(5000, 4)]);
    const error = await rejection(unpacked(bytes));
    expect([error.code, error.message]).toEqual(["CONTENT_MISMATCH", expect.stringContaining(`"l.tar"`)]);
  });

  // The remaining ones run in a process of their own: where they go wrong, nothing ever comes back.
  const cases: [what: string, script: string, outcome: string][] = [
    ["an interruption at its beginning", `controller.abort("enough"); content = Bun.file(path)`, "enough"],
    [
      "an interruption in the middle",
      `const stop = () => controller.abort("enough");
       content = new Proxy(Bun.file(path), {
         get(file, key) {
           const transform = (piece, to) => { to.enqueue(piece); stop(); };
           if (key === "stream") return () => file.stream().pipeThrough(new TransformStream({ transform }));
           if (key === "slice") return (...range) => { if (range[0] > 0) stop(); return file.slice(...range); };
           return typeof file[key] === "function" ? file[key].bind(file) : file[key];
         },
       })`,
      "enough",
    ],
    [
      "a file that is gone",
      `content = Bun.file(path).slice(0, Bun.file(path).size); await Bun.file(path).delete()`,
      "CONTENT_MISMATCH or FILE_FAILED",
    ],
  ];
  test.each(cases)(
    "ends at %s",
    async (_, script, outcome) => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "x");
      await Bun.write(path, packed);
      const code = `
      const { hashStream } = await import(${JSON.stringify(join(import.meta.dir, "../../src/layers/hash.ts"))});
      const { unpackLayer } = await import(${JSON.stringify(join(import.meta.dir, "../../src/layers/unpack.ts"))});
      const path = ${JSON.stringify(path)};
      const controller = new AbortController();
      let content;
      ${script};
      await hashStream(unpackLayer(content, "${compression}", "l.tar", controller.signal))
        .then(console.log, (error) => console.log(error.code ?? error));`;
      const child = Bun.spawn([process.execPath, "-e", code], {
        stdout: "pipe",
        stderr: "ignore",
        timeout: 4000,
      });
      const said = (await child.stdout.text()).trim();
      expect(outcome.split(" or ")).toContain(said);
      expect(await child.exited).toBe(0);
    },
    20_000,
  );
});
