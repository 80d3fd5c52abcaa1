/** What a registry says of the images that it has, and what is not believed of it. */
import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { type ImageName, readKnownImages } from "../../src/registry/known-images.ts";
import { startHttpServer } from "../support/http-server.ts";
import { clientOf, type TestClientOptions } from "../support/registry-client.ts";
import { seededBytes } from "../support/seeded-bytes.ts";

const OCI = "application/vnd.oci.image";
const DOCKER = "application/vnd.docker";
const GZIP = `${OCI}.layer.v1.tar+gzip`;

const digest = (seed: number): string => digestOf(seededBytes(20, seed));

type Document = Readonly<Record<string, unknown>>;
type Answers = Readonly<Record<string, () => Response>>;

type FixtureOptions = {
  readonly layers?: readonly { mediaType: string; digest?: string; size?: unknown }[];
  readonly diffIds?: readonly string[];
  /** Over what the manifest has. */
  readonly manifest?: Document;
  /** In place of the config that the manifest names. */
  readonly served?: string;
};

/** An image at the registry: what it answers, and what the config and the manifest are. */
function imageAt(repository: string, tag: string, options: FixtureOptions = {}) {
  const layers = (options.layers ?? [{ mediaType: GZIP }, { mediaType: GZIP }]).map((layer, i) => ({
    digest: digest(100 + i),
    size: 1000 + i,
    ...layer,
  }));
  const diffIds = options.diffIds ?? layers.map((_, i) => digest(200 + i));
  const config = JSON.stringify({ ü: "é", rootfs: { type: "layers", diff_ids: diffIds } });
  const configDigest = digestOf(new TextEncoder().encode(config));
  const manifest = JSON.stringify({
    schemaVersion: 2,
    mediaType: `${OCI}.manifest.v1+json`,
    config: { mediaType: `${OCI}.config.v1+json`, digest: configDigest, size: config.length },
    layers,
    ...options.manifest,
  });
  const answers: Answers = {
    [`/v2/${repository}/manifests/${tag}`]: () => new Response(manifest),
    [`/v2/${repository}/blobs/${configDigest}`]: () => new Response(options.served ?? config),
  };
  return { answers, config, configDigest, manifest, layers, diffIds };
}

const V1: ImageName = { repository: "team/app", tag: "v1" };

/** Asks a registry that answers so, and 404 else. */
async function ask(answers: Answers, images: readonly ImageName[] = [V1], options: TestClientOptions = {}) {
  const asked: string[] = [];
  await using server = startHttpServer((request) => {
    const { pathname } = new URL(request.url);
    asked.push(`${request.method} ${pathname}`);
    return answers[pathname]?.() ?? new Response("{}", { status: 404 });
  });
  const client = clientOf(server, options);
  const unread: string[] = [];
  const known = await readKnownImages(client, images, "gzip", client, ({ repository, tag }, reason) =>
    unread.push(`${repository}:${tag} ${reason}`),
  );
  return { known, asked, unread, retries: client.seenRetries };
}

describe("an image at the registry", () => {
  test("says what its blobs unpack to, in two requests", async () => {
    const image = imageAt("team/app", "v1");
    const { known, asked } = await ask(image.answers);
    expect(asked).toEqual(["GET /v2/team/app/manifests/v1", `GET /v2/team/app/blobs/${image.configDigest}`]);
    expect(known).toHaveLength(1);
    expect(known[0]?.repository).toBe("team/app");
    expect(known[0]?.digest as string).toBe(digestOf(new TextEncoder().encode(image.manifest)));
    expect(known[0]?.config.descriptor.digest as string).toBe(image.configDigest);
    expect(await known[0]?.config.content.text()).toBe(image.config);
    expect(Object.fromEntries(known[0]?.layers ?? [])).toEqual({
      [image.diffIds[0] ?? ""]: { mediaType: GZIP, digest: image.layers[0]?.digest, size: 1000 },
      [image.diffIds[1] ?? ""]: { mediaType: GZIP, digest: image.layers[1]?.digest, size: 1001 },
    } as never);
  });

  test("that is not there costs one request", async () => {
    const { known, asked, unread } = await ask({});
    expect({ known, asked }).toEqual({ known: [], asked: ["GET /v2/team/app/manifests/v1"] });
    expect(unread).toEqual(["team/app:v1 the registry does not have it."]);
  });

  test("may be of another repository, and one of several that is not there costs the others nothing", async () => {
    const names = [V1, { repository: "team/base", tag: "main" }, { repository: "team/app", tag: "latest" }];
    const { known, asked, unread } = await ask(imageAt("team/base", "main").answers, names);
    expect(known.map(({ repository }) => repository)).toEqual(["team/base"]);
    expect(asked).toHaveLength(4);
    expect(unread.map((each) => each.split(" ")[0])).toEqual(["team/app:v1", "team/app:latest"]);
  });

  test.each([
    [`${DOCKER}.distribution.manifest.v2+json`, `${DOCKER}.image.rootfs.diff.tar.gzip`],
    [`${OCI}.manifest.v1+json`, GZIP],
  ])("gets OCI's names for its layers where it is of the type %s", async (mediaType, layerType) => {
    const image = imageAt("team/app", "v1", { layers: [{ mediaType: layerType }], manifest: { mediaType } });
    const { known } = await ask(image.answers);
    expect([...(known[0]?.layers.values() ?? [])].map((layer) => layer.mediaType)).toEqual([GZIP]);
  });

  test("says nothing of layers that are compressed otherwise, or of another kind", async () => {
    const types = [
      `${OCI}.layer.v1.tar+zstd`,
      `${OCI}.layer.v1.tar`,
      GZIP,
      `${OCI}.layer.nondistributable.v1.tar+gzip`,
      `${DOCKER}.image.rootfs.foreign.diff.tar.gzip`,
      "application/vnd.in-toto+json",
      "",
    ];
    const image = imageAt("team/app", "v1", { layers: types.map((mediaType) => ({ mediaType })) });
    const { known } = await ask(image.answers);
    expect([...(known[0]?.layers.keys() ?? [])].map(String)).toEqual([image.diffIds[2] ?? ""]);
  });
});

