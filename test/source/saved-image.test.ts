import { describe, expect, test } from "bun:test";
import { PushError } from "../../src/errors.ts";
import { type SavedImage, selectImage } from "../../src/source/select-image.ts";

function saved(describe: string, ...names: string[]): SavedImage {
  return { names, describe, load: () => Promise.reject(new Error("nobody asked for it")) };
}

const a = saved("sha256:a linux/amd64", "my/a:v1", "my/a:latest");
const b = saved("sha256:b linux/amd64", "my/b:v1");
const nameless = saved("sha256:c linux/arm64");

describe("selectImage picks", () => {
  const cases: [what: string, images: SavedImage[], wanted: string[], picked: SavedImage][] = [
    ["the only one, whatever it is called", [a], ["other:v1"], a],
    ["the only one without a name", [nameless], [], nameless],
    ["the one of the name", [a, b, nameless], ["my/b:v1"], b],
    ["the one of any of its names", [a, b], ["my/a:latest"], a],
    ["the one of any wanted name", [a, b], ["localhost:5000/my/b:v1", "my/b:v1"], b],
  ];
  test.each(cases)("%s", (_, images, wanted, picked) => {
    expect(selectImage(images, wanted, "archive")).toBe(picked);
  });
});

describe("selectImage refuses to guess", () => {
  const cases: [what: string, images: SavedImage[], wanted: string[]][] = [
    ["among other names", [a, b, nameless], ["my/c:v1"]],
    ["by a part of a name", [a, b], ["my/a"]],
    ["by another tag", [a, b], ["my/a:v2"]],
  ];
  test.each(cases)("%s, and lists the choices", (_, images, wanted) => {
    const error = refusalOf(images, wanted);
    expect(error.code).toBe("SOURCE_AMBIGUOUS");
    expect(error.message).toContain(`archive "x.tar" holds ${images.length} images`);
    for (const { names, describe } of images) {
      for (const name of names.length > 0 ? names : [describe]) expect(error.details.join()).toContain(name);
    }
    expect(error.hint).toBeString();
  });

  test("between two platforms of one name, and lists what tells them apart", () => {
    const error = refusalOf(
      [saved("sha256:a linux/amd64", "my/a:v1"), saved("sha256:b linux/arm64", "my/a:v1")],
      ["my/a:v1"],
    );
    expect(error.code).toBe("SOURCE_AMBIGUOUS");
    expect(error.details.join()).toContain("linux/amd64");
    expect(error.details.join()).toContain("linux/arm64");
    expect(error.message).not.toContain("none is named");
  });
});

test("selectImage refuses an empty list", () => {
  expect(refusalOf([], []).code).toBe("IMAGE_INVALID");
});

function refusalOf(images: readonly SavedImage[], wanted: readonly string[]): PushError {
  try {
    selectImage(images, wanted, `archive "x.tar"`);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error("expected a refusal, but it picked one");
}
