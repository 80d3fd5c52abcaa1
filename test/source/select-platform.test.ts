/** What is pushed of an index: all of it, or the platforms that were asked for, or what is there. */
import { describe, expect, test } from "bun:test";
import { type Content, manifestDigestsOf } from "../../src/oci/content.ts";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { Manifest } from "../../src/oci/manifest.ts";
import { openContent } from "../../src/source/open-content.ts";
import { type PlatformChoice, selectPlatform } from "../../src/source/select-platform.ts";
import {
  descriptorOf,
  EMPTY_TYPE,
  filesOf,
  fixtureImage,
  indexOf,
  manifestOf,
  multiPlatform,
  platformImage,
} from "../support/image-fixture.ts";
import type { FixtureFiles } from "../support/image-forms.ts";
import { readTree } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";

const multi = multiPlatform();
const { amd64, arm64, aboutAmd64, aboutArm64 } = multi;
const OWN = process.arch === "x64" ? "amd64" : process.arch;

function select(content: Content, choice: Partial<PlatformChoice> = {}) {
  return selectPlatform(content, { platforms: [], allPlatforms: false, ...choice }, `archive "x.tar"`);
}

const failure = (content: Content, choice: Partial<PlatformChoice> = {}) =>
  rejection((async () => select(content, choice))());

/** The fixture's tree without some of its files. */
function without(...gone: readonly { readonly root: { readonly path: string } }[]): FixtureFiles {
  const paths = gone.map(({ root }) => root.path);
  return Object.fromEntries(Object.entries(multi.files).filter(([path]) => !paths.includes(path)));
}

const listed = (content: Content) => manifestDigestsOf(content).map(String);

describe("an index that is all there", () => {
  test.each([[{}], [{ allPlatforms: true }]])("is pushed whole for the choice %j", async (choice) => {
    const content = await readTree(multi.files, multi.root);
    const selected = select(content, choice);
    expect(selected).toEqual({ content, leftOut: undefined });
    expect(selected.content.manifest?.bytes).toEqual(multi.root.bytes);
  });

  test.each(["linux/arm64", "arm64", "linux/arm64/v8", "linux/aarch64"])(
    "leaves the one image of the platform %s, with its own manifest",
    async (platform) => {
      const selected = select(await readTree(multi.files, multi.root), { platforms: [platform] });
      expect(selected.content).toMatchObject({ kind: "image", platform: "linux/arm64" });
      expect(selected.content.manifest?.bytes).toEqual(arm64.root.bytes);
      expect(selected.leftOut).toEqual({ platforms: ["linux/amd64"], attestations: 2 });
    },
  );

  test("need not tell the platforms, which the images' configs have", async () => {
    const images = [platformImage("amd64", [1]), platformImage("arm64", [2])];
    const root = indexOf(images.map(({ entry }) => ({ ...entry, platform: undefined })));
    const content = await readTree(Object.assign(filesOf([root]), ...images.map(({ files }) => files)), root);
    expect(select(content, { platforms: ["linux/arm64"] }).content.manifest?.bytes).toEqual(
      images[1]?.root.bytes,
    );
  });

  test("leaves one image for one platform that is asked for twice", async () => {
    const content = await readTree(multi.files, multi.root);
    expect(select(content, { platforms: ["arm64", "linux/arm64"] }).content.kind).toBe("image");
  });

  test("is pushed as it is if all of its platforms are asked for, in whatever order", async () => {
    const content = await readTree(multi.files, multi.root);
    const selected = select(content, { platforms: ["linux/arm64", "linux/amd64"] });
    expect(selected).toEqual({ content, leftOut: undefined });
  });
});

const riscv64 = platformImage("riscv64", [4]);
const subject = descriptorOf(riscv64.root, MEDIA_TYPE.manifest);
const more = { annotations: { "org.example.title": "ä" }, artifactType: "application/x.example", subject };
const odd = { ...arm64.entry, annotations: { kept: "yes" }, urls: ["https://example.com/x"], unknown: [1] };
const entries = [aboutArm64.entry, riscv64.entry, odd, amd64.entry, aboutAmd64.entry];
const root = indexOf(entries, more);
const files = { ...multi.files, ...riscv64.files, ...filesOf([root]) };

