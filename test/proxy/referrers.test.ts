/** What refers to a manifest, at registries that list it and at those that do not. */
import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startTestProxy, type TestProxy } from "../support/proxy.ts";

const INDEX = "application/vnd.oci.image.index.v1+json";
const MANIFEST = "application/vnd.oci.image.manifest.v1+json";
const SUBJECT = digestOf(Buffer.from("the subject"));
const FALLBACK = SUBJECT.replace(":", "-");
const EMPTY = {
  mediaType: "application/vnd.oci.empty.v1+json",
  digest: digestOf(Buffer.from("{}")),
  size: 2,
};

type Stored = { readonly type: string; readonly bytes: Uint8Array };

/**
 * A registry of manifests, without blobs.
 *
 * @param answerReferrers undefined: it has no such address
 */
function startManifests(answerReferrers?: (url: URL) => Response, noteSubject = false) {
  const manifests = new Map<string, Stored>();
  const seen: string[] = [];
  const server = startHttpServer(async (request) => {
    const url = new URL(request.url);
    const [, kind, reference = ""] =
      /^\/v2\/team\/app\/(manifests|referrers)\/(.+)$/.exec(url.pathname) ?? [];
    seen.push(`${request.method} ${kind}/${reference}${url.search}`);
    if (kind === "referrers")
      return answerReferrers?.(url) ?? new Response("404 page not found", { status: 404 });
    if (request.method === "PUT") {
      const bytes = await request.bytes();
      const stored = { type: request.headers.get("content-type") ?? "", bytes };
      const digest = digestOf(bytes);
      manifests.set(reference, stored).set(digest, stored);
      const headers = { "docker-content-digest": digest, ...(noteSubject && { "oci-subject": SUBJECT }) };
      return new Response(null, { status: 201, headers });
    }
    const stored = manifests.get(reference);
    if (stored === undefined) return new Response(null, { status: 404 });
    if (request.method === "DELETE") {
      manifests.delete(reference);
      return new Response(null, { status: 202 });
    }
    return new Response(stored.bytes, { headers: { "content-type": stored.type } });
  });
  return { ...server, manifests, seen };
}

function artifact(type: string, n = 0) {
  const manifest = {
    schemaVersion: 2,
    mediaType: MANIFEST,
    artifactType: type,
    config: EMPTY,
    layers: [],
    subject: { mediaType: MANIFEST, digest: SUBJECT, size: 11 },
    annotations: { n: `${n}` },
  };
  const bytes = Buffer.from(JSON.stringify(manifest));
  const digest = digestOf(bytes);
  const descriptor = {
    mediaType: MANIFEST,
    digest,
    size: bytes.length,
    artifactType: type,
    annotations: { n: `${n}` },
  };
  return { bytes, digest, descriptor };
}

function put(proxy: TestProxy, { bytes, digest }: { bytes: Buffer; digest: string }, type = MANIFEST) {
  return proxy.request(`/v2/team/app/manifests/${digest}`, {
    method: "PUT",
    body: new Blob([bytes as Uint8Array<ArrayBuffer>]),
    headers: { "content-type": type },
  });
}

async function list(proxy: TestProxy, query = "") {
  const response = await proxy.request(`/v2/team/app/referrers/${SUBJECT}${query}`);
  const { manifests } = (await response.json()) as { manifests: unknown[] };
  return {
    status: response.status,
    type: response.headers.get("content-type"),
    filters: response.headers.get("oci-filters-applied"),
    manifests,
  };
}

describe("a registry with a list of referrers", () => {
  const answer = (url: URL) => {
    const type = url.searchParams.get("artifactType");
    const manifests = [artifact("a").descriptor, artifact("b").descriptor];
    return Response.json(
      {
        schemaVersion: 2,
        mediaType: INDEX,
        manifests: manifests.filter(({ artifactType }) => type === null || type === artifactType),
      },
      {
        headers: {
          "content-type": INDEX,
          ...(type !== null && { "oci-filters-applied": "artifactType" }),
          link: `<https://registry.example.com${url.pathname}?page=2>; rel="next"`,
        },
      },
    );
  };

  test("has it passed on, with its filter and its link", async () => {
    await using upstream = startManifests(answer);
    await using proxy = await startTestProxy(upstream);
    expect(await list(proxy)).toMatchObject({ status: 200, type: INDEX, filters: null });
    const filtered = await list(proxy, "?artifactType=a");
    expect(filtered).toMatchObject({ filters: "artifactType", manifests: [artifact("a").descriptor] });
    const response = await proxy.request(`/v2/team/app/referrers/${SUBJECT}`);
    expect(response.headers.get("link")).toBe(`</v2/team/app/referrers/${SUBJECT}?page=2>; rel="next"`);
  });

  test("gets no list under a tag, whether it notes subjects or not", async () => {
    for (const noteSubject of [true, false]) {
      await using upstream = startManifests(answer, noteSubject);
      await using proxy = await startTestProxy(upstream);
      const response = await put(proxy, artifact("a"));
      expect([response.status, response.headers.get("oci-subject")]).toEqual([201, SUBJECT]);
      const { digest } = artifact("a");
      expect((await proxy.request(`/v2/team/app/manifests/${digest}`, { method: "DELETE" })).status).toBe(
        202,
      );
      expect([...upstream.manifests.keys()]).toEqual([]);
      expect(upstream.seen.filter((each) => each.includes(FALLBACK))).toEqual([]);
    }
  });
});

test("a registry that lists no referrers as null has a list all the same", async () => {
  await using upstream = startManifests(() => Response.json({ schemaVersion: 2, manifests: null }));
  await using proxy = await startTestProxy(upstream);
  await put(proxy, artifact("a"));
  expect((await list(proxy)).status).toBe(200);
  expect(upstream.manifests.has(FALLBACK)).toBe(false);
});

