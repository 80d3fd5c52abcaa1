/** What is asked of a real `docker` command is in open-source.test.ts, by a process of its own. */
import { expect, test } from "bun:test";
import { nearestNames } from "../../src/source/engine/docker.ts";

const HAS = ["my/app:v1", "my/app:v2", "other:latest", "localhost:5000/my/app:v1", "postgres:16", "redis:7"];

test.each([
  ["my/ap:v1", "my/app:v1"],
  ["my/app:v3", "my/app:v1"],
  ["localhost:8787/my/app:v1", "localhost:5000/my/app:v1"],
  ["postgre:16", "postgres:16"],
  ["registry.example.com/redis:7", "redis:7"],
])("nearest to %s is %s", (wanted, nearest) => {
  expect(nearestNames(wanted, HAS)[0]).toBe(nearest);
});

test("three at most, all of them names that there are, and the list is left as it was", () => {
  const names = Object.freeze([...HAS]);
  const nearest = nearestNames("my/app:v1", names);
  expect(nearest).toHaveLength(3);
  for (const name of nearest) expect(HAS).toContain(name);
  expect(nearestNames("x", [])).toEqual([]);
  expect(nearestNames("x", ["y"])).toEqual(["y"]);
});