describe("an index at the registry", () => {
  const ATTESTATION = { os: "unknown", architecture: "unknown" };

  /** Images of these seeds under their digests, and an index of them as v1. */
  function indexOf(seeds: readonly number[], extra: readonly Document[] = []) {
    const images = seeds.map((seed) => {
      const image = imageAt("team/app", "child", { layers: [{ mediaType: GZIP, digest: digest(seed) }] });
      const childDigest = digestOf(new TextEncoder().encode(image.manifest));
      const { [`/v2/team/app/manifests/child`]: manifest, ...config } = image.answers;
      const answers = { ...config, [`/v2/team/app/manifests/${childDigest}`]: manifest };
      return { digest: childDigest as string, answers: answers as Answers };
    });
    const manifests = images.map((image, i) => ({
      mediaType: `${OCI}.manifest.v1+json`,
      digest: image.digest,
      size: 1,
      platform: { os: "linux", architecture: `cpu${i}` },
    }));
    const index = JSON.stringify({ schemaVersion: 2, manifests: [...manifests, ...extra] });
    const answers: Answers = Object.assign({}, ...images.map((image) => image.answers), {
      "/v2/team/app/manifests/v1": () => new Response(index),
    });
    return { answers, digests: images.map((image) => image.digest) };
  }

  test("counts by its images of all platforms, without attestations and other indexes", async () => {
    const { answers, digests } = indexOf(
      [1, 2],
      [
        { digest: digest(8), size: 1, platform: ATTESTATION },
        { digest: digest(9), size: 1, mediaType: `${OCI}.index.v1+json` },
      ],
    );
    const { known, asked, unread } = await ask(answers);
    expect(known.map((image) => image.digest as string)).toEqual(digests);
    expect(known.map(({ repository }) => repository)).toEqual(["team/app", "team/app"]);
    const layers = known.flatMap((image) => [...image.layers.values()]);
    expect(layers.map((layer) => layer.digest as string)).toEqual([digest(1), digest(2)]);
    expect(asked).toHaveLength(5);
    expect(unread).toEqual([]);
  });

  test("counts by those of its images that are there, and as their digests say", async () => {
    const { answers, digests } = indexOf([1, 2, 3]);
    const { known, unread } = await ask({
      ...answers,
      [`/v2/team/app/manifests/${digests[0]}`]: () => new Response(null, { status: 404 }),
      [`/v2/team/app/manifests/${digests[1]}`]:
        answers[`/v2/team/app/manifests/${digests[2]}`] ?? Response.error,
    });
    expect(known.map((image) => image.digest as string)).toEqual(digests.slice(2));
    expect(unread).toEqual([]);
  });

  test("of hundreds of images costs few requests", async () => {
    const { answers, digests } = indexOf(Array.from({ length: 300 }, (_, i) => 1000 + i));
    const { known, asked } = await ask(answers);
    expect(known.map((image) => image.digest as string)).toEqual(digests.slice(0, 32));
    expect(asked.length).toBeLessThanOrEqual(1 + 2 * 32);
  });
});

