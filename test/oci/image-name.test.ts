import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { bestNamed, isNamedOtherwise } from "../../src/oci/image-name.ts";

const TARGET = "registry.example.com/my/app:v1";
const DIGEST = digestOf("an image");
const OTHER = digestOf("another image");

/** The names of the images that fit best, each an image of its own. */
function best(wanted: string | readonly string[], ...names: readonly string[]): string[] {
  const images = names.map((name) => ({ names: [name], digests: [digestOf(name)] }));
  return bestNamed(images, [wanted].flat()).flatMap((image) => image.names);
}

describe("a name means the target", () => {
  const same: [wanted: string, name: string, writer: string][] = [
    [TARGET, "registry.example.com/my/app:v1", "every engine, after docker tag"],
    [TARGET, "my/app:v1", "docker"],
    [TARGET, "localhost/my/app:v1", "podman"],
    [TARGET, "docker.io/my/app:v1", "containerd"],
    [TARGET, "index.docker.io/my/app:v1", "an old Docker"],
    [TARGET, "v1", "skopeo, umoci"],
    [TARGET, "Registry.Example.COM/my/app:v1", "a hand"],
    [TARGET, `docker.io/my/app:v1@${DIGEST}`, "containerd"],
    ["localhost:5000/my/app:v1", "localhost:5000/my/app:v1", "docker"],
    ["localhost:5000/my/app:v1", "localhost/my/app:v1", "podman"],
    ["registry.example.com/my/app:latest", "my/app", "buildah"],
    ["registry.example.com/nginx:latest", "nginx:latest", "docker"],
    ["registry.example.com/nginx:latest", "docker.io/library/nginx:latest", "containerd"],
    ["registry.example.com/nginx:latest", "nginx", "skopeo's oci:folder:nginx"],
    ["registry.example.com/library/nginx:latest", "nginx:latest", "docker"],
    ["docker.io/library/nginx:latest", "nginx:latest", "docker"],
    ["docker.io/library/nginx:latest", "localhost/nginx:latest", "podman"],
    ["docker.io/library/nginx:latest", "docker.io/library/nginx:latest", "podman"],
    [`registry.example.com/my/app@${DIGEST}`, "my/app:v1", "docker"],
    [`registry.example.com/my/app@${DIGEST}`, `docker.io/my/app@${DIGEST}`, "containerd"],
    [`registry.example.com/my/app:v1@${DIGEST}`, "my/app:v1", "docker"],
  ];
  test.each(same)("%s is meant by %s, written by %s", (wanted, name) => {
    expect(best(wanted, name)).toEqual([name]);
    expect(isNamedOtherwise([name], [wanted])).toBe(false);
  });
});

describe("a name does not mean the target", () => {
  const different: [wanted: string, name: string][] = [
    [TARGET, "my/app:v2"],
    [TARGET, "my/app"],
    [TARGET, "my/app:latest"],
    [TARGET, "app:v1"],
    [TARGET, "other/app:v1"],
    [TARGET, "localhost/app:v1"],
    [TARGET, "library/my/app:v1"],
    [TARGET, "v2"],
    [TARGET, "V1"],
    [TARGET, "app"],
    [TARGET, `docker.io/my/app@${DIGEST}`],
    [TARGET, ""],
    [TARGET, ":v1"],
    [TARGET, "/my/app:v1"],
    [TARGET, "my/app:v1/"],
    [TARGET, "My/App:v1"],
    ["registry.example.com/nginx:latest", "registry.example.com/library/nginx:latest"],
    ["docker.io/library/nginx:latest", "docker.io/me/nginx:latest"],
    [`registry.example.com/my/app@${DIGEST}`, `docker.io/my/app@${OTHER}`],
    [`registry.example.com/my/app:v1@${DIGEST}`, "my/app:v2"],
  ];
  test.each(different)("%s is not meant by %j", (wanted, name) => {
    expect(best(wanted, name)).toEqual([]);
    expect(isNamedOtherwise([name], [wanted])).toBe(true);
  });
});

