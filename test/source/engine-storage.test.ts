/** Storage of engines, written by hand. That of real engines is read in test/e2e/engine-storage.test.ts. */
import { afterEach, beforeEach, describe, expect, test } from "bun:test";
import { chmod, mkdir, readdir, rename, rm, symlink } from "node:fs/promises";
import { join, relative } from "node:path";
import { blobPath, type DiffId, type Digest, digestOf, hexOf } from "../../src/oci/digest.ts";
import { openStorage } from "../../src/source/storage/open-storage.ts";
import { canChown } from "../support/needs.ts";
import { asNobody, canRunAsNobody } from "../support/nobody.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import type { FixtureMember } from "../support/tar-fixture.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { writeSplitLayer } from "./split-layer.ts";

const LAYERS: readonly (readonly FixtureMember[])[] = [
  [
    { path: "etc/hello", body: "hello\n" },
    { path: "data", body: seededBytes(5000, 1) },
  ],
  [{ path: "etc/hello", body: "changed\n" }],
  [],
];

/** An image that a store has: what is to come out of it. */
type Stored = {
  readonly id: Digest;
  readonly config: Uint8Array<ArrayBuffer>;
  readonly archives: readonly Uint8Array[];
};

type Place = { readonly headers: string; readonly files: string };

let folder: TemporaryFolder;
let root: string;
beforeEach(async () => {
  folder = await temporaryFolder();
  root = join(folder.path, "root");
});
afterEach(() => folder[Symbol.asyncDispose]());

/** What the `docker` command says of its engine. A stand-in for the command alone. */
async function open(image: { id: Digest; isContainerd?: boolean }, info: unknown, exitCode = 0) {
  await Bun.write(join(folder.path, "info.json"), typeof info === "string" ? info : JSON.stringify(info));
  const docker = join(folder.path, "bin/docker");
  const script = `[ "$*" = "info --format {{json .}}" ] && cat '${folder.path}/info.json' && exit ${exitCode}`;
  await Bun.write(docker, `#!/bin/sh\n${script}\n`);
  await chmod(docker, 0o755);
  const environment = { PATH: `${folder.path}/bin:${process.env["PATH"]}` };
  const engine = {
    runtime: "docker",
    command: "docker",
    environment,
    signal: new AbortController().signal,
  } as const;
  return openStorage({ isContainerd: false, ...image }, engine);
}

const dockerInfo = (driver = "overlay2", more = {}) => ({ DockerRootDir: root, Driver: driver, ...more });
const podmanInfo = (driver = "overlay", graphOptions = {}) => ({
  host: {},
  store: { graphRoot: root, graphDriverName: driver, graphOptions },
});

/** Writes layers, each where its number, diffID and chain say. */
async function writeLayers(
  place: (i: number, diffId: Digest, chainId: Digest) => Promise<Place>,
  rootOf: (i: number) => string = () => root,
): Promise<Stored> {
  const archives: Uint8Array[] = [];
  const diffIds: Digest[] = [];
  let chainId: Digest | undefined;
  for (const [i, members] of LAYERS.entries()) {
    const scratch = { root: folder.path, headers: "scratch/headers", files: "scratch/files" };
    const archive = await writeSplitLayer(scratch, members);
    const diffId = digestOf(archive);
    chainId = chainId === undefined ? diffId : digestOf(`${chainId} ${diffId}`);
    await writeSplitLayer({ root: rootOf(i), ...(await place(i, diffId, chainId)) }, members);
    archives.push(archive);
    diffIds.push(diffId);
  }
  const document = { architecture: "amd64", os: "linux", rootfs: { type: "layers", diff_ids: diffIds } };
  const config = new TextEncoder().encode(JSON.stringify(document));
  return { id: digestOf(config), config, archives };
}

async function writeDockerStore(driver = "overlay2"): Promise<Stored> {
  const image = await writeLayers(async (i, _, chainId) => {
    const headers = `image/${driver}/layerdb/sha256/${hexOf(chainId)}/tar-split.json.gz`;
    await Bun.write(join(root, headers, "../cache-id"), `cache-${i}`);
    return { headers, files: driver === "vfs" ? `vfs/dir/cache-${i}` : `${driver}/cache-${i}/diff` };
  });
  await Bun.write(configOfDocker(image, driver), image.config);
  return image;
}

const configOfDocker = ({ id }: Stored, driver = "overlay2") =>
  join(root, `image/${driver}/imagedb/content/sha256/${hexOf(id)}`);

