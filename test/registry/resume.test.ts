import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError } from "../../src/errors.ts";
import { noteUpload, uploadKey } from "../../src/registry/upload/begin.ts";
import { rememberUpload } from "../../src/store/upload-notes.ts";
import { faultAt, sessionDeleted, unavailable } from "../support/faults.ts";
import { blobOf, clientOf, upload as send, type TestClient } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, MAX_CHUNK, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

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
      await expectStored(registry, FOUR_CHUNKS);
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
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("is not that of another repository", async () => {
    const { registry, folder } = await interrupted(3);
    await using _registry = registry;
    await using _folder = folder;
    await upload(laterClient(registry, folder, "team/other"));
    expect(registry.recorded("start-upload")).toHaveLength(2);
    await expectStored(registry, FOUR_CHUNKS, "team/other");
  });

  test("is left to expire for smaller chunks, which an upload cannot change to", async () => {
    const { registry, folder } = await interrupted(3);
    await using _registry = registry;
    await using _folder = folder;
    await upload(laterClient(registry, folder), MAX_CHUNK / 2);
    expect(registry.recorded("cancel-upload")).toEqual([]);
    const anew = registry.recorded("close-upload").at(-1)?.path;
    const sizes = registry
      .recorded("patch")
      .filter(({ path }) => path === anew)
      .map(({ bodyBytes }) => bodyBytes);
    expect(Math.max(...sizes)).toBe(MAX_CHUNK / 2);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("goes on with chunks larger than the user's, if the registry takes no smaller ones", async () => {
    await using folder = await temporaryFolder();
    const minChunkBytes = MAX_CHUNK / 2;
    let kills = 0;
    let client: TestClient | undefined;
    await using registry = await startTestRegistry({
      minChunkBytes,
      intercept: faultAt("patch", [2, 4, 6], async (_request, _kind, answer) => {
        kills++;
        const response = await answer();
        client?.abort.abort(new PushError("INTERRUPTED", "Interrupted."));
        return response;
      }),
    });
    for (let pushes = 0; pushes < 4; pushes++) {
      client = laterClient(registry, folder);
      await upload(client, 1).catch(() => undefined);
    }
    expect(kills).toBe(3);
    expect(registry.recorded("start-upload")).toHaveLength(1);
    const sentBytes = registry.recorded("patch").reduce((bytes, { bodyBytes }) => bytes + bodyBytes, 0);
    expect(sentBytes).toBe(size);
    await expectStored(registry, FOUR_CHUNKS);
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
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("is kept where the retries ran out, and forgotten where trying again is no use", async () => {
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
    expect(registry.recorded("cancel-upload")).toEqual([]);
  });

  test("survives a session that disappears as it goes on", async () => {
    const { registry, folder } = await interrupted(2, sessionDeleted);
    await using _registry = registry;
    await using _folder = folder;
    await upload(laterClient(registry, folder));
    await expectStored(registry, FOUR_CHUNKS);
  });
});

describe("an address in a note", () => {
  /** What a note may say, and nobody has to believe. `%` is the registry's address. */
  const planted = [
    "%/v2/team/app/manifests/v1",
    "%/v2/team/app/manifests/v1?x=/v2/team/app/blobs/uploads/1",
    "%/v2/team/app/manifests/v1#/blobs/uploads/1",
    "%/v2/team/app/tags/list",
    `%/v2/team/app/blobs/${digest}`,
    "%/v2/team/app/blobs/uploads/",
    "%/v2/team/app/blobs/uploads/../../manifests/v1",
    "%/v2/team/app/blobs/uploads/%2e%2e/%2e%2e/manifests/v1",
    "%/v2/team/app/blobs/uploads/..%2f..%2fmanifests%2fv1",
    "%/v2/team/app/blobs/uploads/..%5C..%5Cmanifests%5Cv1",
    "%/v2/team/app/blobs/uploads/1/manifests/v1",
    "%/v2/team/other/blobs/uploads/1",
    "%/v2/team/app/../other/blobs/uploads/1",
    "%/v2/other/v2/team/app/blobs/uploads/1",
    "%//v2/team/app/blobs/uploads/1",
    "%/admin/delete?everything=1",
    "%/",
  ];
  test.each(planted)(
    "that is no upload of the repository is not asked, and nothing is deleted: %s",
    async (text) => {
      await using folder = await temporaryFolder();
      await using registry = await startTestRegistry();
      const client = laterClient(registry, folder);
      const note = { location: text.replace("%", registry.url), offset: 0, chunkBytes: MAX_CHUNK };
      await rememberUpload(client.registry.notes, uploadKey(client, digest), note);
      await upload(client);
      expect(story(registry, 0)[0]).toBe("POST 202");
      expect(registry.recorded("cancel-upload")).toEqual([]);
      for (const { path } of registry.requests) expect(path).toStartWith("/v2/team/app/blobs/uploads/");
      await expectStored(registry, FOUR_CHUNKS);
    },
  );

  test("gets no DELETE where its upload turns out to be dead, and a new upload begins", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry({
      intercept: faultAt("close-upload", [1, 2], () => new Response(null, { status: 500 })),
    });
    const begun = await fetch(`${registry.url}/v2/team/app/blobs/uploads/`, { method: "POST" });
    const location = new URL(begun.headers.get("location") ?? "", registry.url).href;
    const client = laterClient(registry, folder);
    const note = { location, offset: 0, chunkBytes: MAX_CHUNK };
    await rememberUpload(client.registry.notes, uploadKey(client, digest), note);
    await upload(client);
    expect(registry.recorded("start-upload")).toHaveLength(2);
    expect(registry.recorded("cancel-upload")).toEqual([]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("of another server gets neither a request nor a byte", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    await using elsewhere = await startTestRegistry();
    const client = laterClient(registry, folder);
    for (const host of [elsewhere.host, `user:password@${registry.host}`]) {
      const location = `http://${host}/v2/team/app/blobs/uploads/1`;
      const note = { location, offset: 0, chunkBytes: MAX_CHUNK };
      await rememberUpload(client.registry.notes, uploadKey(client, digest), note);
      const before = registry.requests.length;
      await upload(client);
      expect(story(registry, before)[0]).toBe("POST 202");
    }
    expect(elsewhere.requests).toEqual([]);
  });

  test.each([
    ["/v2/team/app/blobs/uploads/123e4567-e89b-12d3-a456-426614174000?_state=a%2Fb%3D&x=1", true],
    ["/v2/team/app/blobs/uploads/123e4567/?_stateHash=1", true],
    // GHCR's.
    ["/v2/team/app/blobs/upload/QUJD%3D", true],
    ["/artifacts-uploads/namespaces/p/repositories/r/uploads/AF2=", false],
  ])("is saved only if it looks like an upload of the repository: %s", async (path, isNoted) => {
    await using folder = await temporaryFolder();
    const client = clientOf({ url: "http://127.0.0.1:9" }, { memoryDirectory: folder.path });
    const session = { location: new URL(`http://127.0.0.1:9${path}`), offset: 0 };
    await noteUpload(client, FOUR_CHUNKS.descriptor, {
      session,
      chunkBytes: MAX_CHUNK,
      limits: { minBytes: undefined, maxBytes: undefined },
    });
    expect(await readdir(folder.path)).toHaveLength(isNoted ? 1 : 0);
  });
});

function uploadPathOf(registry: TestRegistry): string {
  return registry.recorded("patch")[0]?.path ?? "";
}
