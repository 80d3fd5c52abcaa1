/** What `check` says about chunks: the size that a push chooses, and why. */
import { describe, expect, test } from "bun:test";
import { checkChunks } from "../../src/check/rights.ts";
import type { PushError } from "../../src/errors.ts";
import { connect } from "../../src/registry/connect.ts";
import { startUpload } from "../../src/registry/upload/session.ts";
import { type LimitNote, rememberLimits } from "../../src/store/upload-notes.ts";
import { blobOf, clientAt, clientOf, connectOptions, upload } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

type Learned = Partial<ReturnType<typeof clientOf>["registry"]["learned"]>;
type Given = { minBytes?: number; maxBytes?: number; wishBytes?: number } & Learned;

function chunksOf({ minBytes, maxBytes, wishBytes, ...learned }: Given) {
  const { registry } = clientOf({ url: "https://registry.example" });
  Object.assign(registry.learned, learned);
  return checkChunks(registry, { minBytes, maxBytes }, wishBytes);
}

describe("The step Chunks of a check", () => {
  test.each<[Given, string]>([
    [{}, "up to 100 MB, as the link allows; no limits announced"],
    [{ minBytes: 5_242_880 }, "up to 100 MB, as the link allows; announced: at least 5.2 MB"],
    [{ maxBytes: 50_000_000 }, "up to 50.0 MB, as the link allows; announced: at most 50.0 MB"],
    [
      { minBytes: 5_242_880, maxBytes: 100_000_000 },
      "up to 100 MB, as the link allows; announced: 5.2 MB to 100 MB",
    ],
    [{ minBytes: 1024, maxBytes: 65_536 }, "65.5 kB each; announced: 1.0 kB to 65.5 kB"],
    [{ wishBytes: 20_000_000 }, "20.0 MB each, by --chunk-size; no limits announced"],
    [
      { maxBodyBytes: 524_288 },
      "524 kB each, because a larger request was refused in an earlier push; no limits announced",
    ],
    [
      { maxBodyBytes: 8_000_000, maxBytes: 100_000_000 },
      "up to 8.0 MB, because a larger request was refused in an earlier push; announced: at most 100 MB",
    ],
    [
      { maxBodyBytes: 200_000_000, maxBytes: 100_000_000 },
      "up to 100 MB, as the link allows; announced: at most 100 MB",
    ],
    [
      { wholePuts: "only" },
      "none: each layer in 1 request, because a chunk was refused in an earlier push; no limits announced",
    ],
    [
      { wholePuts: "preferred" },
      "none: each layer in 1 request, because a chunk was refused in an earlier push; no limits announced",
    ],
  ])("says with %j: %s", (given, text) => {
    expect(chunksOf(given)).toMatchObject({ state: "ok", text });
  });

  test.each<[Given, string]>([
    [
      { wishBytes: 200_000_000, maxBytes: 100_000_000 },
      "100 MB each: --chunk-size 200 MB is more than the registry allows; announced: at most 100 MB",
    ],
    [
      { wishBytes: 1_000_000, minBytes: 5_242_880 },
      "5.2 MB each: --chunk-size 1.0 MB is less than the registry allows; announced: at least 5.2 MB",
    ],
  ])("says with %j that --chunk-size is not used: %s", (given, text) => {
    expect(chunksOf(given)).toMatchObject({ state: "limited", text, hint: expect.any(String) });
  });
});

test("The step Chunks of a check fails, as a push does, where the announced maximum is too small", () => {
  const codeOf = () => {
    try {
      return chunksOf({ maxBytes: 1000 }).state;
    } catch (error) {
      return (error as PushError).code;
    }
  };
  expect(codeOf()).toBe("REGISTRY_UNSUPPORTED");
});

describe("The size of chunks in a check", () => {
  const BLOB = blobOf(seededBytes(1_500_000, 51));

  test.each<
    [string, { minChunkBytes?: number; maxChunkBytes?: number }, Partial<LimitNote>, number | undefined]
  >([
    ["where the registry announces limits", { minChunkBytes: 1024, maxChunkBytes: 200_000 }, {}, undefined],
    ["with --chunk-size", {}, {}, 300_000],
    ["with --chunk-size over the maximum", { maxChunkBytes: 250_000 }, {}, 1_000_000],
    ["after a refusal in an earlier push", {}, { maxBodyBytes: 400_000 }, undefined],
    ["where an earlier push had to send whole layers", {}, { wholePuts: "only" }, undefined],
  ])("is that of the next push %s", async (_, announced, note, chunkBytes) => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry({
      minChunkBytes: 1,
      maxChunkBytes: 2_000_000,
      ...announced,
    });
    await rememberLimits({ directory: folder.path }, registry.url, { ...note, toldAtMs: Date.now() });
    const client = clientOf(registry);
    const connected = await connect({ ...connectOptions(registry, folder.path), chunkBytes }, client);
    const { limits } = await startUpload({ ...client, registry: connected }, client);
    const { facts } = checkChunks(connected, limits, chunkBytes);
    await upload(clientAt(connected), BLOB, { chunkBytes });
    expect(facts?.["chunkBytes"]).toBe(registry.recorded("patch")[0]?.contentLength);
  });
});
