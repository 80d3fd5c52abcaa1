/** Manifests that clients publish through the proxy. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { answering, faultAlways, faultAt } from "../support/faults.ts";
import { startTestProxy, type TestProxy } from "../support/proxy.ts";
import { manifestOf, openRequest, pushBlob, putManifest, refusalOf } from "../support/proxy-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(20_000);

const CONFIG = seededBytes(500, 1);
const LAYER = seededBytes(3000, 2);
const IMAGE = manifestOf(CONFIG, LAYER);
const INDEX_TYPE = "application/vnd.oci.image.index.v1+json";

const put = (
  proxy: TestProxy,
  body: string | Uint8Array<ArrayBuffer>,
  reference: string,
  headers: Record<string, string> = {},
) => proxy.request(`/v2/team/app/manifests/${reference}`, { method: "PUT", body, headers });

describe("a manifest", () => {
  test("is published as it is, byte for byte, by tag and by digest", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    // As no tool of ours would write it.
    const text = ` ${JSON.stringify(JSON.parse(new TextDecoder().decode(IMAGE.bytes)), undefined, 3)}\n`;
    const digest = digestOf(new TextEncoder().encode(text));
    for (const reference of ["v1", digest]) {
      const response = await put(proxy, text, reference, { "content-type": IMAGE.mediaType });
      const { headers } = response;
      expect([response.status, headers.get("docker-content-digest"), headers.get("location")]).toEqual([
        201,
        digest,
        `/v2/team/app/manifests/${reference}`,
      ]);
      expect(await registry.pullManifest("team/app", reference)).toBe(text);
    }
  });

  test("is given out with its length, as blobs of its size are", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    await putManifest(proxy, IMAGE);
    for (const [path, bytes] of [
      ["manifests/v1", IMAGE.bytes],
      [`manifests/${IMAGE.digest}`, IMAGE.bytes],
      [`blobs/${digestOf(LAYER)}`, LAYER],
    ] as const) {
      const response = await proxy.request(`/v2/team/app/${path}`);
      expect(response.headers.get("content-length")).toBe(`${bytes.length}`);
      expect(await response.bytes()).toEqual(new Uint8Array(bytes));
    }
  });

  test("of a kind without blobs, such as an index, is published", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    await putManifest(proxy, IMAGE, { reference: IMAGE.digest });
    const { digest, mediaType, bytes } = IMAGE;
    const index = JSON.stringify({
      schemaVersion: 2,
      mediaType: INDEX_TYPE,
      manifests: [{ mediaType, digest, size: bytes.length }],
    });
    // Its own words say what it is.
    expect((await put(proxy, new TextEncoder().encode(index), "v1")).status).toBe(201);
    expect(await registry.pullManifest("team/app", "v1")).toBe(index);
  });

  test.each<[string, string | Uint8Array<ArrayBuffer>, string, Record<string, string>, number, string]>([
    ["that is no JSON", "{", "v1", { "content-type": IMAGE.mediaType }, 400, "MANIFEST_INVALID"],
    ["that is no object", "[]", "v1", { "content-type": IMAGE.mediaType }, 400, "MANIFEST_INVALID"],
    ["that is empty", "", "v1", { "content-type": IMAGE.mediaType }, 400, "MANIFEST_INVALID"],
    [
      "whose layers are words",
      '{"layers":["x"]}',
      "v1",
      { "content-type": IMAGE.mediaType },
      400,
      "MANIFEST_INVALID",
    ],
    [
      "whose layer has no digest that can be checked",
      `{"layers":[{"digest":"sha512:${"0".repeat(128)}"}]}`,
      "v1",
      { "content-type": IMAGE.mediaType },
      400,
      "MANIFEST_INVALID",
    ],
    ["without a media type", new TextEncoder().encode("{}"), "v1", {}, 400, "MANIFEST_INVALID"],
    [
      "under another one's digest",
      IMAGE.bytes,
      digestOf(CONFIG),
      { "content-type": IMAGE.mediaType },
      400,
      "DIGEST_INVALID",
    ],
    [
      "under what is no digest",
      IMAGE.bytes,
      "sha256:totallywrong",
      { "content-type": IMAGE.mediaType },
      400,
      "MANIFEST_INVALID",
    ],
    [
      "under a digest of another kind",
      IMAGE.bytes,
      `sha512:${"0".repeat(128)}`,
      { "content-type": IMAGE.mediaType },
      400,
      "DIGEST_INVALID",
    ],
    [
      "of more than 4 MiB",
      new Uint8Array(4 * 1024 * 1024 + 1),
      "v1",
      { "content-type": IMAGE.mediaType },
      413,
      "MANIFEST_INVALID",
    ],
  ])("%s is refused here", async (_, body, reference, headers, status, code) => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    expect(await refusalOf(await put(proxy, body, reference, headers))).toMatchObject({ status, code });
    expect(registry.requests).toEqual([]);
  });

  test("that its client does not send to the end is published nowhere", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    const open = openRequest(proxy, "PUT", "/v2/team/app/manifests/v1", IMAGE.bytes.length);
    open.send(IMAGE.bytes.slice(0, -1));
    open.cut();
    await open.reply;
    expect((await putManifest(proxy, IMAGE, { reference: "v2" })).status).toBe(201);
    expect(registry.recorded("put-manifest").length).toBe(1);
  });

  test("that the registry refuses for a blob has its client send that blob again", async () => {
    const unknown = answering(
      404,
      { "content-type": "application/json" },
      JSON.stringify({ errors: [{ code: "MANIFEST_BLOB_UNKNOWN", detail: { digest: digestOf(LAYER) } }] }),
    );
    await using registry = await startTestRegistry({ intercept: faultAt("put-manifest", [1], unknown) });
    await using proxy = await startTestProxy(registry);
    const head = (bytes: Uint8Array) =>
      proxy.request(`/v2/team/app/blobs/${digestOf(bytes)}`, { method: "HEAD" });
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    const refused = await putManifest(proxy, IMAGE);
    expect(await refusalOf(refused)).toMatchObject({ status: 404, code: "MANIFEST_BLOB_UNKNOWN" });
    expect([(await head(CONFIG)).status, (await head(LAYER)).status]).toEqual([200, 404]);
    const closed = registry.recorded("close-upload").length;
    // The registry has it, and gets it all the same.
    expect((await pushBlob(proxy, LAYER)).status).toBe(201);
    expect(registry.recorded("close-upload").length).toBe(closed + 1);
    expect((await head(LAYER)).status).toBe(200);
    expect((await putManifest(proxy, IMAGE)).status).toBe(201);
  });

  test.each<[string, Intercept, number, string]>([
    ["its contents", answering(400), 400, "UNKNOWN"],
    ["the rights", answering(403), 403, "DENIED"],
    ["the credentials, which the client does not have", answering(401), 403, "DENIED"],
    ["its kind", answering(415), 415, "MANIFEST_INVALID"],
    ["everything", answering(500), 503, "UNAVAILABLE"],
  ])("tells its client that the registry refuses %s", async (_, fault, status, code) => {
    await using registry = await startTestRegistry({ intercept: faultAlways("put-manifest", fault) });
    await using proxy = await startTestProxy(registry, { retries: 1 });
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    expect(await refusalOf(await putManifest(proxy, IMAGE))).toMatchObject({ status, code });
  });

  test("that a registry refuses with 500 for its blobs, as distribution 2.8, is not put again", async () => {
    const unknown = answering(
      500,
      { "content-type": "application/json" },
      JSON.stringify({ errors: [{ code: "UNKNOWN" }, { code: "MANIFEST_BLOB_UNKNOWN" }] }),
    );
    await using registry = await startTestRegistry({ intercept: faultAlways("put-manifest", unknown) });
    await using proxy = await startTestProxy(registry);
    for (const bytes of [CONFIG, LAYER]) await pushBlob(proxy, bytes);
    const refused = await putManifest(proxy, IMAGE);
    expect(await refusalOf(refused)).toMatchObject({ status: 503 });
    expect(registry.recorded("put-manifest").length).toBe(1);
  });
});
