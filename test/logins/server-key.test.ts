import { describe, expect, test } from "bun:test";
import { matchingKeys, serverAddress } from "../../src/logins/server-key.ts";
import { parseReference } from "../../src/oci/reference.ts";

const matching = (target: string, ...keys: string[]) => matchingKeys(keys, parseReference(target));

describe("a login file's key", () => {
  test.each<[key: string, target: string]>([
    ["registry.example.com", "registry.example.com/team/app"],
    ["Registry.Example.COM", "registry.example.com/team/app"],
    ["https://registry.example.com", "registry.example.com/team/app"],
    ["http://registry.example.com", "registry.example.com/team/app"],
    ["HTTPS://registry.example.com/", "registry.example.com/team/app"],
    ["https://registry.example.com/v1/", "registry.example.com/team/app"],
    ["https://registry.example.com/v2/", "registry.example.com/team/app"],
    ["registry.example.com/v2", "registry.example.com/team/app"],
    ["registry.example.com/", "registry.example.com/team/app"],
    ["registry.example.com:5000", "registry.example.com:5000/team/app"],
    ["http://127.0.0.1:5000", "127.0.0.1:5000/team/app"],
    ["[::1]:5000", "[::1]:5000/team/app"],
    ["registry.example.com/team", "registry.example.com/team/app"],
    ["registry.example.com/team/", "registry.example.com/team/app"],
    ["registry.example.com/team/app", "registry.example.com/team/app:v1"],
    ["https://index.docker.io/v1/", "docker.io/me/app"],
    ["https://index.docker.io/v1/", "docker.io/app"],
    ["https://index.docker.io/v1/", "index.docker.io/me/app"],
    ["https://index.docker.io/v1/", "registry-1.docker.io/me/app"],
    ["index.docker.io", "docker.io/me/app"],
    ["docker.io", "docker.io/me/app"],
    ["docker.io/me", "docker.io/me/app"],
    ["registry-1.docker.io", "docker.io/me/app"],
  ])("%s applies to %s", (key, target) => {
    expect(matching(target, "other.example", key, "registry.example")).toEqual([key]);
  });

  test.each<[key: string, target: string]>([
    ["registry.example.com", "registry.example.com:5000/app"],
    ["registry.example.com:5000", "registry.example.com/app"],
    ["registry.example.com:5000", "registry.example.com:5001/app"],
    ["example.com", "registry.example.com/app"],
    ["registry.example.com", "registry.example.com.evil.example/app"],
    ["registry.example.com/tea", "registry.example.com/team/app"],
    ["registry.example.com/team/app", "registry.example.com/team/apple"],
    ["registry.example.com/team/app/x", "registry.example.com/team/app"],
    ["registry.example.com/Team", "registry.example.com/team/app"],
    ["https://index.docker.io/v1/", "registry.example.com/docker.io/app"],
    ["", "registry.example.com/app"],
    ["https://", "registry.example.com/app"],
    ["/", "registry.example.com/app"],
  ])("%j does not apply to %s", (key, target) => {
    expect(matching(target, key)).toEqual([]);
  });

  test("for a longer part of the target comes first", () => {
    const keys = ["r.example", "r.example/a/b", "r.example/a", "r.example/a/b/c", "https://r.example"];
    expect(matching("r.example/a/b/c:v1", ...keys)).toEqual([
      "r.example/a/b/c",
      "r.example/a/b",
      "r.example/a",
      "r.example",
      "https://r.example",
    ]);
  });
});

test("a credential helper is asked for Docker Hub by Docker's name, and for other registries by their host", () => {
  expect(serverAddress(parseReference("docker.io/me/app"))).toBe("https://index.docker.io/v1/");
  expect(serverAddress(parseReference("localhost:5000/me/app"))).toBe("localhost:5000");
});
