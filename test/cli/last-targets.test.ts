/** The targets of the last pushes, in a file of the user. */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { chmod, chown, mkdir, readdir, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { readLastTargets, rememberTargets } from "../../src/cli/last-targets.ts";
import { formatReference, parseReference } from "../../src/oci/reference.ts";
import { canChown, posixOnly } from "../support/needs.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

let folder: Awaited<ReturnType<typeof temporaryFolder>>;
let count = 0;

beforeAll(async () => {
  folder = await temporaryFolder();
});
afterAll(() => folder[Symbol.asyncDispose]());

/** A state folder of its own. */
async function state() {
  count += 1;
  const XDG_STATE_HOME = join(folder.path, `state-${count}`);
  await mkdir(XDG_STATE_HOME);
  const env = { XDG_STATE_HOME };
  const file = join(XDG_STATE_HOME, "chunkpush", "targets.json");
  return {
    env,
    file,
    remember: (...targets: string[]) => rememberTargets(targets.map(parseReference), env),
    read: () => readLastTargets(env).map(formatReference),
    async write(text: string) {
      await mkdir(join(XDG_STATE_HOME, "chunkpush"), { recursive: true });
      await Bun.write(file, text);
    },
  };
}

test("The list of last targets has the newest first, each once, and keeps twenty", async () => {
  const { remember, read } = await state();
  for (let i = 0; i < 25; i++) await remember(`r.example.com/app:v${i}`);
  await remember("r.example.com/app:v20", "r.example.com/new:v1");
  expect(read()).toHaveLength(20);
  expect(read().slice(0, 3)).toEqual([
    "r.example.com/app:v20",
    "r.example.com/new:v1",
    "r.example.com/app:v24",
  ]);
});

test("The list of last targets keeps a scheme that the user wrote, and has no target without a tag", async () => {
  const { remember, file } = await state();
  await remember("http://r.example.com/app", `r.example.com/app@sha256:${"0".repeat(64)}`);
  expect(await Bun.file(file).json()).toEqual(["http://r.example.com/app:latest"]);
});

test.skipIf(!posixOnly())(
  "The list of last targets is a file of the user's alone, and replaced at once",
  async () => {
    const { remember, file } = await state();
    await remember("r.example.com/app:v1");
    await remember("r.example.com/app:v2");
    expect((await stat(file)).mode & 0o777).toBe(0o600);
    expect((await stat(join(file, ".."))).mode & 0o777).toBe(0o700);
    expect(await readdir(join(file, ".."))).toEqual(["targets.json"]);
  },
);

test.each([
  ["no JSON", "{"],
  ["no list", `{"0":"r.example.com/app:v1"}`],
  ["no texts", `[1,null,["r.example.com/app:v1"]]`],
  ["larger than any of ours", `["r.example.com/app:v1"]${" ".repeat(70_000)}`],
  ["empty", ""],
])("A list of last targets that is %s counts as none", async (_, text) => {
  const { write, read, remember } = await state();
  await write(text);
  expect(read()).toEqual([]);
  await remember("r.example.com/app:v1");
  expect(read()).toEqual(["r.example.com/app:v1"]);
});

test("The list of last targets leaves out what is no target, so that none has a password or an escape", async () => {
  const { write, read } = await state();
  await write(
    JSON.stringify([
      "me:secret@r.example.com/app:v1",
      "r.example.com/a\u001b[2J",
      "app",
      "r.example.com/app:v1",
    ]),
  );
  expect(read()).toEqual(["r.example.com/app:v1"]);
});

test.skipIf(!posixOnly())(
  "A list of last targets that is a link, or that all may write to, counts as none",
  async () => {
    const linked = await state();
    const other = await state();
    await other.write(`["evil.example.com/app:v1"]`);
    await mkdir(join(linked.file, ".."));
    await symlink(other.file, linked.file);
    expect(linked.read()).toEqual([]);
    await chmod(other.file, 0o666);
    expect(other.read()).toEqual([]);
  },
);

const hasOtherUsers = canChown();

test.skipIf(!hasOtherUsers)("A list of last targets of another user counts only under sudo", async () => {
  const other = await state();
  await other.write(`["r.example.com/app:v1"]`);
  await chown(other.file, 12345, 12345);
  expect(other.read()).toEqual([]);
  expect(readLastTargets({ ...other.env, SUDO_UID: "12345" })).toHaveLength(1);
});

test.skipIf(!hasOtherUsers)(
  "Root writes no list of last targets into the folder of another user",
  async () => {
    const { env, remember, file } = await state();
    await chown(env.XDG_STATE_HOME, 12345, 12345);
    await remember("r.example.com/app:v1");
    expect(await Bun.file(file).exists()).toBe(false);
  },
);