describe("an index of which several platforms are asked for", () => {
  test("keeps them with their attestations, in its own order, and whatever else it says", async () => {
    const { content, leftOut } = select(await readTree(files, root), { platforms: ["amd64", "arm64"] });
    if (content.kind !== "index") throw new Error(`It is ${content.kind}.`);
    expect(leftOut).toEqual({ platforms: ["linux/riscv64"], attestations: 0 });
    const { bytes, digest } = content.manifest;
    expect(JSON.parse(Buffer.from(bytes).toString())).toEqual({
      schemaVersion: 2,
      mediaType: MEDIA_TYPE.index,
      ...more,
      manifests: [aboutArm64.entry, odd, amd64.entry, aboutAmd64.entry],
    });
    expect(digest).toBe(digestOf(bytes));
    const kept = [aboutArm64, arm64, amd64, aboutAmd64].map((each) => each.root.digest);
    expect(listed(content)).toEqual([digest, ...kept]);
  });

  test("leaves out the attestations about what is left out", async () => {
    const selected = select(await readTree(files, root), { platforms: ["riscv64", "amd64"] });
    expect(selected.leftOut).toEqual({ platforms: ["linux/arm64"], attestations: 1 });
    expect(listed(selected.content)).not.toContain(aboutArm64.root.digest);
    expect(listed(selected.content)).toContain(aboutAmd64.root.digest);
  });

  test("leaves out attestations that are not there, and what others are about if that is nothing", async () => {
    const stray = {
      ...aboutArm64.entry,
      annotations: { "vnd.docker.reference.type": "attestation-manifest" },
    };
    const lost = indexOf([amd64.entry, arm64.entry, riscv64.entry, aboutAmd64.entry, stray]);
    const { [aboutAmd64.root.path]: _, ...rest } = files;
    const content = await readTree({ ...rest, ...filesOf([lost]) }, lost);
    const selected = select(content, { platforms: ["amd64", "arm64"] });
    expect(selected.leftOut).toEqual({ platforms: ["linux/riscv64"], attestations: 2 });
    expect(listed(selected.content).slice(1)).toEqual([amd64.root.digest, arm64.root.digest]);
  });

  test("refuses a platform that it does not have, and lists those that it has", async () => {
    const content = await readTree(files, root);
    for (const platforms of [["linux/s390x"], ["amd64", "linux/s390x"]]) {
      const error = await failure(content, { platforms });
      expect([error.code, error.message]).toEqual([
        "IMAGE_NOT_FOUND",
        expect.stringContaining("linux/s390x"),
      ]);
      expect(error.details).toEqual(["linux/riscv64", "linux/arm64", "linux/amd64"]);
    }
  });

  test("refuses a platform that it lists and that is not there", async () => {
    const content = await readTree(without(arm64), multi.root);
    const error = await failure(content, { platforms: ["linux/arm64"] });
    expect([error.code, error.details]).toEqual(["IMAGE_NOT_FOUND", ["linux/amd64"]]);
  });
});

