/** What real engines do with it is in test/e2e/engine-push.test.ts. */
import { expect, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { isOwnName, portOf, unguessableName } from "../../src/source/engine/own-names.ts";
import { isEngineNear } from "../../src/source/engine/push.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** Asks a `docker` command of ours, which is this line of shell. */
async function isNear(line: string): Promise<boolean> {
  await using folder = await temporaryFolder();
  const command = join(folder.path, "docker");
  await Bun.write(command, `#!/bin/sh\n${line}\n`);
  await chmod(command, 0o755);
  const environment = { PATH: `${folder.path}:${process.env["PATH"]}` };
  return await isEngineNear({
    runtime: "docker",
    command: "docker",
    environment,
    signal: new AbortController().signal,
  });
}

test.each([
  ["unix:///var/run/docker.sock", true],
  ["npipe:////./pipe/docker_engine", true],
  ["ssh://me@build.example.com", false],
  ["tcp://127.0.0.1:2375", false],
  ["", false],
])("an engine at %j is reached through a local socket: %p", async (host, expected) => {
  expect(await isNear(`echo "${host}"`)).toBe(expected);
});

test("an engine whose command knows no contexts is not taken for a local one", async () => {
  expect(await isNear('echo "unix:///run/docker.sock"; exit 125')).toBe(false);
});

test("an image name that a push gave is recognized on every machine, and its port only on the machine that gave it", () => {
  const repository = unguessableName();
  const own = `127.0.0.1:5050/${repository}:v1`;
  const foreign = own.replace(/chunkpush-[0-9a-f]{8}/, "chunkpush-01234567");
  expect([own, foreign].map(isOwnName)).toEqual([true, true]);
  expect([own, foreign].map(portOf)).toEqual([5050, undefined]);
  expect(unguessableName()).not.toBe(repository);
});

test.each([
  "team/app:v1",
  "127.0.0.1:5050/team/app:v1",
  "127.0.0.1:5050/chunkpush-01234567/app:v1",
  `registry.example.com/chunkpush-01234567/${"0".repeat(32)}:v1`,
])("%s is not taken for a name that a push gave", (name) => {
  expect(isOwnName(name)).toBe(false);
  expect(portOf(name)).toBeUndefined();
});
