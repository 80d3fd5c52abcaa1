import { expect, test } from "bun:test";
import type { IndexChild } from "../../src/oci/content.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { choiceFlags } from "../../src/source/choice-flags.ts";
import { selectPlatform } from "../../src/source/select-platform.ts";
import { rejection } from "../support/rejection.ts";

const MANIFEST = {
  mediaType: "application/vnd.oci.image.index.v1+json",
  digest: digestOf("{}"),
  bytes: Buffer.from("{}"),
};

const image = (seed: string, names: readonly string[], platform?: string) => ({
  names,
  digests: [digestOf(seed)],
  platform,
});

const flags = (...images: ReturnType<typeof image>[]) => images.map((each) => choiceFlags(each, images));

test("an image is chosen by its name, quoted for a shell where it must be", () => {
  expect(flags(image("a", ["my/app:v1", "other:v1"]), image("b", ["it's $HOME:v1"]))).toEqual([
    "--image my/app:v1",
    "--image 'it'\\''s $HOME:v1'",
  ]);
});

test("an image whose name another one has as well is chosen by the name that it has alone", () => {
  const images = [image("a", ["my/app:v1", "my/app:old"]), image("b", ["docker.io/my/app:v1", "my/app:new"])];
  expect(flags(...images)).toEqual(["--image my/app:old", "--image my/app:new"]);
});

test("images that differ in the platform are chosen by it", () => {
  const images = ["linux/amd64", "linux/arm64/v8"].map((platform) =>
    image(platform, ["my/app:v1"], platform),
  );
  expect(flags(...images)).toEqual(["--platform linux/amd64", "--platform linux/arm64/v8"]);
});

test("an image that nothing else tells apart is chosen by its digest", () => {
  const images = [
    image("a", ["my/app:v1"], "linux/arm64"),
    image("b", ["my/app:v1"], "linux/arm64"),
    image("c", []),
  ];
  expect(flags(...images)).toEqual(images.map(({ digests: [digest] }) => `--image ${digest}`));
});

test("an image whose name has control characters is chosen by its digest", () => {
  expect(flags(image("a", ["a\x1b[2J:v1"]), image("b", ["b:v1"]))[0]).toBe(`--image ${digestOf("a")}`);
});

test("an image without anything to choose it by has no flags", () => {
  const images = [1, 2].map(() => ({ names: ["my/app:v1"], digests: [], platform: undefined }));
  expect(images.map((each) => choiceFlags(each, images))).toEqual([undefined, undefined]);
});

test("an image without a platform in an incomplete index has no flag", async () => {
  const child = (platform: string | undefined, isThere: boolean): IndexChild => ({
    entry: {
      mediaType: undefined,
      digest: digestOf(`${platform}`),
      platform,
      isAttestation: false,
      about: undefined,
      annotations: {},
    },
    content: isThere ? { kind: "artifact", manifest: MANIFEST, blobs: [] } : undefined,
  });
  const children = [
    child("linux/mips", true),
    child(undefined, true),
    child("linux/s390x", true),
    child("linux/386", false),
  ];
  const index = { kind: "index", manifest: MANIFEST, children } as const;
  const choosing = async () => selectPlatform(index, { platforms: [], allPlatforms: false }, "archive");
  const error = await rejection(choosing());
  expect([error.code, error.hint]).toEqual([
    "SOURCE_AMBIGUOUS",
    "Choose one or more: --platform linux/mips, --platform linux/s390x",
  ]);
});
