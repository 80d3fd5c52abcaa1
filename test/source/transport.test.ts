import { describe, expect, test } from "bun:test";
import { parseSource, type SourcePlace } from "../../src/source/transport.ts";
import { rejection } from "../support/rejection.ts";

const path = (of: string, image?: string): SourcePlace => ({ kind: "path", path: of, image });
const DIGEST = `sha256:${"a".repeat(64)}`;

describe("a source", () => {
  test.each<[string, SourcePlace]>([
    ["-", { kind: "stream" }],
    ["docker://ghcr.io/x/y:v1", { kind: "registry", reference: "ghcr.io/x/y:v1" }],
    [`docker://localhost:5000/x@${DIGEST}`, { kind: "registry", reference: `localhost:5000/x@${DIGEST}` }],
    ["docker-daemon:my/app:v1", { kind: "engine", runtime: "docker", name: "my/app:v1" }],
    [`docker-daemon:${DIGEST}`, { kind: "engine", runtime: "docker", name: DIGEST }],
    [
      "containers-storage:localhost/my/app:v1",
      { kind: "engine", runtime: "podman", name: "localhost/my/app:v1" },
    ],
    ["containers-storage:@0123456789ab", { kind: "engine", runtime: "podman", name: "0123456789ab" }],
    ["docker-archive:image.tar", path("image.tar")],
    [
      "docker-archive:/a b/image.tar:registry.example.com:5000/my/app:v1",
      path("/a b/image.tar", "registry.example.com:5000/my/app:v1"),
    ],
    ["oci-archive:image.tar:v1", path("image.tar", "v1")],
    ["oci:folder:v1", path("folder", "v1")],
    ["oci:folder:", path("folder")],
    [`oci:folder:@0`, path("folder", "@0")],
    ["oci:C:\\images\\x:v1", path("C:\\images\\x", "v1")],
    ["oci:C:/images/x", path("C:/images/x")],
    ["dir:folder", path("folder")],
    ["dir:folder:with:colons", path("folder:with:colons")],
  ])("%s says where an image is, in skopeo's words", (text, expected) => {
    expect(parseSource(text)).toEqual(expected);
  });

  test.each([
    "my/app:v1",
    "docker:24",
    "docker-daemon",
    "output.tar",
    "./oci:v1",
    "../dir:x",
    "/oci:v1",
    "C:\\image.tar",
    "localhost:5000/my/app:v1",
    "OCI:folder",
    "constructor:x",
    "./-",
    "--",
    "",
  ])("%j is a path or an image's name", (text) => {
    expect(parseSource(text)).toEqual({ kind: "any", text });
  });

  test.each([
    "docker://",
    "docker-daemon:",
    "containers-storage:",
    "containers-storage:@",
    "docker-archive:",
    "docker-archive::v1",
    "oci::",
    "oci-archive:",
    "dir:",
    "containers-storage:[overlay@/var/lib/containers/storage]my/app:v1",
  ])("%s is refused, because a part is missing or means another store", async (text) => {
    expect((await rejection((async () => parseSource(text))())).code).toBe("USAGE");
  });
});
