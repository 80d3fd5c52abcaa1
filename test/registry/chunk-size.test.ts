import { describe, expect, test } from "bun:test";
import { chooseChunkSize, readChunkLimits, shrinkChunk } from "../../src/registry/upload/chunk-size.ts";

const NO_LIMITS = { minBytes: undefined, maxBytes: undefined };
const CLOUDFLARE = { minBytes: 5_242_880, maxBytes: 100_000_000 };

describe("the chunk size", () => {
  test.each([
    ["the minimum, where only that is known and is larger", undefined, { ...NO_LIMITS, minBytes: 2e8 }, 2e8],
    ["the user's wish", 20_000_000, CLOUDFLARE, 20_000_000],
    ["the user's wish above the default where the registry says nothing", 4e8, NO_LIMITS, 4e8],
    ["never more than the maximum, whatever the user wishes", 500_000_000, CLOUDFLARE, 100_000_000],
    ["never less than the minimum, whatever the user wishes", 1, CLOUDFLARE, 5_242_880],
  ])("is %s", (_, wish, limits, expected) => {
    expect(chooseChunkSize(3_000_000_000, wish, limits)).toBe(expected);
  });

  test("is a whole number of bytes that keeps an upload within 10,000 chunks", () => {
    const wish = 5_242_880;
    for (const blobBytes of [
      wish * 10_000,
      wish * 10_000 + 1,
      wish * 10_001,
      99_999_999_999,
      999_999_999_999,
    ]) {
      const size = chooseChunkSize(blobBytes, wish, CLOUDFLARE);
      expect(size).toBeInteger();
      expect(Math.ceil(blobBytes / size)).toBeLessThanOrEqual(10_000);
      expect(size).toBeLessThanOrEqual(CLOUDFLARE.maxBytes);
    }
    expect(chooseChunkSize(wish * 10_000, wish, CLOUDFLARE)).toBe(wish);
    expect(chooseChunkSize(wish * 10_000 + 1, wish, CLOUDFLARE)).toBe(wish + 1);
  });

  test.each([
    ["5 MiB on an unknown link", undefined, NO_LIMITS, 5 * 1024 * 1024],
    ["5 MiB on a slow one", 10_000, NO_LIMITS, 5 * 1024 * 1024],
    ["8 MiB where the link does not want more", 6_000_000, NO_LIMITS, 8 * 1024 * 1024],
    ["what a fast link takes in a second", 40_000_000, NO_LIMITS, 40_000_000],
    ["the minimum, where that is larger", 6_000_000, { ...NO_LIMITS, minBytes: 2e7 }, 2e7],
    ["never more than the maximum", 400_000_000, CLOUDFLARE, 100_000_000],
  ])("is %s while the blob grows", (_, bytesPerSecond, limits, expected) => {
    const size = chooseChunkSize(5 * 1024 ** 3, undefined, limits, undefined, bytesPerSecond, true);
    expect(size).toBe(expected);
  });

  const FIVE_MIB = 5 * 1024 * 1024;
  test.each([
    ["what a slow link takes in four seconds", 2e6, NO_LIMITS, 8_000_000],
    ["never less than 5 MiB on the slowest one", 10_000, NO_LIMITS, FIVE_MIB],
    ["less where the registry says that it takes less", 400_000, { ...NO_LIMITS, minBytes: 10 }, 1_600_000],
    ["never less than what can be timed", 10_000, { ...NO_LIMITS, minBytes: 10 }, 1024 * 1024],
    ["the registry's minimum, on the slowest one", 10_000, { ...NO_LIMITS, minBytes: 2e7 }, 2e7],
    ["Cloudflare's limit on a fast one, where the registry says nothing", 1e9, NO_LIMITS, 100_000_000],
    ["the registry's maximum on a fast one", 1e9, { ...NO_LIMITS, maxBytes: 4e8 }, 4e8],
    ["5 MiB on an unknown one", undefined, NO_LIMITS, FIVE_MIB],
    ["the registry's minimum on an unknown one", undefined, { ...NO_LIMITS, minBytes: 2e7 }, 2e7],
    ["the registry's maximum on an unknown one", undefined, { ...NO_LIMITS, maxBytes: 70_000 }, 70_000],
  ])("is %s", (_, bytesPerSecond, limits, expected) => {
    expect(chooseChunkSize(3_000_000_000, undefined, limits, undefined, bytesPerSecond)).toBe(expected);
  });

  test("is the user's wish, however slow the link is", () => {
    expect(chooseChunkSize(3e9, 50_000_000, CLOUDFLARE, undefined, 1000)).toBe(50_000_000);
  });

  test("keeps to 10,000 chunks and to what passed, however slow the link is", () => {
    expect(chooseChunkSize(300e9, undefined, NO_LIMITS, undefined, 1000)).toBe(30_000_000);
    expect(chooseChunkSize(3e9, undefined, NO_LIMITS, 300_000, 1e9)).toBe(300_000);
  });

  test("is no less than 64 KiB, whatever a note says of what passed", () => {
    expect(chooseChunkSize(3e9, undefined, NO_LIMITS, 1)).toBe(65_536);
  });

  test.each([
    ["smaller chunks than were wished", 20_000_001, 5_000_000, NO_LIMITS, 4_000_001],
    ["smaller chunks than the maximum", 200_000_001, undefined, CLOUDFLARE, 66_666_667],
    ["as few as one chunk more", 100_001_023, undefined, CLOUDFLARE, 50_000_512],
    ["larger chunks, at the registry's minimum", 10_485_761, 5_242_880, CLOUDFLARE, 5_242_881],
    ["what was wished, for a tail of 1 KiB", 20_001_024, 5_000_000, NO_LIMITS, 5_000_000],
    ["what was wished, without a tail", 20_000_000, 5_000_000, NO_LIMITS, 5_000_000],
  ])("leaves no tail below 1 KiB: %s", (_, blobBytes, wish, limits, expected) => {
    expect(chooseChunkSize(blobBytes, wish, limits, undefined, 1e9)).toBe(expected);
  });

  test("is left with a small tail where the registry allows one size alone", () => {
    const limits = { minBytes: 70_000, maxBytes: 70_000 };
    expect(chooseChunkSize(140_001, undefined, limits)).toBe(70_000);
  });

  test("is halved upwards, so that two chunks are enough", () => {
    expect(shrinkChunk(1_500_001)).toBe(750_001);
  });

  test("is not zero for an empty blob", () => {
    expect(chooseChunkSize(0, undefined, NO_LIMITS)).toBeGreaterThan(0);
  });
});

