/** Manifests and indexes that are read from a registry, with everything below them. */
import { describe, expect, test } from "bun:test";
import type { Content } from "../../src/oci/content.ts";
import { type Descriptor, INDEX_TYPES, MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { type Digest, digestOf } from "../../src/oci/digest.ts";
import type { Manifest } from "../../src/oci/manifest.ts";
import { readContent } from "../../src/registry/read-content.ts";
import { readManifest } from "../../src/registry/read-manifest.ts";
import { startHttpServer } from "../support/http-server.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";

const FOREIGN = "application/vnd.docker.image.rootfs.foreign.diff.tar.gzip";
const MANIFEST_LIST = INDEX_TYPES[1] as string;

/** A document of a registry, under its digest and maybe under tags. */
type Document = { readonly text: string; readonly type: string; readonly digest: Digest };

function documentOf(value: unknown, type: string = MEDIA_TYPE.manifest): Document {
  const text = typeof value === "string" ? value : JSON.stringify(value);
  return { text, type, digest: digestOf(text) };
}

const entryOf = ({ text, type, digest }: Document, more = {}) => ({
  mediaType: type,
  digest,
  size: text.length,
  ...more,
});

function blob(name: string, more = {}) {
  return { mediaType: MEDIA_TYPE.layer.gzip, digest: digestOf(name), size: name.length, ...more };
}

function imageOf(name: string, more = {}): Document {
  const mediaType = MEDIA_TYPE.manifest;
  return documentOf({
    schemaVersion: 2,
    mediaType,
    config: blob(`config of ${name}`),
    layers: [blob("base"), blob(name)],
    ...more,
  });
}

function indexOf(manifests: readonly unknown[], type: string = MEDIA_TYPE.index): Document {
  return documentOf({ schemaVersion: 2, mediaType: type, manifests }, type);
}

/** A registry with these documents, whose root has the tag `v1`. */
function startLibrary(
  root: Document,
  others: readonly Document[] = [],
  headers: Record<string, string> = {},
) {
  const asked: string[] = [];
  const accepted: (string | null)[] = [];
  const server = startHttpServer((request) => {
    const [, reference = ""] = /\/v2\/their\/app\/manifests\/(.*)$/.exec(request.url) ?? [];
    asked.push(reference);
    accepted.push(request.headers.get("accept"));
    const found = reference === "v1" ? root : others.find(({ digest }) => digest === reference);
    if (found === undefined)
      return Response.json({ errors: [{ code: "MANIFEST_UNKNOWN" }] }, { status: 404 });
    return new Response(found.text, { headers: { "content-type": found.type, ...headers } });
  });
  return { ...server, asked, accepted, client: clientOf(server, { repository: "their/app" }) };
}

type Library = ReturnType<typeof startLibrary>;

async function read({ client }: Library, reference = "v1") {
  const manifest = await readManifest(client, reference, client);
  if (manifest === undefined) throw new Error(`${reference} is missing`);
  return readContent(client, manifest, client);
}

const amd64 = imageOf("amd64");
const arm64 = imageOf("arm64");
const provenance = documentOf({
  schemaVersion: 2,
  mediaType: MEDIA_TYPE.manifest,
  config: blob("config of provenance"),
  layers: [blob("provenance", { mediaType: "application/vnd.in-toto+json" })],
});
const platform = (architecture: string) => ({ platform: { os: "linux", architecture } });
const attestation = {
  platform: { os: "unknown", architecture: "unknown" },
  annotations: { "vnd.docker.reference.type": "attestation-manifest" },
};

/** A tree's manifests, children first. */
function manifestsOf(content: Content): Manifest[] {
  if (content.kind === "image") throw new Error("A registry's images pass through.");
  const below = content.kind === "index" ? content.children.map((child) => child.content as Content) : [];
  return [...below.flatMap(manifestsOf), content.manifest];
}

function blobsOf(content: Content): Descriptor[] {
  if (content.kind === "artifact") return content.blobs.map(({ descriptor }) => descriptor);
  if (content.kind === "image") throw new Error("A registry's images pass through.");
  return content.children.flatMap((child) => blobsOf(child.content as Content));
}

describe("what is read from a registry", () => {
  test("is an index, with the images and attestations that it lists, children first", async () => {
    const root = indexOf([
      entryOf(amd64, platform("amd64")),
      entryOf(arm64, platform("arm64")),
      entryOf(provenance, attestation),
    ]);
    await using library = startLibrary(root, [amd64, arm64, provenance]);
    const content = await read(library);
    expect(manifestsOf(content).map(({ digest }) => digest)).toEqual(
      [amd64, arm64, provenance, root].map(({ digest }) => digest),
    );
    expect(blobsOf(content).map(({ digest }) => digest)).toEqual(
      [
        ["config of amd64", "base", "amd64"],
        ["config of arm64", "base", "arm64"],
        ["config of provenance", "provenance"],
      ]
        .flat()
        .map((name) => digestOf(name)),
    );
    if (content.kind !== "index") throw new Error("It is an index.");
    expect(content.children.map(({ entry }) => [entry.platform, entry.isAttestation])).toEqual([
      ["linux/amd64", false],
      ["linux/arm64", false],
      ["unknown/unknown", true],
    ]);
    expect(Buffer.from(content.manifest.bytes).toString()).toBe(root.text);
  });

  test("is an index of indexes, of Docker's type or OCI's", async () => {
    const inner = indexOf([entryOf(amd64)], MANIFEST_LIST);
    await using library = startLibrary(indexOf([entryOf(inner)]), [inner, amd64]);
    const content = await read(library);
    expect(manifestsOf(content).map(({ mediaType }) => mediaType)).toEqual([
      MEDIA_TYPE.manifest,
      MANIFEST_LIST,
      MEDIA_TYPE.index,
    ]);
  });

  test("leaves out layers that others give out", async () => {
    const layers = [
      blob("windows", { mediaType: FOREIGN, urls: ["https://mcr.example.com/layer"] }),
      blob("mine", { urls: ["https://example.com/mirror"] }),
    ];
    await using library = startLibrary(imageOf("", { layers }));
    const digests = blobsOf(await read(library)).map(({ digest }) => digest);
    expect(digests).toEqual([digestOf("config of "), digestOf("mine")]);
  });

  test("may be an artifact of any kind", async () => {
    const empty = { mediaType: "application/vnd.oci.empty.v1+json", digest: digestOf("{}"), size: 2 };
    const chart = documentOf({
      schemaVersion: 2,
      config: empty,
      layers: [blob("chart", { mediaType: "a/b" })],
    });
    const old = documentOf({
      mediaType: "application/vnd.oci.artifact.manifest.v1+json",
      blobs: [blob("sbom")],
    });
    await using charts = startLibrary(chart);
    await using olds = startLibrary(old);
    expect(blobsOf(await read(charts))).toEqual([empty, blob("chart", { mediaType: "a/b" })]);
    expect(blobsOf(await read(olds))).toEqual([blob("sbom")]);
  });

  test("is asked for once, however often it is listed", async () => {
    const twice = (document: Document) => [entryOf(document), entryOf(document)];
    const inner = indexOf(twice(amd64));
    await using library = startLibrary(indexOf(twice(inner)), [inner, amd64]);
    expect(manifestsOf(await read(library)).map(({ digest }) => digest)).toHaveLength(7);
    expect(library.asked).toEqual(["v1", inner.digest, amd64.digest]);
  });

  test("says what the registry does not have of what an index lists", async () => {
    await using library = startLibrary(indexOf([entryOf(amd64), entryOf(arm64)]), [amd64]);
    expect(await read(library)).toMatchObject({ children: [{ content: {} }, { content: undefined }] });
  });

  test("has limits: how deep indexes go, how many manifests they list, how often, and how large those are together", async () => {
    const nested = [amd64];
    for (let i = 0; i < 5; i++) nested.unshift(indexOf(nested.slice(0, 1).map((each) => entryOf(each))));
    const many = Array.from({ length: 1001 }, (_, i) => imageOf(`${i}`));
    const often = Array.from({ length: 40 }, () => entryOf(amd64));
    const inner = indexOf(often);
    const bomb = indexOf(Array.from({ length: 40 }, () => entryOf(inner)));
    const large = Array.from({ length: 20 }, (_, i) =>
      imageOf(`${i}`, { annotations: { a: "x".repeat(3_500_000) } }),
    );
    for (const [root, others] of [
      [nested[0] as Document, nested],
      [indexOf(many.map((each) => entryOf(each))), many],
      [bomb, [inner, amd64]],
      [indexOf(large.map((each) => entryOf(each))), large],
    ] as const) {
      await using library = startLibrary(root, others);
      expect(await rejection(read(library))).toMatchObject({ code: "IMAGE_INVALID" });
      expect(library.asked.length).toBeLessThan(30);
    }
  });
});

describe("a manifest from a registry", () => {
  test("is asked for in every form that there is", async () => {
    await using library = startLibrary(amd64);
    await read(library);
    for (const type of [
      MEDIA_TYPE.index,
      MEDIA_TYPE.manifest,
      MANIFEST_LIST,
      "application/vnd.docker.distribution.manifest.v2+json",
    ])
      expect(library.accepted[0]).toContain(type);
  });

  test("is undefined where it is missing", async () => {
    await using library = startLibrary(amd64);
    expect(await readManifest(library.client, "v2", library.client)).toBeUndefined();
  });

  test("is refused if its digest is not the one that was asked for, or that the registry tells", async () => {
    await using by = startLibrary(amd64, [{ ...arm64, digest: provenance.digest }]);
    expect(await rejection(read(by, provenance.digest))).toMatchObject({ code: "CONTENT_MISMATCH" });
    await using said = startLibrary(amd64, [], { "docker-content-digest": arm64.digest });
    expect(await rejection(read(said))).toMatchObject({ code: "CONTENT_MISMATCH" });
  });

  test.each([
    ["in Docker's first format", '{"schemaVersion":1,"name":"their/app","fsLayers":[]}'],
    [
      "larger than any registry takes",
      `{"schemaVersion":2,"annotations":{"a":"${"x".repeat(4 * 1024 * 1024)}"}}`,
    ],
    ["no JSON", "<html>"],
    ["no object", "[]"],
  ])("is refused: %s", async (_, text) => {
    await using library = startLibrary(documentOf(text));
    expect(await rejection(read(library))).toMatchObject({ code: "IMAGE_INVALID" });
  });

  test("larger than other answers is read whole", async () => {
    const large = imageOf("large", { annotations: { a: "x".repeat(3_000_000) } });
    await using library = startLibrary(large);
    expect((await read(library)).manifest?.digest).toBe(large.digest);
  });

  test.each([
    ["in it", MEDIA_TYPE.manifest, "text/plain", MEDIA_TYPE.manifest],
    ["in the answer", undefined, `${MEDIA_TYPE.index}; charset=utf-8`, MEDIA_TYPE.index],
    ["that would be another header", "a/b\r\nx: y", MEDIA_TYPE.manifest, MEDIA_TYPE.manifest],
    ["nowhere", undefined, "application/json", MEDIA_TYPE.manifest],
  ])("has the type that is %s", async (_, mediaType, type, expected) => {
    await using library = startLibrary(documentOf({ schemaVersion: 2, mediaType }, type));
    expect((await readManifest(library.client, "v1", library.client))?.mediaType).toBe(expected);
  });
});