/** @param other the root of the store that has the lowest layer */
async function writePodmanStore(driver = "overlay", other = root): Promise<Stored> {
  const lists = new Map<string, object[]>([root, other].map((each) => [each, []]));
  const rootOf = (i: number) => (i === 0 ? other : root);
  const idOf = (i: number) => hexOf(digestOf(`layer ${i}`));
  const image = await writeLayers(async (i, diffId) => {
    const below = i > 0 && { parent: idOf(i - 1) };
    lists.get(rootOf(i))?.unshift({ id: idOf(i), ...below, "diff-digest": diffId });
    const files = driver === "vfs" ? `vfs/dir/${idOf(i)}` : `${driver}/${idOf(i)}/diff`;
    return { headers: `${driver}-layers/${idOf(i)}.tar-split.gz`, files };
  }, rootOf);
  for (const [each, list] of lists)
    await Bun.write(join(each, `${driver}-layers/layers.json`), JSON.stringify(list));
  const images = [{ id: "0".repeat(64) }, { id: hexOf(image.id), layer: idOf(LAYERS.length - 1) }];
  await Bun.write(join(root, `${driver}-images/images.json`), JSON.stringify(images));
  await Bun.write(configOfPodman(image, driver), image.config);
  return image;
}

const configOfPodman = ({ id }: Stored, driver = "overlay") =>
  join(root, `${driver}-images/${hexOf(id)}/=${Buffer.from(id).toString("base64")}`);

async function expectImage(opened: Awaited<ReturnType<typeof openStorage>>, image: Stored): Promise<void> {
  if (opened.kind !== "layers") throw new Error(JSON.stringify(opened));
  expect(opened.config).toEqual(image.config);
  expect(opened.layers.map(({ diffId }) => diffId)).toEqual(
    image.archives.map((each) => digestOf(each) as string as DiffId),
  );
  for (const [i, layer] of opened.layers.entries()) {
    const bytes = Buffer.concat(await Array.fromAsync(layer.read(new AbortController().signal)));
    expect([layer.size, bytes.equals(image.archives[i] ?? bytes.subarray(1))]).toEqual([bytes.length, true]);
  }
}

async function expectNone(opened: Awaited<ReturnType<typeof openStorage>>, reason: RegExp): Promise<void> {
  expect(opened.kind).toBe("none");
  expect(opened).toEqual({ kind: "none", reason: expect.stringMatching(reason) });
}