describe("bestNamed", () => {
  test("prefers the full name, then one without a registry, then one of another registry, then a bare tag", () => {
    const names = ["v1", "ghcr.io/my/app:v1", "localhost/my/app:v1", TARGET];
    for (let left = names.length; left > 0; left--)
      expect(best(TARGET, ...names.slice(0, left))).toEqual([names[left - 1] as string]);
  });

  test("returns all that fit equally well: podman's and docker's name of one repository may be two images", () => {
    expect(best(TARGET, "localhost/my/app:v1", "my/app:v1", "v1")).toEqual([
      "localhost/my/app:v1",
      "my/app:v1",
    ]);
  });

  test("returns an image once that has several names, or that is listed several times", () => {
    const image = { names: ["my/app:v1", "localhost/my/app:v1"], digests: [DIGEST] };
    expect(bestNamed([image, { ...image }, { names: ["v1"], digests: [OTHER] }], [TARGET])).toEqual([image]);
  });

  test("keeps images apart whose digest nobody knows", () => {
    const images = [1, 2].map(() => ({ names: ["my/app:v1"], digests: [] }));
    expect(bestNamed(images, [TARGET])).toHaveLength(2);
  });

  test("finds an image by each of its digests, before any name", () => {
    const images = [
      { names: [TARGET], digests: [OTHER] },
      { names: ["other:v2"], digests: [digestOf("a manifest"), DIGEST] },
    ];
    for (const wanted of [DIGEST, `registry.example.com/my/app@${DIGEST}`, `${TARGET}@${DIGEST}`])
      expect(bestNamed(images, [wanted])).toEqual(images.slice(1));
    expect(bestNamed(images, [digestOf("neither")])).toEqual([]);
  });

  test("finds an image that fits any of several targets", () => {
    const targets = ["registry.example.com/my/app:latest", TARGET];
    expect(best(targets, "my/app:v0", "my/app:v1")).toEqual(["my/app:v1"]);
    expect(isNamedOtherwise(["my/app:v1"], targets)).toBe(false);
  });

  test("takes a name that a user writes without the registry, the tag latest, or all but the tag", () => {
    expect(best("my/app:v1", "ghcr.io/my/app:v1", "ghcr.io/my/app:v2")).toEqual(["ghcr.io/my/app:v1"]);
    expect(best("my/app", "my/app:v1", "docker.io/my/app:latest")).toEqual(["docker.io/my/app:latest"]);
    expect(best("nginx", "my/nginx:v1", "docker.io/library/nginx:latest")).toEqual([
      "docker.io/library/nginx:latest",
    ]);
    expect(best("v2", "my/app:v1", "my/app:v2")).toEqual(["my/app:v2"]);
    expect(best("v1", "my/app:v1", "v1")).toEqual(["v1"]);
  });

  test("finds an image by the text of a name that is none in any engine", () => {
    expect(best("My App, 1.0+2", "my app, 1.0+2", "My App, 1.0+2")).toEqual(["My App, 1.0+2"]);
  });
});

describe("isNamedOtherwise", () => {
  test("is false for an image without a name", () => {
    expect(isNamedOtherwise([], [TARGET])).toBe(false);
  });

  test("is false where one of several names fits", () => {
    expect(isNamedOtherwise(["other:v1", "my/app:v1"], [TARGET])).toBe(false);
    expect(isNamedOtherwise(["other:v1", "my/app:v2"], [TARGET])).toBe(true);
  });

  test("is true for an image of the same name at another registry", () => {
    expect(isNamedOtherwise(["staging.example.com/my/app:v1"], [TARGET])).toBe(true);
  });
});

test("A name with a registry that a user gives means no image of another registry", () => {
  const image = { names: ["ghcr.io/my/app:v1"], digests: ["sha256:a"] };
  expect(bestNamed([image], ["quay.io/my/app:v1"])).toEqual([image]);
  expect(bestNamed([image], ["quay.io/my/app:v1"], { isExact: true })).toEqual([]);
  expect(bestNamed([image], ["my/app:v1"], { isExact: true })).toEqual([image]);
});
