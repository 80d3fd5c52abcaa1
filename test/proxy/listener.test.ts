/** What a push learns from the proxy that it has an engine push to. */
import { expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { imageManifest } from "../../src/oci/manifest.ts";
import type { ProxyOptions } from "../../src/proxy/context.ts";
import { startProxy } from "../../src/proxy/proxy.ts";
import type { PushEvent } from "../../src/report/events.ts";
import { openLocks } from "../../src/store/locks.ts";
import { answering } from "../support/faults.ts";
import { blobOf, clientOf } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const CONFIG = seededBytes(500, 1);

/** Starts a proxy that an engine may push `team/app` to. */
function startListener(registry: { readonly url: string }, options: Partial<ProxyOptions> = {}) {
  const client = clientOf(registry);
  const { directory } = client.registry.notes;
  const events: PushEvent[] = [];
  const server = startProxy({
    registry: client.registry,
    host: "registry.example.com",
    locks: openLocks(directory, client.signal, () => {}),
    repositoryOf: (name) => name,
    readOnly: false,
    spoolDirectory: directory,
    spoolLimitBytes: 1_000_000,
    port: 0,
    chunkBytes: undefined,
    allowOversize: false,
    signal: client.signal,
    report: (event) => events.push(event),
    ...options,
  });
  const request = (path: string, init: RequestInit) =>
    fetch(`http://127.0.0.1:${server.port}/v2/team/app/${path}`, init);
  return {
    events,
    request,
    told: () => server.told(),
    isBusy: () => server.isBusy(),
    [Symbol.asyncDispose]: () => server[Symbol.asyncDispose](),
    /** Sends a blob as containerd does. */
    push: (bytes: Uint8Array<ArrayBuffer>) =>
      request(`blobs/uploads/?digest=${digestOf(bytes)}`, { method: "POST", body: bytes }),
  };
}

test("a push learns why the registry refused a blob after the engine had its answer", async () => {
  const held = Promise.withResolvers<void>();
  await using registry = await startTestRegistry({
    async intercept(request, kind, answer) {
      if (kind !== "close-upload") return undefined;
      await held.promise;
      return answering(403)(request, kind, answer);
    },
  });
  await using listener = startListener(registry, { answerMs: 1 });
  expect((await listener.push(CONFIG)).status).toBe(201);
  expect(listener.told()).toEqual({ isAsked: true, refusal: undefined });
  expect(listener.isBusy()).toBe(true);
  held.resolve();
  const { bytes, mediaType } = imageManifest(blobOf(CONFIG).descriptor, []);
  const headers = { "content-type": mediaType };
  const put = await listener.request("manifests/v1", { method: "PUT", body: bytes, headers });
  expect(put.status).toBe(403);
  expect(listener.told()).toMatchObject({ refusal: { answer: { status: 403 } } });
  expect(listener.isBusy()).toBe(false);
});

test("a request that the push refuses reaches no registry", async () => {
  await using registry = await startTestRegistry();
  const ports: number[] = [];
  await using listener = startListener(registry, {
    async isRefused(_, { fromPort }) {
      ports.push(fromPort);
      return true;
    },
  });
  expect((await listener.push(CONFIG)).status).toBe(403);
  expect(ports[0]).toBeGreaterThan(0);
  expect(registry.requests).toEqual([]);
  expect(listener.told()).toEqual({ isAsked: false, refusal: undefined });
  expect(listener.isBusy()).toBe(false);
});

test("a blob that an engine asks for after it was sent is reported once", async () => {
  await using registry = await startTestRegistry();
  await using listener = startListener(registry);
  expect((await listener.push(CONFIG)).status).toBe(201);
  const asked = await listener.request(`blobs/${digestOf(CONFIG)}`, { method: "HEAD" });
  expect(asked.status).toBe(200);
  const done = listener.events.filter((event) => event.type === "blob" && event.state === "done");
  expect(done).toHaveLength(1);
  expect(done[0]).toMatchObject({ how: "sent", sentBytes: CONFIG.length });
});
