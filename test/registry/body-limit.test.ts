import { describe, expect, test } from "bun:test";
import { RegistryError } from "../../src/errors.ts";
import { connect } from "../../src/registry/connect.ts";
import { recallLimits, rememberLimits } from "../../src/store/upload-notes.ts";
import { answering, faultAlways } from "../support/faults.ts";
import {
  blobOf,
  clientAt,
  clientOf,
  connectOptions,
  upload as send,
  type TestClient,
} from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, startTestRegistry } from "../support/test-registry.ts";

const LIMIT = 300_000;
const BLOB = blobOf(seededBytes(1_500_000, 41));
const OTHER = blobOf(seededBytes(1_000_000, 42));

/** A registry that says nothing of chunks, behind a proxy that refuses larger bodies with a page. */
const startLimited = () => startTestRegistry({ chunkHints: false, maxBodyBytes: LIMIT, minChunkBytes: 1 });

/** The same, refused in a way of its own. */
const startRefusing = (refuse: () => Response) =>
  startTestRegistry({
    chunkHints: false,
    minChunkBytes: 1,
    maxChunkBytes: 100_000_000,
    intercept: (request) => (Number(request.headers.get("content-length")) > LIMIT ? refuse() : undefined),
  });

const upload = (client: TestClient, blob = BLOB, chunkBytes?: number) => send(client, blob, { chunkBytes });