describe("an index that is not all there", () => {
  test.each([
    ["amd64", arm64],
    ["arm64", amd64],
  ] as const)("leaves the one image that is there: %s", async (platform, gone) => {
    const { content, leftOut } = select(await readTree(without(gone), multi.root));
    expect(content).toMatchObject({ kind: "image", platform: `linux/${platform}` });
    const other = platform === "amd64" ? "arm64" : "amd64";
    expect(leftOut).toEqual({ platforms: [`linux/${other}`], attestations: 2 });
  });

  test("leaves the image of this machine's platform, where several are there", async () => {
    const own = platformImage(OWN, [6]);
    const root = indexOf([platformImage("s390x", [5]).entry, platformImage("riscv64", [4]).entry, own.entry]);
    const files = { ...platformImage("riscv64", [4]).files, ...own.files, ...filesOf([root]) };
    const { content, leftOut } = select(await readTree(files, root));
    expect(content).toMatchObject({ kind: "image", platform: `linux/${OWN}` });
    expect(leftOut).toEqual({ platforms: ["linux/s390x", "linux/riscv64"], attestations: 0 });
  });

  test("is refused where several other platforms are there, with the flags that choose", async () => {
    const there = ["riscv64", "ppc64le"].map((architecture) => platformImage(architecture, [4]));
    const root = indexOf([...there, platformImage("s390x", [5])].map(({ entry }) => entry));
    const files = Object.assign(filesOf([root]), ...there.map((each) => each.files)) as FixtureFiles;
    const error = await failure(await readTree(files, root));
    expect([error.code, error.details]).toEqual(["SOURCE_AMBIGUOUS", ["linux/riscv64", "linux/ppc64le"]]);
    expect(error.hint).toBe("Choose one or more: --platform linux/riscv64, --platform linux/ppc64le");
  });

  test("is refused where all platforms are asked for, and lists what is not there", async () => {
    const content = await readTree(without(arm64, aboutArm64), multi.root);
    const error = await failure(content, { allPlatforms: true });
    expect([error.code, error.details.length]).toEqual(["IMAGE_INCOMPLETE", 2]);
    expect(error.details[0]).toBe(`linux/arm64  ${arm64.root.digest}`);
  });

  test("is refused where no image is there", async () => {
    const error = await failure(await readTree(without(amd64, arm64), multi.root));
    expect([error.code, error.details]).toEqual(["IMAGE_INCOMPLETE", ["linux/amd64", "linux/arm64"]]);
  });

  test("is not pushed in silence where it is an index in an index", async () => {
    const outer = indexOf([descriptorOf(multi.root, MEDIA_TYPE.index)]);
    const content = await readTree({ ...without(arm64), ...filesOf([outer]) }, outer);
    const selected = select(content);
    expect(selected.content).toMatchObject({ kind: "image", platform: "linux/amd64" });
    expect(selected.leftOut).toEqual({ platforms: ["linux/arm64"], attestations: 2 });
    expect((await failure(content, { allPlatforms: true })).code).toBe("IMAGE_INCOMPLETE");
  });

  test("leaves of the index in it what was asked for", async () => {
    const inner = descriptorOf(root, MEDIA_TYPE.index, { annotations: { kept: "yes" } });
    const outer = indexOf([inner, descriptorOf(indexOf([riscv64.entry]), MEDIA_TYPE.index)]);
    const all = { ...files, ...filesOf([outer, indexOf([riscv64.entry])]) };
    const { content, leftOut } = select(await readTree(all, outer), { platforms: ["amd64", "arm64"] });
    if (content.kind !== "index") throw new Error(`It is ${content.kind}.`);
    expect(leftOut).toEqual({ platforms: ["linux/riscv64"], attestations: 0 });
    const [child, ...others] = content.children;
    const kept = child?.content?.manifest as Manifest;
    expect(others).toEqual([]);
    expect(child?.entry.digest).toBe(kept.digest);
    expect(JSON.parse(Buffer.from(content.manifest.bytes).toString())).toMatchObject({
      manifests: [{ ...inner, digest: kept.digest, size: kept.bytes.length }],
    });
    expect(JSON.parse(Buffer.from(kept.bytes).toString())).toMatchObject({
      manifests: [aboutArm64.entry, odd, amd64.entry, aboutAmd64.entry],
    });
  });
});

describe("what is no index", () => {
  test("is the image if its platform is the wanted one, however that is written, and else refused", async () => {
    const content = await readTree(arm64.files, arm64.root);
    for (const choice of [{}, { allPlatforms: true }, { platforms: ["arm64", "linux/arm64/v8"] }])
      expect(select(content, choice)).toEqual({ content, leftOut: undefined });
    const error = await failure(content, { platforms: ["linux/amd64"] });
    expect([error.code, error.details]).toEqual(["IMAGE_NOT_FOUND", ["linux/arm64"]]);
  });

  test("is the artifact, which has no platform", async () => {
    const { root, files } = manifestOf("{}", [...fixtureImage(1).layers], { configType: EMPTY_TYPE });
    const content = await readTree(files, root);
    expect(select(content, { platforms: ["linux/amd64"] })).toEqual({ content, leftOut: undefined });
  });
});

test("An image that only passes through is refused for another platform, which its config tells", async () => {
  const config = JSON.stringify({ architecture: "amd64", os: "windows", rootfs: { diff_ids: [] } });
  const encrypted = { layerType: `${MEDIA_TYPE.layer.gzip}+encrypted` };
  const { root, files } = manifestOf(config, [Bun.gzipSync("a layer")], encrypted);
  const whole = await readTree(files, root);
  expect(whole.kind).toBe("artifact");
  const about = {
    title: "archive",
    origin: { kind: "archive", name: "x.tar", date: undefined, sizeBytes: undefined } as const,
    names: [],
    referrers: [],
  };
  const open = (platform: string, content = whole) =>
    openContent(content, about, { platforms: [platform], allPlatforms: false }, new AbortController().signal);
  expect((await open("windows/amd64")).content).toBe(whole);
  expect((await rejection(open("linux/arm64"))).code).toBe("IMAGE_NOT_FOUND");
  if (whole.kind !== "artifact") throw new Error("This should be an artifact.");
  const gone = whole.blobs.map(({ descriptor }) => ({
    descriptor,
    content: Bun.file(`${import.meta.dir}/no such file`).slice(0, descriptor.size),
  }));
  expect((await rejection(open("linux/arm64", { ...whole, blobs: gone }))).code).toBe("FILE_FAILED");
});
