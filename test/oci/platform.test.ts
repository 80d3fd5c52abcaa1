import { describe, expect, test } from "bun:test";
import { PushError } from "../../src/errors.ts";
import { canonicalPlatform, ofPlatform } from "../../src/oci/platform.ts";

describe("canonicalPlatform writes a platform as containerd does", () => {
  const names: [text: string, canonical: string][] = [
    ["linux/amd64", "linux/amd64"],
    ["linux/amd64/v1", "linux/amd64"],
    ["linux/amd64/v3", "linux/amd64/v3"],
    ["Linux/AMD64", "linux/amd64"],
    ["linux/x86_64", "linux/amd64"],
    ["linux/x86-64", "linux/amd64"],
    ["linux/i386", "linux/386"],
    ["linux/arm64", "linux/arm64"],
    ["linux/arm64/v8", "linux/arm64"],
    ["linux/arm64/8", "linux/arm64"],
    ["linux/arm64/v9", "linux/arm64/v9"],
    ["linux/aarch64", "linux/arm64"],
    ["linux/arm", "linux/arm/v7"],
    ["linux/arm/7", "linux/arm/v7"],
    ["linux/arm/v6", "linux/arm/v6"],
    ["linux/armhf", "linux/arm/v7"],
    ["linux/armel", "linux/arm/v6"],
    ["linux/riscv64", "linux/riscv64"],
    ["wasi/wasm", "wasi/wasm"],
    ["macos/arm64", "darwin/arm64"],
    ["windows/amd64", "windows/amd64"],
    ["windows(10.0.17763)/amd64", "windows(10.0.17763)/amd64"],
    // An architecture alone: images are for Linux.
    ["arm64", "linux/arm64"],
    ["x86_64", "linux/amd64"],
    ["s390x", "linux/s390x"],
  ];
  test.each(names)("%s becomes %s", (text, canonical) => {
    expect(canonicalPlatform(text)).toBe(canonical);
    expect(canonicalPlatform(canonical)).toBe(canonical);
  });

  const invalid = [
    "",
    "/",
    "linux",
    "windows",
    "linux/",
    "/arm64",
    "linux/arm/v7/x",
    "linux/a rm",
    "linux/*",
  ];
  test.each([...invalid, "linux(/arm64", "amd64:v1", "linux/arm64\n", "frobnitz"])(
    "%j is no platform, and the error shows how to write one",
    (text) => {
      let error: unknown;
      try {
        canonicalPlatform(text);
      } catch (caught) {
        error = caught;
      }
      expect(error).toBeInstanceOf(PushError);
      const { code, hint } = error as PushError;
      expect([code, hint]).toEqual(["USAGE", expect.stringContaining("linux/arm64")]);
    },
  );
});

describe("ofPlatform", () => {
  const find = (wanted: string, ...platforms: (string | undefined)[]) =>
    ofPlatform(
      platforms.map((platform) => ({ platform })),
      wanted,
    ).map(({ platform }) => platform);

  test("finds a platform whichever way the index writes it", () => {
    expect(find("linux/arm64", "linux/amd64", "linux/arm64/v8")).toEqual(["linux/arm64/v8"]);
    expect(find("linux/arm64/v8", "linux/amd64", "linux/arm64")).toEqual(["linux/arm64"]);
    expect(find("arm", "linux/arm/v5", "linux/arm/v7")).toEqual(["linux/arm/v7"]);
    expect(find("linux/arm/v7", "linux/arm")).toEqual(["linux/arm"]);
  });

  test("takes no lower variant for the wanted one, as docker push does not", () => {
    expect(find("linux/arm/v7", "linux/arm/v6", "linux/arm/v5")).toEqual([]);
    expect(find("linux/amd64/v3", "linux/amd64")).toEqual([]);
    expect(find("linux/amd64", "linux/386", "linux/amd64/v2")).toEqual([]);
  });

  test("prefers the entry that is written as it was asked for", () => {
    expect(find("linux/arm64", "linux/arm64/v8", "linux/arm64")).toEqual(["linux/arm64"]);
    expect(find("linux/arm64/v8", "linux/arm64/v8", "linux/arm64")).toEqual(["linux/arm64/v8"]);
  });

  test("returns all entries that fit equally well", () => {
    expect(find("linux/amd64", "linux/amd64", "linux/amd64")).toHaveLength(2);
  });

  test("finds the builds of a Windows version, and every version where none is asked for", () => {
    const versions = ["windows(10.0.17763.2061)/amd64", "windows(10.0.20348.169)/amd64"];
    expect(find("windows(10.0.17763)/amd64", ...versions)).toEqual(versions.slice(0, 1));
    expect(find("windows/amd64", ...versions)).toEqual(versions);
    expect(find("windows(10.0.1)/amd64", ...versions)).toEqual([]);
    expect(find("windows(10.0.17763)/amd64", "windows/amd64")).toEqual([]);
  });

  test("skips entries without a platform, and those whose platform nobody can read", () => {
    expect(find("linux/amd64", undefined, "linux", "a/b/c/d", "", "linux/amd64")).toEqual(["linux/amd64"]);
  });
});