describe("an unannounced body limit", () => {
  test("is found by halving, and the blob arrives in equal chunks that pass", async () => {
    await using registry = await startLimited();
    await upload(clientOf(registry));
    await expectStored(registry, BLOB);
    const passed = registry.recorded("patch").filter(({ status }) => status === 202);
    expect(passed.length).toBeGreaterThan(4);
    expect(new Set(passed.slice(0, -1).map(({ contentLength }) => contentLength)).size).toBe(1);
    // The uploads that could not be are given up.
    const refused = registry.requests.filter(({ status }) => status === 413).length;
    expect(refused).toBeGreaterThan(0);
    expect(registry.recorded("cancel-upload")).toHaveLength(refused);
  });

  test("is found once for all blobs", async () => {
    await using registry = await startLimited();
    const client = clientOf(registry);
    await upload(client);
    const before = registry.requests.length;
    await upload(client, OTHER);
    expect(registry.requests.slice(before).filter(({ status }) => status === 413)).toEqual([]);
    await expectStored(registry, OTHER);
  });

  test("is saved for the next process", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startLimited();
    await upload(clientOf(registry, { memoryDirectory: folder.path }));
    const options = connectOptions(registry, folder.path);
    const before = registry.requests.length;
    const client = clientOf(registry);
    await upload(clientAt(await connect(options, client)), OTHER);
    expect(registry.requests.slice(before).filter(({ status }) => status === 413)).toEqual([]);
    // Unless the user says how large chunks are to be: the limit may be another one now.
    expect(
      (await connect({ ...options, chunkBytes: 1_000_000 }, client)).learned.maxBodyBytes,
    ).toBeUndefined();
  });

  const DAY_MS = 24 * 60 * 60 * 1000;
  test.each([
    ["is kept for a week", 6, LIMIT],
    ["is tried again after a week", 8, undefined],
    ["is tried again where its date is ahead", -1, undefined],
    ["is tried again where nobody knows how old it is", undefined, undefined],
  ])("%s", async (_, days, expected) => {
    await using folder = await temporaryFolder();
    await using registry = await startLimited();
    const note = { maxBodyBytes: LIMIT, wholePuts: "only", bytesPerSecond: 5e6 } as const;
    const toldAtMs = days === undefined ? undefined : Date.now() - days * DAY_MS;
    await rememberLimits({ directory: folder.path }, registry.url, { ...note, toldAtMs });
    const { learned, link } = await connect(connectOptions(registry, folder.path), clientOf(registry));
    expect(learned.maxBodyBytes).toBe(expected);
    expect(learned.wholePuts).toBe(expected === undefined ? undefined : note.wholePuts);
    expect(link.bytesPerSecond()).toBe(note.bytesPerSecond);
  });

  test("does not get a newer date when the link's rate is saved", async () => {
    await using folder = await temporaryFolder();
    const notes = { directory: folder.path };
    await using registry = await startTestRegistry({ chunkHints: false, maxChunkBytes: 10_000_000 });
    const told = { maxBodyBytes: 2_000_000, toldAtMs: Date.now() - 6 * DAY_MS };
    await rememberLimits(notes, registry.url, { ...told, bytesPerSecond: 1 });
    const client = clientAt(await connect(connectOptions(registry, folder.path), clientOf(registry)));
    await upload(client, blobOf(seededBytes(1_048_576, 43)));
    const { bytesPerSecond, ...noted } = await recallLimits(notes, registry.url);
    expect(noted).toEqual(told);
    expect(bytesPerSecond).not.toBe(1);
  });

  test("is taken from a refusal that names it", async () => {
    const headers = { "oci-chunk-max-length": String(LIMIT) };
    await using registry = await startRefusing(() => new Response(null, { status: 413, headers }));
    await upload(clientOf(registry));
    expect(registry.requests.filter(({ status }) => status === 413)).toHaveLength(1);
    expect(registry.recorded("patch")[0]?.contentLength).toBe(LIMIT);
    await expectStored(registry, BLOB);
  });

  test("overrides the user's chunk size", async () => {
    await using registry = await startLimited();
    await upload(clientOf(registry), BLOB, 1_000_000);
    await expectStored(registry, BLOB);
  });

  test.each([
    ["64 KiB", 1, 65_536],
    ["what the registry needs", 200_000, 200_000],
  ])("ends the push where it is below %s", async (_, minChunkBytes, last) => {
    await using registry = await startTestRegistry({
      minChunkBytes,
      maxChunkBytes: 1_000_000,
      intercept: faultAlways("patch", answering(413)),
    });
    const error = await rejection(upload(clientOf(registry)));
    expect(error.code).toBe("BODY_TOO_LARGE");
    expect(error).toBeInstanceOf(RegistryError);
    expect(registry.recorded("patch").at(-1)?.contentLength).toBe(last);
  });

  test("is halved at least, whatever the refusal announces", async () => {
    await using registry = await startTestRegistry({
      maxChunkBytes: 1_000_000,
      intercept: faultAlways("patch", (request) => {
        const refused = Number(request.headers.get("content-length"));
        return new Response(null, { status: 413, headers: { "oci-chunk-max-length": `${refused - 1}` } });
      }),
    });
    expect((await rejection(upload(clientOf(registry)))).code).toBe("BODY_TOO_LARGE");
    const sizes = registry.recorded("patch").map(({ contentLength }) => contentLength);
    expect(sizes).toEqual([1_000_000, 500_000, 250_000, 125_000, 65_536]);
  });

  test("ends the push after some refusals, even if the registry lowers its minimum each time", async () => {
    let minBytes = 1_000_000;
    await using registry = await startTestRegistry({
      intercept: async (_request, kind, answer) => {
        if (kind === "patch") return new Response(null, { status: 413 });
        const response = await answer();
        if (kind === "start-upload") {
          minBytes -= 1000;
          response.headers.set("oci-chunk-min-length", `${minBytes}`);
          response.headers.delete("oci-chunk-max-length");
        }
        return response;
      },
    });
    expect((await rejection(upload(clientOf(registry), BLOB, 1_000_000))).code).toBe("BODY_TOO_LARGE");
    expect(registry.recorded("patch").length).toBeLessThanOrEqual(21);
  });

  test("may show in a 416 that is not about the offset, as at GHCR", async () => {
    await using registry = await startRefusing(() => new Response("body too large", { status: 416 }));
    await upload(clientOf(registry), BLOB, 1_000_000);
    await expectStored(registry, BLOB);
  });
});
