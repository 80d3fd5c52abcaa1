import { describe, expect, test } from "bun:test";
import {
  asDiffId,
  digestHasher,
  digestOf,
  hexOf,
  parseDiffId,
  parseDigest,
  shortDigest,
} from "../../src/oci/digest.ts";

const EMPTY = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const ABC = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";

describe("parseDigest and parseDiffId", () => {
  test("take a sha256", () => {
    expect(String(parseDigest(EMPTY, "x"))).toBe(EMPTY);
    expect(String(parseDiffId(EMPTY, "x"))).toBe(EMPTY);
  });

  const hex = "0".repeat(64);
  const invalid = [
    "",
    hex,
    "sha256:",
    `sha256:${hex.slice(1)}`,
    `sha256:${hex}0`,
    `sha256:${"A".repeat(64)}`,
    `sha256:${"g".repeat(64)}`,
    `SHA256:${hex}`,
    `sha512:${hex}${hex}`,
    ` sha256:${hex}`,
    `sha256:${hex}\n`,
    `sha256:${hex}/../../etc/passwd`,
    `sha256:../../${hex.slice(6)}`,
    "__proto__",
  ];
  test.each(invalid)("refuse %j, naming the document", (text) => {
    for (const parse of [parseDigest, parseDiffId]) {
      expect(() => parse(text, "the document")).toThrow(
        expect.objectContaining({
          code: "IMAGE_INVALID",
          message: expect.stringContaining("Cannot read the document"),
        }),
      );
    }
  });

  test("quote only the beginning of a long text", () => {
    let message = "";
    try {
      parseDigest("x".repeat(1_000_000), "the document");
    } catch (error) {
      message = String(error);
    }
    expect(message).toContain("xxx");
    expect(message.length).toBeLessThan(300);
  });
});

test("hexOf and shortForm cut a digest down to its hex and to what people read", () => {
  expect(hexOf(parseDigest(ABC, ""))).toBe(ABC.slice(7));
  expect(shortDigest(parseDigest(ABC, ""))).toBe("sha256:ba7816bf8f01");
});

test("digestOf and digestHasher agree with published values, however the bytes are cut", () => {
  const bytes = new TextEncoder().encode("abc");
  expect(String(digestOf(new Uint8Array()))).toBe(EMPTY);
  expect(String(digestOf(bytes))).toBe(ABC);
  for (const cut of [0, 1, 2, 3]) {
    const hasher = digestHasher();
    hasher.update(bytes.subarray(0, cut));
    hasher.update(bytes.subarray(cut));
    expect(String(hasher.digest())).toBe(ABC);
  }
});

test("digestOf hashes a view, not the buffer behind it", () => {
  const buffer = new TextEncoder().encode("xxabcxx");
  expect(String(digestOf(buffer.subarray(2, 5)))).toBe(ABC);
});

test("asDiffId makes a layer's diffID of the digest of its raw bytes", () => {
  const digest = digestOf(new TextEncoder().encode("abc"));
  expect(asDiffId(digest)).toBe(parseDiffId(ABC, ""));
  expect(asDiffId(digest)).not.toBe(parseDiffId(EMPTY, ""));
});
