import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { type Candidate, type ImageChoice, selectImage } from "../../src/source/select-image.ts";
import { rejection } from "../support/rejection.ts";

function saved(id: string, platform: string | undefined, ...names: string[]): Candidate {
  return {
    names,
    digests: [digestOf(id)],
    platform,
    read: () => Promise.reject(new Error("nobody asked for it")),
  };
}

const a = saved("a", undefined, "my/a:v1", "my/a:latest");
const b = saved("b", undefined, "my/b:v1");
const nameless = saved("c", "linux/arm64");
const amd = saved("d", "linux/amd64", "my/a:v1");
const arm = saved("e", "linux/arm64", "my/a:v1");

function select(candidates: readonly Candidate[], choice: Partial<ImageChoice> = {}) {
  const all = { image: undefined, targets: [], platforms: [], choose: undefined, ...choice };
  return selectImage(candidates, all, `archive "x.tar"`);
}

describe("selectImage", () => {
  const cases: [what: string, images: Candidate[], choice: Partial<ImageChoice>, picked: Candidate][] = [
    ["the only one, whatever it is called", [a], { targets: ["other:v1"] }, a],
    ["the only one without a name", [nameless], {}, nameless],
    ["the one that is named like the target", [a, b, nameless], { targets: ["my/b:v1"] }, b],
    ["the one of any of its names", [a, b], { targets: ["my/a:latest"] }, a],
    ["the one of any target, at whatever registry", [a, b], { targets: ["localhost:5000/my/b:v1"] }, b],
    ["the one that is asked for, before the target's", [a, b], { image: "my/b:v1", targets: ["my/a:v1"] }, b],
    ["the one of a digest", [a, b, nameless], { image: digestOf("c") }, nameless],
    [
      "one of two names by its platform",
      [amd, arm],
      { targets: ["my/a:v1"], platforms: ["linux/arm64"] },
      arm,
    ],
    ["the one that is chosen", [a, b], { choose: async () => 1 }, b],
  ];
  test.each(cases)("picks %s", async (_, images, choice, picked) => {
    expect(await select(images, choice)).toBe(picked);
  });
});

test("selectImage offers those alone that may be meant, and nothing if one is clear", async () => {
  const asked: (readonly string[])[] = [];
  const choose = async (choices: readonly string[]) => {
    asked.push(choices);
    return 0;
  };
  expect(await select([a, b, amd], { targets: ["my/a:v1"], choose })).toBe(a);
  expect(asked).toEqual([
    [`my/a:v1, my/a:latest  ${digestOf("a")}`, `my/a:v1  ${digestOf("d")}  linux/amd64`],
  ]);
  expect(await select([a, b], { targets: ["my/b:v1"], choose })).toBe(b);
  expect(asked).toHaveLength(1);
});

describe("selectImage refuses to guess", () => {
  const cases: [what: string, images: Candidate[], choice: Partial<ImageChoice>][] = [
    ["among other names", [a, b, nameless], { targets: ["my/c:v1"] }],
    ["by a part of a name", [a, b], { targets: ["my/app"] }],
    ["by another tag", [a, b], { targets: ["my/a:v2"] }],
    ["between two platforms of one name", [amd, arm], { targets: ["my/a:v1"] }],
    ["if no platform fits", [amd, arm], { targets: ["my/a:v1"], platforms: ["linux/s390x"] }],
    ["if nobody chooses", [a, b], { choose: async () => undefined }],
    ["if what is chosen is not there", [a, b], { choose: async () => 2 }],
  ];
  test.each(cases)(
    "for an image that is named %s, and lists the choices and the flag",
    async (_, images, choice) => {
      const error = await rejection(select(images, choice));
      expect(error.code).toBe("SOURCE_AMBIGUOUS");
      expect(error.message).toContain(`archive "x.tar" has ${images.length} images`);
      for (const { names, digests, platform = "" } of images)
        for (const each of [...names, ...digests, platform]) expect(error.details.join()).toContain(each);
      expect(error.hint).toMatch(/--(image|platform) \S/);
    },
  );
});

test("selectImage lists what there is if the wanted image is not", async () => {
  const error = await rejection(select([a, b], { image: "my/c:v1" }));
  expect([error.code, error.details.length]).toEqual(["IMAGE_NOT_FOUND", 2]);
});

test("selectImage does not take the only image for another one that was asked for", async () => {
  expect((await rejection(select([a], { image: "my/b:v1" }))).code).toBe("IMAGE_NOT_FOUND");
});

test("selectImage refuses an empty list", async () => {
  expect((await rejection(select([]))).code).toBe("IMAGE_INVALID");
});
