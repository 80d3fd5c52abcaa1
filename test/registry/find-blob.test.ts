import { describe, expect, test } from "bun:test";
import { type ErrorCode, PushError } from "../../src/errors.ts";
import type { RegistryBlob } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { askForBlob, findBlob } from "../../src/registry/find-blob.ts";
import { registrySlots } from "../../src/registry/slots.ts";
import { answering, faultAlways, faultAt, unavailable } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientOf, type TestClient, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const BLOB = blobOf(seededBytes(3000, 1));
const { digest } = BLOB.descriptor;

describe("findBlob", () => {
  test("finds nothing, and what was uploaded", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    expect(await findBlob(client, digest, client)).toBeUndefined();
    await upload(client, BLOB);
    expect(await findBlob(client, digest, client)).toEqual({ sizeBytes: 3000 });
    expect(await findBlob(client, digestOf(seededBytes(9, 9)), client)).toBeUndefined();
    expect(await findBlob({ ...client, name: "team/other" }, digest, client)).toBeUndefined();
  });

  test("believes the status of a mounted blob, whose size is another", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    await upload(client, BLOB);
    const mount = `${registry.url}/v2/team/copy/blobs/uploads/?mount=${digest}&from=team/app`;
    expect((await fetch(mount, { method: "POST" })).status).toBe(201);
    const found = await findBlob({ ...client, name: "team/copy" }, digest, client);
    expect(found).toBeDefined();
    expect(found?.sizeBytes).not.toBe(3000);
  });

  test("follows a redirect to the storage, without the credentials", async () => {
    const seen: (string | null)[] = [];
    await using storage = startHttpServer((request) => {
      seen.push(`${request.method} ${request.headers.get("authorization")}`);
      return new Response(null, { headers: { "content-length": "5" } });
    });
    await using registry = await startTestRegistry({
      intercept: faultAlways("head-blob", answering(302, { location: `${storage.url}/blob?signature=x` })),
    });
    const client = clientOf(registry, { authorization: "Basic eA==" });
    expect(await findBlob(client, digest, client)).toBeDefined();
    expect(registry.requests).toMatchObject([{ hadAuthorization: true }]);
    expect(seen).toEqual(["HEAD null"]);
  });

  test("is tried again", async () => {
    await using registry = await startTestRegistry({ intercept: faultAt("head-blob", [1, 2], unavailable) });
    const client = clientOf(registry);
    expect(await findBlob(client, digest, client)).toBeUndefined();
    expect(client.seenRetries.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });

  test.each<[number, ErrorCode]>([
    [401, "UNAUTHORIZED"],
    [403, "DENIED"],
    [400, "REGISTRY_REFUSED"],
  ])("ends at once with a %d", async (status, code) => {
    await using registry = await startTestRegistry({
      intercept: faultAlways("head-blob", answering(status)),
    });
    const client = clientOf(registry);
    expect((await rejection(findBlob(client, digest, client))).code).toBe(code);
    expect(registry.requests).toHaveLength(1);
  });
});

describe("askForBlob", () => {
  /** Notes the order in which answers come and blobs are sent, of at most two at a time. */
  function startOrder(client: TestClient) {
    const order: string[] = [];
    const ask = async (blob: RegistryBlob) => {
      await askForBlob(client, blob.descriptor, client);
      order.push("answer");
    };
    const send = (name: string) =>
      client.registry.sending.run(0, async () => {
        order.push(name);
      });
    return { order, ask, send };
  }

  const others = [11, 12, 13].map((seed) => blobOf(seededBytes(10, seed)));

  test("is waited for before the next blob is chosen", async () => {
    const gate = Promise.withResolvers<void>();
    await using registry = await startTestRegistry({
      intercept: faultAlways("head-blob", async () => {
        await gate.promise;
        return undefined;
      }),
    });
    const { order, ask, send } = startOrder(clientOf(registry));
    const asked = others.map(ask);
    const sent = send("sent");
    await Bun.sleep(30);
    expect(order).toEqual([]);
    gate.resolve();
    await Promise.all([...asked, sent]);
    expect(order).toEqual(["answer", "answer", "answer", "sent"]);
  });

  test("does not hold up blobs that are ready once it has to be repeated", async () => {
    const gate = Promise.withResolvers<void>();
    const slow = faultAt("head-blob", [2], async () => {
      await gate.promise;
      return undefined;
    });
    const failing = faultAt("head-blob", [1], unavailable);
    await using registry = await startTestRegistry({
      intercept: async (...request) => (await failing(...request)) ?? slow(...request),
    });
    const client = clientOf(registry);
    const { order, ask, send } = startOrder(client);
    const asked = ask(BLOB);
    await send("sent");
    expect(client.seenRetries).toHaveLength(1);
    expect(order).toEqual(["sent"]);
    gate.resolve();
    await asked;
    expect(order).toEqual(["sent", "answer"]);
  });

  test("lets its failure through, and blobs go on", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("head-blob", answering(403)) });
    const client = clientOf(registry);
    const { ask, send } = startOrder(client);
    const asked = rejection(ask(BLOB));
    await send("sent");
    expect((await asked).code).toBe("DENIED");
  });

  test("takes no slot while it waits for its retry", async () => {
    const gate = Promise.withResolvers<void>();
    await using registry = await startTestRegistry({
      intercept: faultAt("head-blob", [1], answering(503, { "retry-after": "600" })),
    });
    const client = clientOf(registry, { onRetry: () => gate.resolve() });
    const one = { ...client, registry: { ...client.registry, ...registrySlots(1) } };
    const asked = rejection(askForBlob(one, BLOB.descriptor, one));
    await gate.promise;
    const { descriptor } = others[0] ?? BLOB;
    expect(await askForBlob(one, descriptor, one)).toBeUndefined();
    client.abort.abort(new PushError("INTERRUPTED", "Seen enough."));
    expect((await asked).code).toBe("INTERRUPTED");
  });
});
