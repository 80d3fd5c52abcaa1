/** Rootless Podman's storage, with a stand-in for the command alone. A real one is read in test/e2e/rootless-podman.test.ts. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { digestOf } from "../../src/oci/digest.ts";
import { openUnshared } from "../../src/source/storage/unshared.ts";
import { runWell } from "../support/command.ts";
import { rejection } from "../support/rejection.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

const DIFF_ID = digestOf("layer");
const CONFIG = '{"architecture":"amd64","os":"linux"}';
const ID = digestOf(CONFIG);
const ANSWER = JSON.stringify({
  config: Buffer.from(CONFIG).toString("base64"),
  layers: [
    { diffId: DIFF_ID, name: "first", size: 5 },
    { diffId: DIFF_ID, name: "empty", size: 0 },
  ],
});

let folder: TemporaryFolder;
beforeEach(async () => {
  folder = await temporaryFolder();
});
afterEach(() => folder[Symbol.asyncDispose]());

/** @param reader what runs in place of `podman unshare`, as a script of sh */
async function open(reader: string, signal = new AbortController().signal) {
  const store = { graphRoot: "/nowhere", graphDriverName: "overlay" };
  const script = `#!/bin/sh
case $1 in
info) echo '${JSON.stringify({ store })}' ;;
unshare) env >'${folder.path}/env'; pwd >'${folder.path}/pwd'; echo "$$" >>'${folder.path}/pids'; ${reader} ;;
esac
`;
  await Bun.write(join(folder.path, "podman"), script);
  await chmod(join(folder.path, "podman"), 0o755);
  const environment = {
    PATH: `${folder.path}:${process.env["PATH"]}`,
    REGISTRY_JWT_TOKEN: "secret",
    CHUNKPUSH_HEADERS: "secret",
  };
  const engine = { runtime: "podman", command: "podman", environment, signal } as const;
  return openUnshared(ID, engine, ["the-reader"]);
}

const opening = `read question && echo "$question" >'QUESTION' && echo '${ANSWER}'`;
const inFolder = (script: string) => script.replaceAll("QUESTION", join(folder.path, "question"));
const readText = (name: string) => Bun.file(join(folder.path, name)).text();
const readAll = async (pieces: AsyncIterable<Uint8Array>) =>
  Buffer.concat(await Array.fromAsync(pieces)).toString();

describe.skipIf(process.platform === "win32")("rootless Podman's storage", () => {
  const { signal } = new AbortController();

  test("is read by one process for all layers, as often as wanted", async () => {
    await using image = await open(inFolder(`${opening}; while read n; do [ $n = 0 ] && printf hello; done`));
    expect(image.config).toEqual(new TextEncoder().encode(CONFIG));
    expect(image.layers.map(({ name, size }) => [name, size])).toEqual([
      ["first", 5],
      ["empty", 0],
    ]);
    const [first, empty] = image.layers;
    if (first === undefined || empty === undefined) throw new Error("It lacks layers.");
    for (let times = 0; times < 2; times++) expect(await readAll(first.read(signal))).toBe("hello");
    expect(await readAll(empty.read(signal))).toBe("");
    expect((await readText("pids")).trim().split("\n")).toHaveLength(1);
    expect(JSON.parse(await readText("question"))).toMatchObject({ id: ID, root: "/nowhere" });
  });

  test("is read by more processes for layers at the same time", async () => {
    await using image = await open(inFolder(`${opening}; while read n; do printf hello; done`));
    const [layer] = image.layers;
    if (layer === undefined) throw new Error("It lacks layers.");
    expect(await Promise.all([readAll(layer.read(signal)), readAll(layer.read(signal))])).toEqual([
      "hello",
      "hello",
    ]);
    expect((await readText("pids")).trim().split("\n")).toHaveLength(2);
  });

  test("is read without a secret in the environment, and where no working folder decides anything", async () => {
    await using _image = await open(inFolder(`${opening}; cat >/dev/null`));
    expect(await readText("env")).not.toContain("secret");
    expect(await readText("pwd")).toBe("/\n");
  });

  test("is left by its processes when it is closed, and when a reader of a layer stops", async () => {
    await using image = await open(inFolder(`${opening}; while read n; do printf hell; done`));
    for await (const _piece of image.layers[0]?.read(signal) ?? []) break;
    await image[Symbol.asyncDispose]();
    for (const pid of (await readText("pids")).trim().split("\n"))
      expect(() => process.kill(Number(pid), 0)).toThrow("ESRCH");
  });

  test.each([
    ["says why", 'echo warning >&2; echo "Error: no newuidmap" >&2; exit 125', "no newuidmap"],
    ["says it in other words", 'echo "strange" >&2; exit 1', "strange"],
    ["says nothing", "exit 7", "it exited with code 7"],
    ["ends well without an answer", "exit 0", "it exited with code 0"],
  ])("cannot be opened where the command %s", async (_, script, why) => {
    const error = await rejection(open(script));
    expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining(why)]);
  });

  test.each([
    ["no JSON", "echo no"],
    ["a layer of no size", `echo '{"config":"","layers":[{"diffId":"x","name":"y","size":"5"}]}'`],
  ])("is refused where what answers is %s", async (_, script) => {
    expect((await rejection(open(`${script}; cat >/dev/null`))).code).toBe("IMAGE_INVALID");
  });

  test("is refused where the config is another", async () => {
    const script = `echo '${ANSWER.replace(/"config":"[^"]+"/, '"config":"e30="')}'; cat >/dev/null`;
    expect((await rejection(open(script))).code).toBe("CONTENT_MISMATCH");
  });

  test("is an error where its reader ends in a layer", async () => {
    await using image = await open(
      inFolder(`${opening}; read n; printf hell; echo "Error: file gone" >&2; exit 1`),
    );
    const error = await rejection(Array.fromAsync(image.layers[0]?.read(signal) ?? []));
    expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining("file gone")]);
    expect(error.hint).toBeString();
  });

  test("ends with its signal, while it is opened and while it is read", async () => {
    const stop = new AbortController();
    const image = await open(inFolder(`${opening}; read n; printf hell; exec sleep 60`), stop.signal);
    const pieces = image.layers[0]?.read(stop.signal);
    await pieces?.next();
    const next = pieces?.next();
    stop.abort(new Error("stopped"));
    await expect(next).rejects.toThrow("stopped");
    await image[Symbol.asyncDispose]();
    const hanging = new AbortController();
    const fifo = join(folder.path, "fifo");
    await runWell(["mkfifo", fifo]);
    const waiting = open(`echo started >'${fifo}'; exec sleep 60`, hanging.signal);
    await runWell(["cat", fifo]);
    hanging.abort(new Error("stopped early"));
    await expect(waiting).rejects.toThrow("stopped early");
  });
});
