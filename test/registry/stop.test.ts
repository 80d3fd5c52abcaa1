import { describe, expect, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PushError } from "../../src/errors.ts";
import { connect } from "../../src/registry/connect.ts";
import { linkRate } from "../../src/registry/upload/link-rate.ts";
import { faultAt } from "../support/faults.ts";
import { blobOf, clientOf, connectOptions, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { MAX_CHUNK, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const MIB = 1024 * 1024;
const FOUR_CHUNKS = blobOf(seededBytes(3 * MAX_CHUNK + 1500, 71));
const ONE_CHUNK = blobOf(seededBytes(MAX_CHUNK - 1, 72));

/** A push whose user says stop, and perhaps more than that, when the registry sees a request. */
async function stoppedAt(
  kind: "patch" | "close-upload",
  number: number,
  fate: (abort: () => void) => Intercept,
  blob = FOUR_CHUNKS,
) {
  const folder = await temporaryFolder();
  const [stop, abort] = [new AbortController(), new AbortController()];
  const registry = await startTestRegistry({
    intercept: faultAt(kind, [number], (...request) => {
      stop.abort(new PushError("INTERRUPTED", "Stop."));
      return fate(() => abort.abort(new PushError("INTERRUPTED", "At once.")))(...request);
    }),
  });
  const kept: number[] = [];
  const ended = upload(clientOf(registry, { memoryDirectory: folder.path }), blob, {
    signal: AbortSignal.any([stop.signal, abort.signal]),
    abort: abort.signal,
    onProgress: (_, keptBytes) => kept.push(keptBytes),
  });
  return {
    registry,
    ended,
    kept,
    resume: () => upload(clientOf(registry, { memoryDirectory: folder.path }), blob),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

const passes = (): Intercept => () => undefined;

const statuses = (registry: TestRegistry) => registry.recorded("patch").map(({ status }) => status);

describe("an upload that is stopped", () => {
  test("ends its running chunk and begins no other, so that no byte goes up twice", async () => {
    await using scene = await stoppedAt("patch", 2, passes);
    const { registry } = scene;
    expect((await rejection(scene.ended)).message).toBe("Stop.");
    expect(statuses(registry)).toEqual([202, 202]);
    expect(scene.kept.at(-1)).toBe(2 * MAX_CHUNK);
    const { resumedBytes } = await scene.resume();
    expect(resumedBytes).toBe(2 * MAX_CHUNK);
    const sentBytes = registry.recorded("patch").reduce((bytes, { bodyBytes }) => bytes + bodyBytes, 0);
    expect(sentBytes).toBe(FOUR_CHUNKS.descriptor.size);
  });

  test("ends a blob that goes up in one request", async () => {
    await using scene = await stoppedAt("close-upload", 1, passes, ONE_CHUNK);
    expect((await scene.ended).sentBytes).toBe(ONE_CHUNK.descriptor.size);
  });

  test("cuts its running chunk when it is aborted meanwhile", async () => {
    const scene = await stoppedAt("patch", 2, (abort) => () => {
      abort();
      return new Promise(() => {});
    });
    await using _scene = scene;
    expect((await rejection(scene.ended)).code).toBe("INTERRUPTED");
    expect(statuses(scene.registry)).toEqual([202]);
  });

  test("does not wait for a chunk that takes too long on its link", async () => {
    const stop = new AbortController();
    await using registry = await startTestRegistry({
      maxChunkBytes: MIB,
      intercept: faultAt("patch", [1], () => new Promise(() => {})),
    });
    // Were the chunk waited for, the test would time out.
    const ended = upload(clientOf(registry, { link: linkRate(1) }), blobOf(seededBytes(2 * MIB, 74)), {
      signal: stop.signal,
      abort: new AbortController().signal,
      onProgress: (sentBytes) => {
        if (sentBytes > 0) stop.abort(new PushError("INTERRUPTED", "Stop."));
      },
    });
    expect((await rejection(ended)).message).toBe("Stop.");
  });

  test("tries no chunk again that fails then", async () => {
    await using scene = await stoppedAt("patch", 2, () => () => new Response(null, { status: 503 }));
    expect((await rejection(scene.ended)).message).toBe("Stop.");
    expect(statuses(scene.registry)).toEqual([202, 503]);
  });

  test("notes how fast its link is, for the next push", async () => {
    await using folder = await temporaryFolder();
    const stop = new AbortController();
    await using registry = await startTestRegistry({
      maxChunkBytes: MIB,
      intercept: faultAt("patch", [2], () => {
        stop.abort(new PushError("INTERRUPTED", "Stop."));
        return undefined;
      }),
    });
    const client = clientOf(registry, { memoryDirectory: folder.path });
    await rejection(upload(client, blobOf(seededBytes(3 * MIB, 73)), { signal: stop.signal }));
    const next = await connect(connectOptions(registry, folder.path), client);
    expect(next.link.bytesPerSecond()).toBe(client.registry.link.bytesPerSecond() ?? 0);
  });
});
