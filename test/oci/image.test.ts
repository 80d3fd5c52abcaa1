import { describe, expect, test } from "bun:test";
import type { Compression } from "../../src/oci/descriptor.ts";
import { digestOf, parseDiffId } from "../../src/oci/digest.ts";
import { assertLayerCount, detectCompression, parseImageConfig } from "../../src/oci/image.ts";

const DIFF_ID = `sha256:${"1".repeat(64)}`;

test("a config lists no more layers than any engine could run", () => {
  const parse = (count: number) =>
    parseImageConfig(
      new TextEncoder().encode(
        JSON.stringify({ rootfs: { diff_ids: Array(count).fill(`sha256:${"0".repeat(64)}`) } }),
      ),
      "config.json",
    );
  expect(parse(10_000).diffIds).toHaveLength(10_000);
  expect(() => parse(10_001)).toThrow("rootfs.diff_ids: it lists more than 10000 layers");
});

describe("detectCompression", () => {
  const gzip = Bun.gzipSync(new Uint8Array(10));
  const zstd = Bun.zstdCompressSync(new Uint8Array(10));
  const cases: [name: string, bytes: Uint8Array | number[], compression: Compression][] = [
    ["gzip", gzip, "gzip"],
    ["zstd", zstd, "zstd"],
    ["gzip's magic and no more", [0x1f, 0x8b], "gzip"],
    ["zstd's magic and no more", [0x28, 0xb5, 0x2f, 0xfd], "zstd"],
    ["nothing", [], "none"],
    ["half of gzip's magic", [0x1f], "none"],
    ["three quarters of zstd's magic", [0x28, 0xb5, 0x2f], "none"],
    ["gzip's magic turned around", [0x8b, 0x1f], "none"],
    ["gzip's magic one byte late", [0, 0x1f, 0x8b], "none"],
    ["zstd's magic with a wrong end", [0x28, 0xb5, 0x2f, 0xfe], "none"],
    ["bzip2", new TextEncoder().encode("BZh91AY"), "none"],
    ["xz", [0xfd, 0x37, 0x7a, 0x58, 0x5a, 0], "none"],
    ["an empty tar", new Uint8Array(1024), "none"],
  ];
  test.each(cases)("tells by the first bytes what %s is", async (_, bytes, compression) => {
    expect(await detectCompression(new Blob([new Uint8Array(bytes)]))).toBe(compression);
  });

  test("tells a piece of a blob by the first bytes of the piece", async () => {
    const blob = new Blob([new Uint8Array(100), new Uint8Array(gzip)]);
    expect(await detectCompression(blob)).toBe("none");
    expect(await detectCompression(blob.slice(100))).toBe("gzip");
  });
});

describe("parseImageConfig", () => {
  test("reads what a push needs, and keeps the bytes as they are", async () => {
    const bytes = json(
      `  {"os":"linux","architecture":"arm64","variant":"v8","author":"Zoë 🐢","unknown":{"a":[1]},
         "rootfs":{"type":"layers","diff_ids":["${DIFF_ID}","${DIFF_ID}"]}}\n`,
    );
    const { blob, diffIds, platform } = parseImageConfig(bytes, "config.json");
    expect(diffIds).toEqual([parseDiffId(DIFF_ID, ""), parseDiffId(DIFF_ID, "")]);
    expect(platform).toBe("linux/arm64/v8");
    expect(blob.descriptor).toEqual({
      mediaType: "application/vnd.oci.image.config.v1+json",
      digest: digestOf(bytes),
      size: bytes.length,
    });
    expect(await blob.content.bytes()).toEqual(bytes);
  });

  test("counts bytes, not characters", () => {
    const text = `{"author":"ä€🐢","rootfs":{}}`;
    const { descriptor } = parseImageConfig(json(text), "c").blob;
    expect(descriptor.size).toBe(text.length + 1 + 2 + 2);
  });

  const withoutLayers = [
    `{"rootfs":{"diff_ids":[]}}`,
    `{"rootfs":{"diff_ids":null}}`,
    `{"rootfs":{}}`,
    `{"rootfs":{"type":"layers"}}`,
  ];
  test.each(withoutLayers)("takes an image without layers: %s", (text) => {
    const { diffIds, platform } = parseImageConfig(json(text), "c");
    expect(diffIds).toEqual([]);
    expect(platform).toBeUndefined();
  });

  const invalid: [text: string, code: string, field: string][] = [
    ["", "IMAGE_INVALID", "not valid JSON"],
    ["{", "IMAGE_INVALID", "not valid JSON"],
    ["not json", "IMAGE_INVALID", "not valid JSON"],
    ["null", "IMAGE_INVALID", "the document"],
    ["[]", "IMAGE_INVALID", "the document"],
    ["{}", "IMAGE_INVALID", "rootfs"],
    [`{"rootfs":null}`, "IMAGE_INVALID", "rootfs"],
    [`{"rootfs":[]}`, "IMAGE_INVALID", "rootfs"],
    [`{"rootfs":{"diff_ids":"${DIFF_ID}"}}`, "IMAGE_INVALID", "rootfs.diff_ids"],
    [`{"rootfs":{"diff_ids":["${DIFF_ID}",7]}}`, "IMAGE_INVALID", "rootfs.diff_ids.1"],
    [`{"rootfs":{"diff_ids":[null]}}`, "IMAGE_INVALID", "rootfs.diff_ids.0"],
    [`{"os":1,"rootfs":{}}`, "IMAGE_INVALID", "os"],
    [`{"architecture":{},"rootfs":{}}`, "IMAGE_INVALID", "architecture"],
    [`{"rootfs":{"diff_ids":["latest"]}}`, "IMAGE_INVALID", "rootfs.diff_ids"],
  ];
  test.each(invalid)("refuses %s, naming file and field", (text, code, field) => {
    expect(() => parseImageConfig(json(text), `"c.json" in the archive "x.tar"`)).toThrow(
      expect.objectContaining({ code, message: expect.stringContaining(`"c.json" in the archive "x.tar"`) }),
    );
    expect(() => parseImageConfig(json(text), "c")).toThrow(field);
  });

  test("refuses what is not UTF-8", () => {
    const bytes = new Uint8Array([...json(`{"author":"`), 0xff, 0xfe, ...json(`","rootfs":{}}`)]);
    expect(() => parseImageConfig(bytes, "c")).toThrow("not valid JSON");
  });
});

describe("assertLayerCount", () => {
  const diffId = parseDiffId(DIFF_ID, "");
  test("takes as many diffIDs as layers", () => {
    assertLayerCount([], [], "x");
    assertLayerCount([diffId, diffId], [1, 2], "x");
  });

  test.each([
    [1, 0],
    [0, 1],
    [2, 3],
  ])("refuses %d diffIDs with %d layers", (diffIds, layers) => {
    expect(() => assertLayerCount(Array(diffIds).fill(diffId), Array(layers).fill(1), "the file")).toThrow(
      expect.objectContaining({
        code: "IMAGE_INVALID",
        message: expect.stringMatching(new RegExp(`the file.* ${layers} layers.* ${diffIds}\\.`)),
      }),
    );
  });
});

function json(text: string): Uint8Array<ArrayBuffer> {
  return new TextEncoder().encode(text);
}
