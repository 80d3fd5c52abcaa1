/** Uploads to registries that keep them in another way than serverless-registry does. */
import { describe, expect, test } from "bun:test";
import { appendFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { type Moment, reset } from "../../dev/faults/fault.ts";
import { faultAt as planAt } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { PROFILES, type ProfileName } from "../../dev/registry/profiles.ts";
import { PushError } from "../../src/errors.ts";
import { connect } from "../../src/registry/connect.ts";
import { noteUpload } from "../../src/registry/upload/begin.ts";
import { askUpload, startUpload } from "../../src/registry/upload/session.ts";
import { answering, faultAt } from "../support/faults.ts";
import { blobOf, clientAt, clientOf, connectOptions, ensure, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { expectStored, startTestRegistry, type TestRegistry } from "../support/test-registry.ts";
import { growingBlob } from "./growing-blob.ts";

const NAMES = Object.keys(PROFILES) as ProfileName[];
/** Registries that put several PATCHes together. */
const IN_CHUNKS = NAMES.filter((name) => name !== "container-registry");
const CHUNK_BYTES = 100_000;
const FOUR_CHUNKS = blobOf(seededBytes(350_000, 91));

const start = (profile: ProfileName, options: Parameters<typeof startTestRegistry>[0] = {}) =>
  startTestRegistry({ profile, maxChunkBytes: 1_000_000, ...options });

describe("a registry without faults", () => {
  test.each(IN_CHUNKS)("gets a blob in chunks, each sent once: %s", async (profile) => {
    await using registry = await start(profile);
    await upload(clientOf(registry), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(registry.recorded("patch").map(({ bodyBytes }) => bodyBytes)).toEqual([1e5, 1e5, 1e5, 5e4]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test.each(IN_CHUNKS)("gets a growing blob whose last chunk has one byte: %s", async (profile) => {
    await using registry = await start(profile);
    const blob = growingBlob();
    const bytes = seededBytes(600_001, 92);
    blob.add(bytes);
    const { digest } = blob.finish();
    // Its size is unknown when the chunk size is chosen.
    await upload(clientOf(registry), blob, { chunkBytes: 600_000 });
    expect(registry.recorded("patch").map(({ bodyBytes }) => bodyBytes)).toEqual([600_000, 1]);
    expect(Buffer.from(await registry.pullBlob("team/app", digest)).equals(Buffer.from(bytes))).toBe(true);
  });
});

describe("a connection that breaks", () => {
  const cells = (kinds: readonly RequestKind[], moments: readonly Moment[]) =>
    kinds.flatMap((kind) => moments.map((moment) => ({ kind, moment })));
  const CELLS = [
    ...cells(["first-patch", "middle-patch", "last-patch", "whole-put"], ["before", "middle", "after"]),
    ...cells(["closing-put"], ["before", "after"]),
  ];

  describe.each(IN_CHUNKS)("at %s", (profile) => {
    test.each(CELLS)("in the $kind, $moment, costs no upload", async ({ kind, moment }) => {
      await using registry = await start(profile);
      const blob = kind === "whole-put" ? blobOf(seededBytes(90_000, 93)) : FOUR_CHUNKS;
      const { size } = blob.descriptor;
      await using proxy = await startFaultProxy({
        upstreamHost: () => registry.host,
        plan: planAt(kind, 1, reset(moment)),
        blobBytes: [size],
      });
      const client = clientOf(proxy);
      await upload(client, blob, { chunkBytes: CHUNK_BYTES });
      expect(client.registry.learned).toEqual({
        maxBodyBytes: undefined,
        wholePuts: undefined,
        emptyPuts: undefined,
      });
      expect(proxy.requests.filter(({ fault }) => fault !== undefined)).toHaveLength(1);
      await expectStored(registry, blob);
    });
  });
});

describe("an upload that the registry has forgotten", () => {
  const deleteFirst: Intercept = async ({ url }) => {
    await fetch(url, { method: "DELETE" });
    return undefined;
  };

  // The others have no DELETE.
  test.each(IN_CHUNKS.filter((name) => !("cancelled" in PROFILES[name])))(
    "begins anew at %s, in this process",
    async (profile) => {
      await using registry = await start(profile, { intercept: faultAt("patch", [3], deleteFirst) });
      await upload(clientOf(registry), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
      expect(registry.recorded("start-upload")).toHaveLength(2);
      await expectStored(registry, FOUR_CHUNKS);
    },
  );

  test.each(IN_CHUNKS)("begins anew at %s, in the next process", async (profile) => {
    await using folder = await temporaryFolder();
    let client = clientOf({ url: "" });
    await using registry = await start(profile, {
      intercept: faultAt("patch", [3], () => {
        client.abort.abort(new PushError("INTERRUPTED", "Interrupted."));
        return new Response(null, { status: 503 });
      }),
    });
    client = clientOf(registry, { memoryDirectory: folder.path });
    await rejection(upload(client, FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES }));
    await rm(join(registry.directory, "objects", "team", "app", "_uploads"), { recursive: true });
    const next = clientOf(registry, { memoryDirectory: folder.path, retries: 0 });
    await upload(next, FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    await expectStored(registry, FOUR_CHUNKS);
  });
});

describe("a session that a cut body has broken for good, as at Gitea", () => {
  const startCutting = async () => {
    const { promise: cut, resolve } = Promise.withResolvers<void>();
    const registry = await start("gitea", { onRequest: ({ status }) => status === 0 && resolve() });
    const proxy = await startFaultProxy({
      upstreamHost: () => registry.host,
      plan: planAt("middle-patch", 1, reset("middle")),
      blobBytes: [FOUR_CHUNKS.descriptor.size],
    });
    return { registry, proxy, cut };
  };

  test("is left after three failures of the chunk", async () => {
    const { registry, proxy } = await startCutting();
    await using _registry = registry;
    await using _proxy = proxy;
    await upload(clientOf(proxy), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(registry.recorded("patch").map(({ status }) => status)).toEqual([
      202,
      0,
      500,
      500,
      ...Array(4).fill(202),
    ]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test.each([1, 2, 8])("is left by the next process, with %d as the number of retries", async (retries) => {
    await using folder = await temporaryFolder();
    const { registry, proxy, cut } = await startCutting();
    await using _registry = registry;
    await using _proxy = proxy;
    const options = { memoryDirectory: folder.path, retries: 0 };
    await rejection(upload(clientOf(proxy, options), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES }));
    await cut;
    await upload(clientOf(proxy, { ...options, retries }), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(registry.recorded("start-upload")).toHaveLength(2);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("is not suspected where the registry is overloaded, or the link breaks", async () => {
    await using registry = await start("distribution-3", {
      intercept: faultAt("patch", [2, 3, 4, 5], answering(503)),
    });
    await upload(clientOf(registry), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(registry.recorded("start-upload")).toHaveLength(1);
  });
});

describe("a closing PUT", () => {
  /** The runtime sends a request without a body once more where a kept connection breaks: the answer is the second's. */
  const sentTwice =
    (status: number): Intercept =>
    async (_request, _kind, answer) => {
      await answer();
      return answering(status, {}, JSON.stringify({ errors: [{ code: "BLOB_UPLOAD_UNKNOWN" }] }))(
        _request,
        _kind,
        answer,
      );
    };

  test.each([400, 404])("that was sent twice is done, though the second answer is %d", async (status) => {
    await using registry = await start("olareg", {
      intercept: faultAt("close-upload", [1], sentTwice(status)),
    });
    await upload(clientOf(registry, { retries: 0 }), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(registry.recorded("start-upload")).toHaveLength(1);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("that is refused with 400 ends the upload where the blob is not there", async () => {
    await using registry = await start("olareg", { intercept: faultAt("close-upload", [1], answering(400)) });
    const error = await rejection(upload(clientOf(registry), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES }));
    expect(error).toMatchObject({ answer: { status: 400 } });
    expect(registry.requests.slice(-3).map(({ method, status }) => `${method} ${status}`)).toEqual([
      "PUT 400",
      "HEAD 404",
      "DELETE 204",
    ]);
  });
});

describe("a registry that takes no PUT with a body", () => {
  const SMALL = blobOf(seededBytes(5000, 94));
  const OTHER = blobOf(seededBytes(6000, 95));
  const kindsOf = ({ requests }: TestRegistry, from = 0) =>
    requests.slice(from).flatMap(({ method, status }) => (status < 400 ? method : []));

  /** Distribution, behind something that refuses the bodies of PUTs. */
  const refusing = (status: number) =>
    start("distribution-3", {
      intercept: (request, kind) =>
        kind === "close-upload" && Number(request.headers.get("content-length")) > 0
          ? new Response(null, { status })
          : undefined,
    });

  test.each<[string, () => Promise<TestRegistry>]>([
    ["the Rust container-registry", () => start("container-registry")],
    ["405", () => refusing(405)],
    ["500", () => refusing(500)],
    ["501", () => refusing(501)],
  ])("gets one PATCH and an empty PUT: %s", async (_, open) => {
    await using registry = await open();
    const client = clientOf(registry);
    await upload(client, SMALL);
    await expectStored(registry, SMALL);
    const before = registry.requests.length;
    await upload(client, OTHER);
    expect(kindsOf(registry, before)).toEqual(["POST", "PATCH", "PUT"]);
    await expectStored(registry, OTHER);
  });

  test("gets one PATCH and an empty PUT from the next process as well", async () => {
    await using folder = await temporaryFolder();
    await using registry = await start("container-registry");
    await upload(clientOf(registry, { memoryDirectory: folder.path }), SMALL);
    const before = registry.requests.length;
    const next = await connect(connectOptions(registry, folder.path), clientOf(registry));
    await upload(clientAt(next), OTHER);
    expect(registry.requests.slice(before).map(({ method }) => method)).toEqual([
      "GET",
      "POST",
      "PATCH",
      "PUT",
    ]);
  });

  test("is not assumed after one 500", async () => {
    await using registry = await start("distribution-3", {
      intercept: faultAt("close-upload", [1], answering(500)),
    });
    const client = clientOf(registry);
    await upload(client, SMALL);
    expect(registry.recorded("patch")).toEqual([]);
    expect(client.registry.learned.emptyPuts).toBeUndefined();
  });

  test("ends the upload if it refuses chunks, too", async () => {
    await using registry = await start("distribution-3", {
      intercept: (_, kind) =>
        kind === "close-upload" || kind === "patch" ? new Response(null, { status: 405 }) : undefined,
    });
    const error = await rejection(upload(clientOf(registry), SMALL));
    expect(error).toMatchObject({ answer: { status: 405 } });
    expect(registry.requests.length).toBeLessThan(10);
  });
});

describe("a PATCH of a dead process that is still being delivered", () => {
  test("is waited for: nothing is sent until the upload stands still", async () => {
    await using folder = await temporaryFolder();
    let grow = async () => {};
    let toCome = 3;
    await using registry = await start("distribution-3", {
      intercept: async (_, kind, answer) => {
        if (kind !== "upload-status" || toCome-- <= 0) return undefined;
        const told = await answer();
        await grow();
        return told;
      },
    });
    const client = clientOf(registry, { memoryDirectory: folder.path });
    const { descriptor } = FOUR_CHUNKS;
    const { limits, ...session } = await startUpload(client, client);
    await noteUpload(client, descriptor, { session, limits, chunkBytes: CHUNK_BYTES });
    const [uuid = ""] = /[^/]+$/.exec(session.location.pathname) ?? [];
    const file = join(registry.directory, "objects", "team", "app", "_uploads", uuid, "part-0");
    let bytes = 0;
    grow = async () => {
      await appendFile(file, await FOUR_CHUNKS.content.slice(bytes, bytes + 20_000).bytes());
      bytes += 20_000;
    };
    await grow();
    const { resumedBytes } = await upload(client, FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
    expect(resumedBytes).toBe(80_000);
    expect(registry.recorded("patch").map(({ status }) => status)).toEqual([202, 202, 202]);
    await expectStored(registry, FOUR_CHUNKS);
  });

  test("is waited for a limited time", async () => {
    let bytes = 0;
    const intercept: Intercept = async (_, kind, answer) => {
      if (kind !== "upload-status") return undefined;
      const { headers } = await answer();
      return new Response(null, {
        status: 204,
        headers: { location: headers.get("location") ?? "", range: `0-${++bytes}` },
      });
    };
    await using registry = await start("distribution-3", { intercept });
    const client = clientOf(registry);
    const session = await startUpload(client, client);
    await askUpload(client, session, client);
    expect(registry.recorded("upload-status").length).toBeLessThan(100);
  });

  test.each(["DIGEST_INVALID", "BLOB_UPLOAD_INVALID"])(
    "that ruins the upload makes the blob be sent once more from its start: %s",
    async (code) => {
      let ruined: string | undefined;
      await using registry = await start("distribution-3", {
        intercept: (request, kind, answer) => {
          if (kind !== "close-upload") return undefined;
          const { pathname } = new URL(request.url);
          ruined ??= pathname;
          if (pathname !== ruined) return undefined;
          return answering(400, {}, JSON.stringify({ errors: [{ code }] }))(request, kind, answer);
        },
      });
      const sent = await ensure(clientOf(registry), FOUR_CHUNKS, { chunkBytes: CHUNK_BYTES });
      expect(sent.how).toBe("sent");
      expect(registry.recorded("start-upload")).toHaveLength(2);
      await expectStored(registry, FOUR_CHUNKS);
    },
  );
});