describe("the registry's limits", () => {
  test("are read from its headers", () => {
    const headers = new Headers({ "OCI-Chunk-Min-Length": "5242880", "OCI-Chunk-Max-Length": "100000000" });
    expect(readChunkLimits(headers)).toEqual(CLOUDFLARE);
  });

  test.each(["", "0", "-1", "1.5", "100MB", "1e9", "0x10", "99999999999999999999", "5242880, 5242880"])(
    "count as absent in %j",
    (value) => {
      const headers = new Headers({ "oci-chunk-min-length": value, "oci-chunk-max-length": value });
      expect(readChunkLimits(headers)).toEqual(NO_LIMITS);
    },
  );

  test.each([
    ["is above the maximum", "100000001", "100000000"],
    ["no part of any storage can have", "5368709121", null],
    ["no blob has", "999999999999999", null],
  ])("have no minimum that %s", (_, minBytes, maxBytes) => {
    const headers = new Headers({ "oci-chunk-min-length": minBytes });
    if (maxBytes !== null) headers.set("oci-chunk-max-length", maxBytes);
    expect(readChunkLimits(headers).minBytes).toBeUndefined();
  });

  test("may be absent", () => {
    expect(readChunkLimits(new Headers())).toEqual(NO_LIMITS);
  });
});