describe("nothing is known of the layers of", () => {
  const index = {
    mediaType: `${OCI}.index.v1+json`,
    manifests: [{ digest: digest(1) }],
    config: undefined,
    layers: undefined,
  };
  const cases: [what: string, options: FixtureOptions][] = [
    ["an index whose images are not there", { manifest: index }],
    [
      "a manifest of version 1",
      { manifest: { schemaVersion: 1, config: undefined, layers: undefined, fsLayers: [] } },
    ],
    ["a config that is not what its digest says", { served: '{"rootfs":{"diff_ids":[]}}' }],
    ["a config that is no image's", { served: "" }],
    ["more layers than diffIDs", { diffIds: [digest(1)] }],
    ["fewer layers than diffIDs", { diffIds: [1, 2, 3].map(digest) }],
    [
      "a config whose digest leads elsewhere",
      { manifest: { config: { mediaType: "x", digest: "sha256:../../../team/other/blobs", size: 1 } } },
    ],
    [
      "a config whose digest is of another kind",
      { manifest: { config: { mediaType: "x", digest: `sha512:${"a".repeat(128)}`, size: 1 } } },
    ],
    ["a layer whose digest leads elsewhere", { layers: [{ mediaType: GZIP, digest: "sha256:../x" }] }],
    ["a layer whose digest has a second line", { layers: [{ mediaType: GZIP, digest: `${digest(1)}\nx` }] }],
    ["a layer of a negative size", { layers: [{ mediaType: GZIP, size: -1 }] }],
    ["a layer of a size beyond numbers", { layers: [{ mediaType: GZIP, size: 1e300 }] }],
    ["a layer of half a byte", { layers: [{ mediaType: GZIP, size: 0.5 }] }],
    ["a diffID that is none", { layers: [{ mediaType: GZIP }], diffIds: ["sha256:no"] }],
  ];
  test.each(cases)("%s", async (_, options) => {
    const { known, retries, unread } = await ask(imageAt("team/app", "v1", options).answers);
    expect({ known, retries }).toEqual({ known: [], retries: [] });
    expect(unread).toHaveLength(1);
  });

  const configPath = Object.keys(imageAt("team/app", "v1").answers)[1] ?? "";
  const manifestPath = "/v2/team/app/manifests/v1";
  const good = imageAt("team/app", "v1").answers;
  test.each([
    ["a manifest that is no JSON", manifestPath, () => new Response("<html>")],
    ["a manifest that never ends", manifestPath, () => new Response(`[${" ".repeat(3 * 1024 * 1024)}`)],
    ["a config that is gone", configPath, () => new Response(null, { status: 404 })],
    ["a config of more than a MiB", configPath, () => new Response("x".repeat(2 * 1024 * 1024))],
    [
      "what sends elsewhere for ever",
      manifestPath,
      () => new Response(null, { status: 307, headers: { location: manifestPath } }),
    ],
    [
      "what repeats no secret, but leads to no address",
      manifestPath,
      () => new Response(null, { status: 307, headers: { location: "ftp://x/" } }),
    ],
  ] as const)("%s", async (_, path, answer) => {
    expect((await ask({ ...good, [path]: answer })).known).toEqual([]);
  });

  test.each([400, 401, 403, 405, 406])("what is refused with %d, which is asked for once", async (status) => {
    const { known, asked } = await ask({ ...good, [manifestPath]: () => new Response(null, { status }) });
    expect(known).toEqual([]);
    // A refusal may be answered with newer credentials.
    expect(asked.filter((request) => !request.endsWith("/v2/")).length).toBeLessThanOrEqual(2);
  });

  test.each([500, 501, 502, 503, 429])(
    "what fails with %d, after a few tries: layers can be made as well",
    async (status) => {
      const answers = { ...good, [manifestPath]: () => new Response(null, { status }) };
      const { known, asked, retries } = await ask(answers, [V1], { retries: 8 });
      expect(known).toEqual([]);
      expect(asked.length).toBeLessThanOrEqual(3);
      expect(retries.length).toBeLessThanOrEqual(2);
      for (const retry of retries) expect(retry.retries).toBe(2);
    },
  );
});

test("an interruption ends the search for known layers", async () => {
  const reason = new Error("enough");
  await using server = startHttpServer(() => {
    client.abort.abort(reason);
    return new Promise<Response>(() => {});
  });
  const client = clientOf(server);
  const reading = readKnownImages(client, [V1], "gzip", client, () => {});
  expect(await reading.then(String, (error: unknown) => error)).toBe(reason);
});

test("a config behind a redirect, as registries with a store beside them have it, is read without credentials", async () => {
  const image = imageAt("team/app", "v1");
  const seen: (string | null)[] = [];
  await using storage = startHttpServer((request) => {
    seen.push(request.headers.get("authorization"));
    return new Response(image.config);
  });
  const answers = {
    ...image.answers,
    [`/v2/team/app/blobs/${image.configDigest}`]: () =>
      new Response(null, { status: 307, headers: { location: `${storage.url}/signed` } }),
  };
  const { known } = await ask(answers, [V1], { authorization: "Basic bWU6aHVzaA==" });
  expect(known).toHaveLength(1);
  expect(seen).toEqual([null]);
});
