/** Registries that take their time to confirm a blob: clients are answered, and no manifest goes before its blobs. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { answering } from "../support/faults.ts";
import { startTestProxy } from "../support/proxy.ts";
import {
  manifestOf,
  openRequest,
  pushBlob,
  putBlob,
  putManifest,
  refusalOf,
  until,
} from "../support/proxy-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(20_000);

/** Long enough for requests that nothing holds back. */
const ANSWER_MS = 200;

const CONFIG = seededBytes(500, 1);
const LAYER = seededBytes(3000, 2);
const IMAGE = manifestOf(CONFIG, LAYER);

/** A registry whose closing PUTs hang until they are let go: to be done, or to meet a fault. */
async function startSlowRegistry() {
  const gate = Promise.withResolvers<void>();
  let fault: Intercept | undefined;
  const registry = await startTestRegistry({
    async intercept(request, kind, answer) {
      if (kind !== "close-upload") return undefined;
      await gate.promise;
      return fault?.(request, kind, answer);
    },
  });
  const letGo = (meeting?: Intercept) => {
    fault = meeting;
    gate.resolve();
  };
  return { ...registry, letGo };
}

const head = async (
  proxy: Awaited<ReturnType<typeof startTestProxy>>,
  bytes: Uint8Array,
  name = "team/app",
) => {
  const response = await proxy.request(`/v2/${name}/blobs/${digestOf(bytes)}`, { method: "HEAD" });
  return { status: response.status, size: response.headers.get("content-length") };
};

const manifestPuts = (registry: TestRegistry) => registry.recorded("put-manifest").length;

/** Push a blob's bytes as the clients do. */
const PUSHES = { "a PATCH": pushBlob, "one PUT": putBlob };

describe.each(Object.entries(PUSHES))("a blob in %s that the registry is slow to confirm", (_, push) => {
  test("is confirmed to the client, and read from then on", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS });
    expect((await push(proxy, LAYER)).status).toBe(201);
    expect(registry.recorded("close-upload")).toEqual([]);
    expect(await head(proxy, LAYER)).toEqual({ status: 200, size: `${LAYER.length}` });
    registry.letGo();
    expect(await proxy.settled()).toEqual([]);
    expect(await head(proxy, LAYER)).toEqual({ status: 200, size: `${LAYER.length}` });
  });

  test("holds back the manifest that names it", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS });
    for (const bytes of [CONFIG, LAYER]) expect((await push(proxy, bytes)).status).toBe(201);
    const putting = putManifest(proxy, IMAGE);
    // Other requests are answered meanwhile.
    for (let i = 0; i < 20; i++) expect((await head(proxy, LAYER)).status).toBe(200);
    expect(manifestPuts(registry)).toBe(0);
    registry.letGo();
    const response = await putting;
    expect([
      response.status,
      response.headers.get("docker-content-digest"),
      response.headers.get("location"),
    ]).toEqual([201, IMAGE.digest, "/v2/team/app/manifests/v1"]);
    const kinds = registry.requests.map(({ kind }) => kind);
    expect(kinds.lastIndexOf("close-upload")).toBeLessThan(kinds.indexOf("put-manifest"));
    expect(await registry.pullManifest("team/app", "v1")).toBe(new TextDecoder().decode(IMAGE.bytes));
  });

  test.each([
    "containerd/2.1.9+unknown",
    "buildkit/v0.33",
    "docker/29.0 go/go1.25 containerd-client/2.1.9+unknown storage-driver/overlayfs UpstreamClient(x)",
  ])("has %p try the manifest again before that client's time limit", async (userAgent) => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS });
    for (const bytes of [CONFIG, LAYER]) await push(proxy, bytes);
    const refused = await putManifest(proxy, IMAGE, { userAgent });
    expect(refused.headers.get("retry-after")).toBe("1");
    expect(await refusalOf(refused)).toMatchObject({ status: 429, code: "TOOMANYREQUESTS" });
    expect(manifestPuts(registry)).toBe(0);
    registry.letGo();
    expect(await proxy.settled()).toEqual([]);
    expect((await putManifest(proxy, IMAGE, { userAgent })).status).toBe(201);
  });

  test("that fails in the end is named with the manifest, and sent again", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS, retries: 0 });
    expect((await push(proxy, LAYER)).status).toBe(201);
    registry.letGo(answering(503));
    await until(async () => (await head(proxy, LAYER)).status === 404);
    const { status, code, message } = await refusalOf(await putManifest(proxy, IMAGE));
    expect({ status, code }).toEqual({ status: 503, code: "MANIFEST_BLOB_UNKNOWN" });
    expect(message).toContain(digestOf(LAYER));
    expect(manifestPuts(registry)).toBe(0);
    // The client knows.
    expect(await proxy.settled()).toEqual([]);
  });

  test("that fails in the end is reported when the proxy ends, if no client asked for it", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS, retries: 0 });
    expect((await push(proxy, LAYER)).status).toBe(201);
    registry.letGo(answering(403));
    expect(await proxy.settled()).toMatchObject([{ code: "DENIED" }]);
    await until(async () => (await proxy.spooled()).count === 0);
  });

  test("that fails before the client has its answer makes that answer the refusal", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { retries: 0 });
    registry.letGo(answering(403));
    expect(await refusalOf(await push(proxy, LAYER))).toMatchObject({ status: 403, code: "DENIED" });
    expect(await proxy.settled()).toEqual([]);
    expect((await head(proxy, LAYER)).status).toBe(404);
  });

  test("is mounted once it is there", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: 500 });
    const pushing = push(proxy, LAYER);
    await until(async () => (await head(proxy, LAYER)).status === 200);
    const mounting = proxy.request(`/v2/team/other/blobs/uploads/?mount=${digestOf(LAYER)}&from=team/app`, {
      method: "POST",
    });
    registry.letGo();
    const mounted = await mounting;
    expect([mounted.status, mounted.headers.get("location")]).toEqual([
      201,
      `/v2/team/other/blobs/${digestOf(LAYER)}`,
    ]);
    expect((await pushing).status).toBe(201);
    expect(await head(proxy, LAYER, "team/other")).toEqual({ status: 200, size: `${LAYER.length}` });
  });
});

describe("a manifest", () => {
  test("is not published for a client that has gone", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS });
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    const open = openRequest(proxy, "PUT", "/v2/team/app/manifests/v1", IMAGE.bytes.length);
    open.send(IMAGE.bytes);
    await head(proxy, LAYER);
    open.cut();
    await head(proxy, LAYER);
    registry.letGo();
    expect(await proxy.settled()).toEqual([]);
    // The proxy passes on what others send.
    expect((await putManifest(proxy, IMAGE, { reference: "v2" })).status).toBe(201);
    expect(registry.recorded("put-manifest").map(({ path }) => path)).toEqual(["/v2/team/app/manifests/v2"]);
  });

  test("is not held back by a blob that another client brought after a failure", async () => {
    await using registry = await startSlowRegistry();
    await using proxy = await startTestProxy(registry, { answerMs: ANSWER_MS, retries: 0 });
    expect((await pushBlob(proxy, LAYER)).status).toBe(201);
    registry.letGo(answering(403));
    await until(async () => (await head(proxy, LAYER)).status === 404);
    registry.letGo();
    // Not through this proxy.
    await using other = await startTestProxy(registry);
    for (const bytes of [CONFIG, LAYER]) expect((await pushBlob(other, bytes)).status).toBe(201);
    expect((await head(proxy, LAYER)).status).toBe(200);
    expect((await putManifest(proxy, IMAGE)).status).toBe(201);
  });
});