describe.each([
  ["404", () => new Response("404 page not found", { status: 404 })],
  ["400", () => new Response(null, { status: 400 })],
  ["405", () => new Response(null, { status: 405 })],
  ["406", () => new Response(null, { status: 406 })],
  ["a page for people", () => new Response("<html>", { headers: { "content-type": "text/html" } })],
  ["another JSON", () => Response.json({ message: "welcome" })],
])("a registry without a list of referrers, which answers %s,", (_, answer) => {
  test("gets one under the tag of the subject", async () => {
    await using upstream = startManifests(answer);
    await using proxy = await startTestProxy(upstream, { retries: 0 });
    expect(await list(proxy)).toEqual({ status: 200, type: INDEX, filters: null, manifests: [] });
    for (const each of [artifact("a", 1), artifact("b", 2), artifact("a", 1)]) {
      const response = await put(proxy, each);
      expect([response.status, response.headers.get("oci-subject")]).toEqual([201, SUBJECT]);
    }
    const [a, b] = [artifact("a", 1).descriptor, artifact("b", 2).descriptor];
    expect((await list(proxy)).manifests).toEqual([b, a]);
    expect(await list(proxy, "?artifactType=a")).toEqual({
      status: 200,
      type: INDEX,
      filters: "artifactType",
      manifests: [a],
    });
    expect(upstream.manifests.get(FALLBACK)?.type).toBe(INDEX);
    expect(JSON.parse(Buffer.from(upstream.manifests.get(FALLBACK)?.bytes ?? []).toString())).toEqual({
      schemaVersion: 2,
      mediaType: INDEX,
      manifests: [b, a],
    });
  });
});

describe("the list under a subject's tag", () => {
  test("loses a manifest that is deleted", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    for (const n of [1, 2]) await put(proxy, artifact("a", n));
    const { digest } = artifact("a", 1);
    const response = await proxy.request(`/v2/team/app/manifests/${digest}`, { method: "DELETE" });
    expect(response.status).toBe(202);
    expect((await list(proxy)).manifests).toEqual([artifact("a", 2).descriptor]);
    expect(upstream.manifests.has(digest)).toBe(false);
  });

  test("gets every one of many that come at once", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    const all = Array.from({ length: 10 }, (_, n) => artifact("a", n));
    const statuses = await Promise.all(all.map(async (each) => (await put(proxy, each)).status));
    expect(new Set(statuses)).toEqual(new Set([201]));
    const { manifests } = await list(proxy);
    expect((manifests as { digest: string }[]).map(({ digest }) => digest).toSorted()).toEqual(
      all.map(({ digest }) => digest).toSorted(),
    );
  });

  test("keeps what another client noted there in its own way", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    const theirs = { ...artifact("z").descriptor, platform: { os: "linux" }, "x-unknown": [1] };
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, manifests: [theirs] }));
    upstream.manifests.set(FALLBACK, { type: INDEX, bytes });
    await put(proxy, artifact("a"));
    expect((await list(proxy)).manifests).toEqual([theirs, artifact("a").descriptor]);
  });

  test("is left alone where something else has that tag", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream, { retries: 0 });
    const theirs = { type: MANIFEST, bytes: Buffer.from(JSON.stringify({ config: EMPTY, layers: [] })) };
    upstream.manifests.set(FALLBACK, theirs);
    expect(await list(proxy)).toMatchObject({ status: 200, manifests: [] });
    const { digest } = artifact("a");
    expect((await put(proxy, artifact("a"))).status).toBe(503);
    expect((await proxy.request(`/v2/team/app/manifests/${digest}`, { method: "DELETE" })).status).toBe(202);
    expect(upstream.manifests.get(FALLBACK)).toBe(theirs);
  });

  test("has the config's type where a manifest has none of its own", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    const config = { ...EMPTY, mediaType: "application/x.config" };
    const subject = { mediaType: MANIFEST, digest: SUBJECT, size: 11 };
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config, layers: [], subject }));
    await put(proxy, { bytes, digest: digestOf(bytes) });
    expect((await list(proxy)).manifests).toMatchObject([{ artifactType: "application/x.config" }]);
  });

  test("is not asked for where a manifest has no subject", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    const bytes = Buffer.from(JSON.stringify({ schemaVersion: 2, config: EMPTY, layers: [] }));
    const response = await put(proxy, { bytes, digest: digestOf(bytes) });
    expect([response.status, response.headers.get("oci-subject")]).toEqual([201, null]);
    expect(upstream.seen).toEqual([`PUT manifests/${digestOf(bytes)}`]);
  });
});

describe("a manifest", () => {
  test.each([
    ["no JSON", "not JSON at all"],
    ["another kind", "[]"],
    ["a digest that this proxy cannot check", JSON.stringify({ layers: [{ digest: "sha512:abc" }] })],
    ["a subject that it cannot check", JSON.stringify({ subject: { digest: "sha512:abc" } })],
  ])("can be deleted though it is, or has, %s", async (_, text) => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    const bytes = Buffer.from(text);
    const digest = digestOf(bytes);
    upstream.manifests.set(digest, { type: MANIFEST, bytes });
    const response = await proxy.request(`/v2/team/app/manifests/${digest}`, { method: "DELETE" });
    expect(response.status).toBe(202);
    expect(upstream.manifests.has(digest)).toBe(false);
  });

  test("that the registry does not have cannot be deleted: 404", async () => {
    await using upstream = startManifests();
    await using proxy = await startTestProxy(upstream);
    for (const reference of [SUBJECT, "v1"]) {
      const response = await proxy.request(`/v2/team/app/manifests/${reference}`, { method: "DELETE" });
      expect(response.status).toBe(404);
    }
  });
});
