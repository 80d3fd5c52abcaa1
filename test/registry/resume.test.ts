import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError } from "../../src/errors.ts";
import { faultAt, sessionDeleted, unavailable } from "../support/faults.ts";
import { blobOf, clientOf, upload as send, type TestClient } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { MAX_CHUNK, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const FOUR_CHUNKS = blobOf(seededBytes(3 * MAX_CHUNK + 1500, 31));
const { digest, size } = FOUR_CHUNKS.descriptor;

/** A registry whose user loses patience, or power, when it sees this PATCH. */
async function interrupted(number: number, inTheMiddle: Intercept = () => undefined) {
  const folder = await temporaryFolder();
  let client: TestClient | undefined;
  const registry = await startTestRegistry({
    intercept: faultAt("patch", [number], (...request) => {
      client?.abort.abort(new PushError("INTERRUPTED", "Interrupted."));
      return inTheMiddle(...request);
    }),
  });
  client = clientOf(registry, { memoryDirectory: folder.path });
  const error = await rejection(upload(client));
  expect(error.code).toBe("INTERRUPTED");
  return { registry, folder, before: registry.requests.length };
}

/** @returns how many bytes an earlier process had sent */
async function upload(client: TestClient, chunkBytes?: number): Promise<number> {
  const { resumedBytes } = await send(client, FOUR_CHUNKS, { chunkBytes });
  return resumedBytes;
}

/** Another process, in the same folder. */
function laterClient(registry: TestRegistry, folder: TemporaryFolder, repository = "team/app"): TestClient {
  return clientOf(registry, { memoryDirectory: folder.path, repository });
}

async function expectStored(registry: TestRegistry, repository = "team/app"): Promise<void> {
  const stored = await registry.pullBlob(repository, digest);
  expect(Buffer.from(stored).equals(Buffer.from(await FOUR_CHUNKS.content.arrayBuffer()))).toBe(true);
}

const story = (registry: TestRegistry, from: number) =>
  registry.requests.slice(from).map(({ method, status }) => `${method} ${status}`);

describe("an upload that another process began", () => {
  test.each([1, 2, 3, 4])(
    "goes on after an interruption at chunk %d, and sends at most that one again",
    async (number) => {
      const { registry, folder } = await interrupted(number);
      await using _registry = registry;
      await using _folder = folder;
      const resumedBytes = await upload(laterClient(registry, folder));
      expect(resumedBytes).toBeGreaterThanOrEqual((number - 1) * MAX_CHUNK);
      expect(registry.recorded("start-upload")).toHaveLength(1);
      const sentBytes = registry.recorded("patch").reduce((bytes, { bodyBytes }) => bytes + bodyBytes, 0);
      expect(sentBytes).toBeLessThanOrEqual(size + MAX_CHUNK);
      await expectStored(registry);
      // What is done is forgotten.
      expect(await readdir(folder.path)).toEqual([]);
    },
  );

  test("costs one request where the server has forgotten it", async () => {
    const { registry, folder, before } = await interrupted(3);
    await using _registry = registry;
    await using _folder = folder;
    await fetch(`${registry.url}${uploadPathOf(registry)}`, { method: "DELETE" });
    await upload(laterClient(registry, folder));
    const [cancelled, ...requests] = story(registry, before).filter((line) => !line.startsWith("PATCH"));
    expect(cancelled).toBe("DELETE 204");
    expect(requests.slice(0, 2)).toEqual(["GET 404", "POST 202"]);
    await expectStored(registry);
  });

  test("is not that of another repository", async () => {
    const { registry, folder } = await interrupted(3);
    await using _registry = registry;
    await using _folder = folder;
    await upload(laterClient(registry, folder, "team/other"));
    expect(registry.recorded("start-upload")).toHaveLength(2);
    await expectStored(registry, "team/other");
  });

  test("is given up for smaller chunks, which an upload cannot change to", async () => {
    const { registry, folder, before } = await interrupted(3);
    await using _registry = registry;
    await using _folder = folder;
    await upload(laterClient(registry, folder), MAX_CHUNK / 2);
    expect(story(registry, before)).toContain("DELETE 204");
    const anew = registry.requests.findLastIndex(({ kind }) => kind === "start-upload");
    const sizes = registry.requests.slice(anew).map(({ bodyBytes }) => bodyBytes);
    expect(Math.max(...sizes)).toBe(MAX_CHUNK / 2);
    await expectStored(registry);
  });

  test.each([
    ["text", "nonsense"],
    ["an address that is none", '{"location":"file:///etc/passwd","offset":0,"chunkBytes":4096}'],
    ["a negative place", '{"location":"http://127.0.0.1/","offset":-1,"chunkBytes":4096}'],
    ["nothing", ""],
  ])("is begun anew where the note is %s", async (_, note) => {
    const { registry, folder, before } = await interrupted(2);
    await using _registry = registry;
    await using _folder = folder;
    for (const name of await readdir(folder.path)) await Bun.write(join(folder.path, name), note);
    await upload(laterClient(registry, folder));
    expect(story(registry, before)).toContain("POST 202");
    await expectStored(registry);
  });

  test("is kept where the retries ran out, and given up where trying again is no use", async () => {
    await using folder = await temporaryFolder();
    let fault: Intercept = unavailable;
    await using registry = await startTestRegistry({
      intercept: (...request) => (request[1] === "patch" ? fault(...request) : undefined),
    });
    const client = clientOf(registry, { memoryDirectory: folder.path, retries: 1 });
    await rejection(upload(client));
    expect(await readdir(folder.path)).toHaveLength(1);
    fault = () => new Response(null, { status: 403 });
    await rejection(upload(client));
    expect(await readdir(folder.path)).toEqual([]);
    expect(registry.recorded("cancel-upload")).toMatchObject([{ status: 204 }]);
  });

  test("survives a session that disappears as it goes on", async () => {
    const { registry, folder } = await interrupted(2, sessionDeleted);
    await using _registry = registry;
    await using _folder = folder;
    await upload(laterClient(registry, folder));
    await expectStored(registry);
  });
});

function uploadPathOf(registry: TestRegistry): string {
  return registry.recorded("patch")[0]?.path ?? "";
}
