/** Pushes of whole trees of manifests: what arrives, in which order, and what becomes of it where a registry disagrees. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { type PushEvent, type PushOptions, push } from "../../index.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { answering, faultAt } from "../support/faults.ts";
import {
  attestationOf,
  descriptorOf,
  EMPTY_TYPE,
  type FixtureBlob,
  type FixtureTree,
  filesOf,
  fixtureImage,
  indexOf,
  LIST_TYPE,
  manifestOf,
  multiPlatform,
  platformEntry,
  platformImage,
  untypedManifest,
} from "../support/image-fixture.ts";
import { archiveBytes, type FixtureFiles, layoutFiles } from "../support/image-forms.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const DOCKER_TYPE = "application/vnd.docker.distribution.manifest.v2+json";
const ATTESTED = "vnd.docker.reference.digest";

type Json = { mediaType?: string; manifests: { digest: string; annotations?: Record<string, string> }[] };

/** A layout whose entries are pushed from, each time with a cache of its own, to one registry. */
async function workplace(files: FixtureFiles, intercept?: Intercept) {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry({ ...(intercept && { intercept }) }));
  const source = join(folder.path, "image.tar");
  await Bun.write(source, archiveBytes(files));
  let caches = 0;
  return {
    registry,
    async push(options: Partial<PushOptions> = {}) {
      const events: PushEvent[] = [];
      const pushed = await push({
        retryDelayMs: 10,
        source,
        target: `${registry.host}/team/app:v1`,
        cacheDirectory: join(folder.path, `cache-${++caches}`),
        report: (event) => events.push(event),
        ...options,
      });
      const notices = events.flatMap((event) => (event.type === "notice" ? [event.code] : []));
      return { pushed, events, notices };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

/** What manifests were put under, in order. */
const places = (registry: TestRegistry) =>
  registry.recorded("put-manifest").map(({ path }) => path.slice(path.lastIndexOf("/") + 1));

const layoutOf = ({ root, files }: FixtureTree, ...more: readonly object[]) => ({
  ...layoutFiles([descriptorOf(root, MEDIA_TYPE.index), ...more]),
  ...files,
});

const pull = async (registry: TestRegistry, reference: string) =>
  (await registry.pullManifest("team/app", reference)) ?? "";

const readIndex = async (registry: TestRegistry, reference: string) =>
  JSON.parse(await pull(registry, reference)) as Json;

/** A registry that refuses some manifests, for what their type or text is. */
const refusing =
  (status: number, isRefused: (type: string) => boolean): Intercept =>
  async (request, kind, answer) =>
    kind === "put-manifest" && isRefused(request.headers.get("content-type") ?? "")
      ? answering(status)(request, kind, answer)
      : undefined;

/** Two platforms with attestations, and an index in the index. */
function nestedTree() {
  const multi = multiPlatform();
  const riscv64 = platformImage("riscv64", [1, 4]);
  const inner = indexOf([riscv64.entry, attestationOf(riscv64.root).entry]);
  const entries = [multi.amd64, multi.arm64, multi.aboutAmd64, multi.aboutArm64].map(({ entry }) => entry);
  const root = indexOf([...entries, descriptorOf(inner, MEDIA_TYPE.index)], { annotations: { ü: "🐢" } });
  const files = {
    ...multi.files,
    ...riscv64.files,
    ...attestationOf(riscv64.root).files,
    ...filesOf([inner, root]),
  };
  const { amd64, arm64, aboutAmd64, aboutArm64 } = multi;
  const children = [amd64, arm64, aboutAmd64, aboutArm64, riscv64, attestationOf(riscv64.root)];
  return { root, files, inner, amd64, arm64, riscv64, children };
}

describe("a tree that is all there", () => {
  const tree = nestedTree();

  test("goes up whole: what an index lists before it, by digest, and the tag last", async () => {
    await using place = await workplace(layoutOf(tree));
    const { pushed, notices } = await place.push();
    expect(pushed.digest as string).toBe(tree.root.digest);
    expect(notices).toEqual([]);
    expect(places(place.registry)).toEqual([
      ...tree.children.map(({ root }) => root.digest),
      tree.inner.digest,
      "v1",
    ]);
    for (const { root } of [tree, { root: tree.inner }, ...tree.children])
      expect(await pull(place.registry, root.digest)).toBe(Buffer.from(root.bytes).toString());
    for (const { layers } of [tree.amd64, tree.arm64, tree.riscv64])
      for (const { digest, bytes } of layers)
        expect(await place.registry.pullBlob("team/app", digest)).toEqual(bytes);
    const kinds = place.registry.requests.map(({ kind }) => kind);
    expect(kinds.lastIndexOf("close-upload")).toBeLessThan(kinds.indexOf("put-manifest"));
  });

  test("has the layers that its platforms share sent once, and each other blob once", async () => {
    await using place = await workplace(layoutOf(tree));
    const { events } = await place.push();
    // Four layers, a config for each platform and each attestation, and what the attestations say.
    const blobs = 4 + 3 + 3 + 3;
    expect(place.registry.recorded("start-upload")).toHaveLength(blobs);
    const sent = events.flatMap((event) =>
      event.type === "blob" && event.state === "done" && event.how === "sent" ? [event.id] : [],
    );
    expect(new Set(sent).size).toBe(sent.length);
    expect(sent).toHaveLength(blobs);
  });

  test("is sent once: another push of it only asks", async () => {
    await using place = await workplace(layoutOf(tree));
    const first = await place.push();
    const { pushed } = await place.push();
    expect(pushed).toMatchObject({ digest: first.pushed.digest, sentBytes: 0 });
    expect(pushed.presentBytes).toBe(first.pushed.sentBytes);
  });

  test("has nothing published where a blob of one of its images cannot be sent", async () => {
    const [, layer] = tree.riscv64.layers;
    const damaged = { ...tree.files, [layer?.path ?? ""]: Uint8Array.from(layer?.bytes ?? []).with(1000, 1) };
    await using place = await workplace(layoutOf({ root: tree.root, files: damaged }));
    expect((await rejection(place.push())).code).toBe("CONTENT_MISMATCH");
    expect(places(place.registry)).toEqual([]);
  });

  test("leaves an index with the platforms that were asked for, and says what is left out", async () => {
    await using place = await workplace(layoutOf(tree));
    const { pushed, notices } = await place.push({ platforms: ["linux/riscv64", "linux/arm64"] });
    expect(notices).toEqual(["INDEX_REDUCED"]);
    const { manifests } = await readIndex(place.registry, "v1");
    expect(digestOf(await pull(place.registry, "v1"))).toBe(pushed.digest);
    const [arm64, about, inner, ...others] = manifests;
    expect([arm64?.digest, inner?.digest, others]).toEqual([tree.arm64.root.digest, tree.inner.digest, []]);
    expect(about?.annotations?.[ATTESTED]).toBe(tree.arm64.root.digest);
    expect(places(place.registry)).not.toContain(tree.amd64.root.digest);
  });
});

test("An attestation, signature or chart alone goes up as it is", async () => {
  const tree = manifestOf("{}", [Buffer.from("a"), Buffer.from("bc")], {
    configType: EMPTY_TYPE,
    layerType: "text/plain",
  });
  await using place = await workplace(layoutOf(tree));
  const { pushed } = await place.push({ compression: { kind: "zstd", level: 3 }, forceCompression: true });
  expect(pushed.digest as string).toBe(tree.root.digest);
  for (const { digest, bytes } of tree.layers)
    expect(await place.registry.pullBlob("team/app", digest)).toEqual(bytes);
});

test("An index whose layers come uncompressed names the new manifests, and so do its attestations", async () => {
  const images = ["amd64", "arm64"].map((architecture) => {
    const { config, layers } = fixtureImage(1, architecture.length);
    const image = manifestOf(config.replace("amd64", architecture), layers, {
      layerType: MEDIA_TYPE.layer.none,
    });
    return { ...image, entry: platformEntry(image.root, architecture) };
  });
  const abouts = images.map(({ root }) => attestationOf(root));
  const parts = [...images, ...abouts];
  const root = indexOf(parts.map(({ entry }) => entry));
  const files = Object.assign(filesOf([root]), ...parts.map((part) => part.files)) as FixtureTree["files"];
  await using place = await workplace(layoutOf({ root, files }));
  const { pushed } = await place.push();
  expect(pushed.digest as string).not.toBe(root.digest);
  const { manifests } = await readIndex(place.registry, "v1");
  const [amd64, arm64, aboutAmd64, aboutArm64] = manifests;
  expect(manifests).toHaveLength(4);
  expect(amd64?.digest).not.toBe(images[0]?.root.digest);
  expect(aboutAmd64?.annotations?.[ATTESTED]).toBe(amd64?.digest);
  expect(aboutArm64?.annotations?.[ATTESTED]).toBe(arm64?.digest);
  expect(aboutAmd64?.digest).toBe(abouts[0]?.root.digest);
  expect(places(place.registry)).toEqual([...manifests.map(({ digest }) => digest), "v1"]);
});

describe("a blob that the registry wrongly reports", () => {
  test("is sent again for the manifest of the tree that needs it, and counts as sent", async () => {
    const multi = multiPlatform();
    const wrong = multi.arm64.layers[1] as FixtureBlob;
    let isWrong = true;
    const mistaken: Intercept = (request, kind) => {
      if (kind !== "head-blob" || !request.url.endsWith(wrong.digest) || !isWrong) return undefined;
      isWrong = false;
      return new Response(null, {
        status: 200,
        headers: { "content-length": `${wrong.bytes.length}`, "docker-content-digest": wrong.digest },
      });
    };
    await using place = await workplace(layoutOf(multi), mistaken);
    const { pushed, notices } = await place.push();
    expect([isWrong, notices]).toEqual([false, []]);
    expect(pushed).toMatchObject({ digest: multi.root.digest, presentBytes: 0 });
    expect(await place.registry.pullBlob("team/app", wrong.digest)).toEqual(wrong.bytes);
    const puts = place.registry
      .recorded("put-manifest")
      .map(({ path, status }) => [path.split("/").at(-1), status]);
    expect(puts.slice(0, 3)).toEqual([
      [multi.amd64.root.digest, 201],
      [multi.arm64.root.digest, 400],
      [multi.arm64.root.digest, 201],
    ]);
    expect(puts.at(-1)).toEqual(["v1", 201]);
  });

  test("is verified when it is sent again: other bytes than its digest's are never sent whole", async () => {
    const config = { configType: EMPTY_TYPE, layerType: "text/plain" };
    const { root, layers, files } = manifestOf("{}", [Buffer.from("a chart")], config);
    const [layer] = layers as [FixtureBlob];
    const mistaken: Intercept = (request, kind) =>
      kind === "head-blob" && request.url.endsWith(layer.digest)
        ? new Response(null, { headers: { "content-length": `${layer.bytes.length}` } })
        : undefined;
    const damaged = { ...files, [layer.path]: Buffer.from("a chxrt") };
    await using place = await workplace(
      { ...layoutFiles([descriptorOf(root, MEDIA_TYPE.manifest)]), ...damaged },
      mistaken,
    );
    const { code } = await rejection(place.push({ retries: 0 }));
    const closed = place.registry
      .recorded("close-upload")
      .map(({ status, bodyBytes }) => [status, bodyBytes]);
    expect([code, closed.filter(([, bytes]) => bytes === layer.bytes.length)]).toEqual([
      "CONTENT_MISMATCH",
      [],
    ]);
    expect(place.registry.recorded("put-manifest").map(({ status }) => status)).toEqual([400]);
  });
});

describe("a registry that does not take a manifest's form", () => {
  test("such as serverless-registry without a type gets a new one with the same blobs, and a notice says so", async () => {
    const image = fixtureImage(1, 2);
    const blobs = untypedManifest(image, (layer) => Bun.gzipSync(layer), MEDIA_TYPE.layer.gzip);
    await using place = await workplace({
      ...layoutFiles([{ digest: blobs.root.digest }]),
      ...blobs.files,
    });
    const { pushed, events, notices } = await place.push();
    expect(notices).toEqual(["MANIFEST_REFUSED"]);
    expect(events).toContainEqual(
      expect.objectContaining({ code: "MANIFEST_REFUSED", digest: blobs.root.digest }),
    );
    expect(pushed.digest as string).not.toBe(blobs.root.digest);
    const layers = blobs.layers.map((layer) => descriptorOf(layer, MEDIA_TYPE.layer.gzip));
    expect(JSON.parse(await pull(place.registry, "v1"))).toMatchObject({
      mediaType: MEDIA_TYPE.manifest,
      layers,
    });
  });

  test("takes the new one in an index, which then names it, and a new index where that has no type", async () => {
    const { config, layers } = fixtureImage(1, 2);
    const typeless = manifestOf(
      config,
      layers.map((layer) => Bun.gzipSync(layer)),
      { more: { mediaType: undefined } },
    );
    const about = attestationOf(typeless.root);
    const arm64 = platformImage("arm64", [1]);
    for (const mediaType of [MEDIA_TYPE.index, undefined]) {
      const root = indexOf([platformEntry(typeless.root, "amd64"), arm64.entry, about.entry], { mediaType });
      const files = { ...typeless.files, ...about.files, ...arm64.files, ...filesOf([root]) };
      await using place = await workplace(layoutOf({ root, files }));
      const { pushed, notices } = await place.push();
      expect(notices).toContain("MANIFEST_REFUSED");
      expect(pushed.digest as string).not.toBe(root.digest);
      const pulled = await readIndex(place.registry, "v1");
      expect(pulled.mediaType).toBe(MEDIA_TYPE.index);
      const [first, second, third] = pulled.manifests;
      expect([second?.digest, third?.digest]).toEqual([arm64.root.digest, about.root.digest]);
      expect(third?.annotations?.[ATTESTED]).toBe(first?.digest);
      expect(JSON.parse(await pull(place.registry, first?.digest ?? ""))).toMatchObject({
        mediaType: MEDIA_TYPE.manifest,
      });
    }
  });

  test("gets a whole index that only lacks a type with one, and its manifests unchanged", async () => {
    const multi = multiPlatform();
    const { schemaVersion, manifests } = JSON.parse(Buffer.from(multi.root.bytes).toString());
    const root = indexOf(manifests, { schemaVersion, mediaType: undefined });
    await using place = await workplace(layoutOf({ root, files: { ...multi.files, ...filesOf([root]) } }));
    const { pushed, events } = await place.push();
    expect(events).toContainEqual(expect.objectContaining({ code: "MANIFEST_REFUSED", digest: root.digest }));
    expect(await readIndex(place.registry, pushed.digest)).toMatchObject({
      mediaType: MEDIA_TYPE.index,
      manifests,
    });
  });

  test("such as zot with Docker's type gets OCI's, of a list and of what that lists", async () => {
    const { config, layers } = fixtureImage(1);
    const docker = manifestOf(
      config,
      layers.map((layer) => Bun.gzipSync(layer)),
      { more: { mediaType: DOCKER_TYPE } },
    );
    const entry = { ...platformEntry(docker.root, "amd64"), mediaType: DOCKER_TYPE };
    const root = indexOf([entry], { mediaType: LIST_TYPE });
    const isDocker = (type: string) => type.includes("docker");
    await using place = await workplace(
      layoutOf({ root, files: { ...docker.files, ...filesOf([root]) } }),
      refusing(415, isDocker),
    );
    const { notices } = await place.push();
    expect(notices).toEqual(["MANIFEST_REFUSED", "MANIFEST_REFUSED", "DIGEST_CHANGED"]);
    expect(await readIndex(place.registry, "v1")).toMatchObject({
      mediaType: MEDIA_TYPE.index,
      manifests: [{ mediaType: MEDIA_TYPE.manifest, platform: { os: "linux", architecture: "amd64" } }],
    });
  });

  test("for a reason that another form does not change fails the push, and nothing is tagged", async () => {
    const multi = multiPlatform();
    await using place = await workplace(layoutOf(multi), faultAt("put-manifest", [1], answering(403)));
    expect((await rejection(place.push())).code).toBe("DENIED");
    expect(await place.registry.pullManifest("team/app", "v1")).toBeUndefined();
  });
});

describe("what refers to a tree", () => {
  const multi = multiPlatform();
  const subject = descriptorOf(multi.root, MEDIA_TYPE.index);
  const about = (more: object) =>
    manifestOf("{}", [Buffer.from("SBOM")], { configType: EMPTY_TYPE, layerType: "text/plain", more });

  test("goes up after it and before its tag", async () => {
    const sbom = about({ subject });
    const files = { ...multi.files, ...sbom.files };
    const named = { annotations: { "org.opencontainers.image.ref.name": "v1" } };
    await using place = await workplace({
      ...layoutFiles([
        descriptorOf(multi.root, MEDIA_TYPE.index, named),
        descriptorOf(sbom.root, MEDIA_TYPE.manifest),
      ]),
      ...files,
    });
    const { pushed } = await place.push();
    expect(pushed.digest as string).toBe(multi.root.digest);
    const order = places(place.registry);
    const [root, referrer, tag] = [multi.root.digest, sbom.root.digest, "v1"].map((each) =>
      order.indexOf(each),
    );
    expect(root).toBeGreaterThan(0);
    expect(referrer).toBeGreaterThan(root ?? 0);
    expect(tag).toBe(order.length - 1);
  });

  test("is left out with a notice where it is not whole in the source, and goes up with what refers to it", async () => {
    const signature = about({ subject });
    const sbom = manifestOf("{}", [Buffer.from("gone")], {
      configType: EMPTY_TYPE,
      layerType: "text/plain",
      more: { subject },
    });
    const there = manifestOf("{}", [Buffer.from("A")], { configType: EMPTY_TYPE, layerType: "text/plain" });
    const gone = manifestOf("{}", [Buffer.from("B")], { configType: EMPTY_TYPE, layerType: "text/plain" });
    const entries = [there, gone].map(({ root }) => descriptorOf(root, MEDIA_TYPE.manifest));
    const index = indexOf(entries, { subject });
    const second = about({ subject: descriptorOf(signature.root, MEDIA_TYPE.manifest) });
    const named = { annotations: { "org.opencontainers.image.ref.name": "v1" } };
    await using place = await workplace({
      ...layoutFiles([
        descriptorOf(multi.root, MEDIA_TYPE.index, named),
        ...[signature, sbom, second].map(({ root }) => descriptorOf(root, MEDIA_TYPE.manifest)),
        descriptorOf(index, MEDIA_TYPE.index),
      ]),
      ...multi.files,
      ...signature.files,
      ...second.files,
      ...there.files,
      ...filesOf([index]),
      ...filesOf([sbom.root]),
    });
    const { events } = await place.push();
    const put = places(place.registry);
    expect(put).toContain(signature.root.digest);
    expect(put).toContain(second.root.digest);
    expect(put).not.toContain(there.root.digest);
    expect(events).toContainEqual({ type: "notice", code: "REFERRERS_LEFT_OUT", count: 2 });
  });

  test("whose subject is not valid is no reason not to push the image beside it", async () => {
    const odd = about({ subject: "x" });
    const named = { annotations: { "org.opencontainers.image.ref.name": "v1" } };
    await using place = await workplace({
      ...layoutFiles([
        descriptorOf(multi.root, MEDIA_TYPE.index, named),
        descriptorOf(odd.root, MEDIA_TYPE.manifest),
      ]),
      ...multi.files,
      ...odd.files,
    });
    const { pushed } = await place.push();
    expect(pushed.digest as string).toBe(multi.root.digest);
    expect(places(place.registry)).not.toContain(odd.root.digest);
  });

  test.each(["../x", "sha256:x"])(
    "tags nothing where its own subject is %j, which is no digest",
    async (digest) => {
      const image = platformImage("amd64", [1], { subject: { ...subject, digest } });
      await using place = await workplace(layoutOf(image));
      expect((await rejection(place.push())).code).toBe("IMAGE_INVALID");
      expect(places(place.registry)).toEqual([]);
    },
  );
});