describe.skipIf(process.platform !== "linux" || !canChown())("an image in an engine's storage", () => {
  test.each(["overlay2", "fuse-overlayfs", "vfs"])(
    "is read from Docker's classic store with %s",
    async (driver) => {
      const image = await writeDockerStore(driver);
      await expectImage(await open(image, dockerInfo(driver)), image);
    },
  );

  test.each(["overlay", "vfs"])("is read from Podman's storage with %s", async (driver) => {
    const image = await writePodmanStore(driver);
    await expectImage(await open(image, podmanInfo(driver)), image);
  });

  test("is read from Podman's storage as its service describes it to the docker command", async () => {
    const image = await writePodmanStore();
    await expectImage(await open(image, dockerInfo("overlay")), image);
  });

  test.each([
    ["a list", (other: string) => ({ "overlay.additionalImageStores": [`${other}-absent`, other] })],
    ["a single one", (other: string) => ({ "overlay.imagestore": other })],
  ])("is read from Podman's additional stores, which are %s", async (_, options) => {
    const other = join(folder.path, "other");
    const image = await writePodmanStore("overlay", other);
    await expectImage(await open(image, podmanInfo("overlay", options(other))), image);
    await expectNone(await open(image, podmanInfo()), /no layer/);
    // The image alone may be in the other store, too.
    const { graphRoot: _root, ...store } = podmanInfo().store;
    const graphOptions = options(root);
    const image2 = { store: { ...store, graphRoot: other, graphOptions } };
    await expectImage(await open(image, image2), image);
  });

  test("is read through a root that is a link, as people move it to another disk", async () => {
    const image = await writeDockerStore();
    await rename(root, `${root}-moved`);
    await symlink(`${root}-moved`, root);
    await expectImage(await open(image, dockerInfo()), image);
  });

  test("is read as blobs from the content store of Docker's own containerd", async () => {
    const bytes = new TextEncoder().encode('{"schemaVersion":2,"manifests":[]}');
    const id = digestOf(bytes);
    await Bun.write(join(root, "containerd/daemon/io.containerd.content.v1.content", blobPath(id)), bytes);
    const opened = await open({ id, isContainerd: true }, dockerInfo("overlayfs"));
    if (opened.kind !== "content") throw new Error(JSON.stringify(opened));
    expect(opened.root).toBe(id);
    expect(await (await opened.files.open(blobPath(id)))?.bytes()).toEqual(bytes);
    expect(await opened.files.open(blobPath(digestOf("absent")))).toBeUndefined();
    expect(await opened.files.open("index.json")).toBeUndefined();
  });

  test("is read as blobs from the system's content store alone, where the engine names no root", async () => {
    const id = digestOf("absent");
    const opened = await open({ id, isContainerd: true }, { Driver: "overlayfs" });
    expect(opened).toEqual({ kind: "none", reason: expect.not.stringContaining("containerd/daemon") });
  });

  test("is not found if no content store has it", async () => {
    const opened = await open({ id: digestOf("absent"), isContainerd: true }, dockerInfo("overlayfs"));
    await expectNone(opened, /is in no content store.*\/var\/lib\/containerd/);
  });

  const NOT_READ: [why: string, change: (image: Stored) => Promise<unknown>, reason: RegExp][] = [
    ["whose config is not there", (image) => rm(configOfDocker(image)), /ENOENT/],
    ["whose config is another", (image) => Bun.write(configOfDocker(image), "{}"), /digest in its name/],
    ["whose config is a link", (image) => replaceByLink(configOfDocker(image)), /ELOOP/],
    [
      "whose layers' folder is not there",
      () => rm(join(root, "image/overlay2/layerdb"), { recursive: true }),
      /ENOENT/,
    ],
    ["whose store is a link", () => replaceByLink(join(root, "image/overlay2/layerdb")), /ENOTDIR/],
    ["whose headers are damaged", () => spoil("tar-split.json.gz", "{}"), /tar-split/],
    [
      "whose layers are on a disk that is not there",
      () => rm(join(root, "overlay2"), { recursive: true }),
      /cache-0/,
    ],
    ["whose layers have IDs that are paths", () => spoil("cache-id", "../../../etc"), /contains no ID/],
    ["whose engine is on another machine", () => rm(root, { recursive: true }), /ENOENT/],
  ];

  async function replaceByLink(path: string): Promise<void> {
    await rename(path, `${path}-moved`);
    await symlink(`${path}-moved`, path);
  }

  async function spoil(name: string, content: string): Promise<void> {
    for await (const path of new Bun.Glob(`**/${name}`).scan(root))
      await Bun.write(join(root, path), content);
  }

  test.each(NOT_READ)("%s is left to the engine to save", async (_, change, reason) => {
    const image = await writeDockerStore();
    await change(image);
    await expectNone(await open(image, dockerInfo()), reason);
  });

  test.each([
    ["a driver that is not supported", dockerInfo.bind(null, "btrfs"), /driver is "btrfs"/],
    ["no driver", () => ({}), /driver is ""/],
    [
      "layers whose files are in others",
      () => dockerInfo("overlay2", { DriverStatus: [["Native Overlay Diff", "false"]] }),
      /several folders/,
    ],
    ["nothing", () => "", /not valid JSON/],
    ["a list", () => [], /received array/],
    ["no root", () => ({ Driver: "overlay2" }), /not absolute/],
    [
      "a root that is not absolute",
      () => ({ ...dockerInfo(), DockerRootDir: relative(".", root) }),
      /not absolute/,
    ],
    ["a root that is a number", () => ({ DockerRootDir: 5 }), /DockerRootDir/],
  ] as const)("is left to an engine that says it has %s", async (_, info, reason) => {
    await expectNone(await open(await writeDockerStore(), info()), reason);
  });

  test("is left to an engine that does not answer", async () => {
    await expectNone(await open(await writeDockerStore(), dockerInfo(), 1), /Cannot ask the engine/);
  });

  test.each([
    ["has no such image", "images/images.json", "[]", /no image/],
    ["lacks a layer", "layers/layers.json", "[]", /no layer/],
    ["has layers that are below themselves", "layers/layers.json", circle, /is not recorded as/],
    ["does not know a diffID", "layers/layers.json", withoutDiffIds, /is not recorded as/],
    ["lists no images", "images/images.json", "{}", /images\.json/],
    ["has an ID that is a path", "images/images.json", '[{"id":"../../etc"}]', /no ID/],
    ["has a parent that is a path", "layers/layers.json", '[{"id":"x","parent":"../../etc"}]', /no ID/],
  ] as const)("is left to Podman where its storage %s", async (_, file, content, reason) => {
    const image = await writePodmanStore();
    const path = join(root, `overlay-${file}`);
    const text = typeof content === "string" ? content : content(await Bun.file(path).text());
    await Bun.write(path, text);
    await expectNone(await open(image, podmanInfo()), reason);
  });

  function withoutDiffIds(text: string): string {
    return text.replaceAll("diff-digest", "toc-digest");
  }

  test("is left to Podman where it keeps layers with composefs", async () => {
    const image = await writePodmanStore();
    for (const name of await readdir(join(root, "overlay")))
      await mkdir(join(root, "overlay", name, "composefs-data"));
    await expectNone(await open(image, podmanInfo()), /composefs/);
  });

  /** Makes the second layer the parent of the lowest. */
  function circle(text: string): string {
    const layers = JSON.parse(text);
    layers.at(-1).parent = layers[0].id;
    layers[0].parent = layers[0].id;
    return JSON.stringify(layers);
  }

  test.skipIf(!canRunAsNobody())("is left to the engine where we are not root", async () => {
    const script = join(import.meta.dir, "../../src/source/storage/open-storage.ts");
    const code = `const { openStorage } = await import(${JSON.stringify(script)}); console.log(JSON.stringify(await openStorage({}, {})))`;
    const { stdout } = Bun.spawnSync(asNobody([process.execPath, "-e", code]), { cwd: "/" });
    expect(JSON.parse(stdout.toString())).toEqual({ kind: "none", reason: expect.stringContaining("root") });
  });
});
