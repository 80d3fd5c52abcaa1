/** Signatures, SBOMs and the like: what a layout holds about the content that is pushed. */
import { describe, expect, test } from "bun:test";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { attachedTo } from "../../src/source/attached.ts";
import { listImages } from "../../src/source/list-images.ts";
import {
  blobOf,
  descriptorOf,
  EMPTY_TYPE,
  type FixtureBlob,
  type FixtureTree,
  filesOf,
  indexOf,
  manifestOf,
  multiPlatform,
  platformImage,
} from "../support/image-fixture.ts";
import { type FixtureFiles, layoutFiles } from "../support/image-forms.ts";
import { inMemory } from "../support/open-fixture.ts";
import { rejection } from "../support/rejection.ts";

const REF_NAME = "org.opencontainers.image.ref.name";
const image = platformImage("amd64", [1, 2]);
const other = platformImage("amd64", [7]);

/** An artifact with a subject, as ORAS, notation and cosign 3 make it. */
function about({ digest, bytes }: FixtureBlob, text: string): FixtureTree {
  const subject = { mediaType: MEDIA_TYPE.manifest, digest, size: bytes.length };
  return manifestOf("{}", [Buffer.from(text)], {
    configType: EMPTY_TYPE,
    layerType: "text/plain",
    more: { artifactType: "application/x.example", subject },
  });
}

const entryOf = ({ root }: FixtureTree, more: object = {}) => descriptorOf(root, MEDIA_TYPE.manifest, more);
const tagged = (tree: FixtureTree, tag: string) => entryOf(tree, { annotations: { [REF_NAME]: tag } });
const tagOf = ({ digest }: FixtureBlob, suffix = "") => digest.replace(":", "-") + suffix;

async function attached(entries: readonly object[], trees: readonly FixtureTree[], pushed = image.root) {
  const files = Object.assign(layoutFiles(entries), ...trees.map((tree) => tree.files)) as FixtureFiles;
  const { candidates, referrers } = await listImages(inMemory(files));
  const candidate = candidates.find(({ digests }) => digests.some((digest) => digest === pushed.digest));
  const content = await candidate?.read();
  if (content === undefined || content.kind === "missing")
    throw new Error("The fixture lacks what is pushed.");
  const found = await attachedTo(content, referrers);
  return found.map((each) => ({
    subject: each.subject,
    tag: each.tag,
    manifest: each.content?.manifest?.digest as string | undefined,
  }));
}

const names = async (entries: readonly object[], trees: readonly FixtureTree[]) =>
  (await listImages(inMemory(Object.assign(layoutFiles(entries), ...trees.map((tree) => tree.files)))))
    .candidates.length;

describe("what is about an image", () => {
  const sbom = about(image.root, "SBOM");

  test("goes with it, and is no image to choose from", async () => {
    const entries = [tagged(image, "v1"), entryOf(sbom)];
    expect(await attached(entries, [image, sbom])).toEqual([
      { subject: image.root.digest, tag: undefined, manifest: sbom.root.digest },
    ]);
    expect(await names(entries, [image, sbom])).toBe(1);
  });

  test("goes with it though it is listed first, and others are not about it", async () => {
    const stray = about(other.root, "of the other");
    const entries = [entryOf(sbom), entryOf(stray), tagged(image, "v1"), tagged(other, "v2")];
    expect(await attached(entries, [image, other, sbom, stray])).toEqual([
      { subject: image.root.digest, tag: undefined, manifest: sbom.root.digest },
    ]);
  });

  test("may have something about it in turn, which goes, too", async () => {
    const signature = about(sbom.root, "signature");
    const third = about(signature.root, "time stamp");
    const entries = [entryOf(third), entryOf(signature), entryOf(sbom), tagged(image, "v1")];
    const found = await attached(entries, [image, sbom, signature, third]);
    expect(found.map(({ subject, manifest }) => [subject, manifest])).toEqual([
      [image.root.digest, sbom.root.digest],
      [sbom.root.digest, signature.root.digest],
      [signature.root.digest, third.root.digest],
    ]);
  });

  test("may be about one platform of an index", async () => {
    const multi = multiPlatform();
    const one = about(multi.arm64.root, "SBOM");
    const index = descriptorOf(multi.root, MEDIA_TYPE.index, { annotations: { [REF_NAME]: "v1" } });
    expect(await attached([index, entryOf(one)], [multi, one], multi.root)).toEqual([
      { subject: multi.arm64.root.digest, tag: undefined, manifest: one.root.digest },
    ]);
  });

  test("may itself be an index", async () => {
    const part = manifestOf("{}", [Buffer.from("part")], { configType: EMPTY_TYPE });
    const root = indexOf([entryOf(part)], { subject: entryOf(image), artifactType: "application/x.example" });
    const tree = { root, files: { ...part.files, ...filesOf([root]) } };
    const entry = descriptorOf(root, MEDIA_TYPE.index);
    expect(await attached([tagged(image, "v1"), entry], [image, tree])).toEqual([
      { subject: image.root.digest, tag: undefined, manifest: root.digest },
    ]);
  });

  test("is left out where a part of it is not there", async () => {
    const files = Object.fromEntries(
      Object.entries(sbom.files).filter(([, bytes]) => Buffer.from(bytes).toString() !== "SBOM"),
    );
    const found = await attached([tagged(image, "v1"), entryOf(sbom)], [image, { ...sbom, files }]);
    expect(found).toEqual([{ subject: image.root.digest, tag: undefined, manifest: undefined }]);
  });

  test("is pushed itself where it is all that a layout has, or has a name", async () => {
    expect(await names([entryOf(sbom)], [sbom])).toBe(1);
    expect(await names([tagged(image, "v1"), tagged(sbom, "sbom")], [image, sbom])).toBe(2);
  });
});

describe("tags that name their subject", () => {
  test.each(["", "example.com/my/app:"])(
    "are cosign's signatures, attestations and SBOMs: %ssha256-….sig",
    async (before) => {
      const trees = ["sig", "att", "sbom"].map((suffix) => ({
        suffix,
        tree: manifestOf("{}", [Buffer.from(suffix)], { layerType: "application/x.example" }),
      }));
      const entries = trees.map(({ suffix, tree }) => tagged(tree, before + tagOf(image.root, `.${suffix}`)));
      expect(
        await attached([tagged(image, "v1"), ...entries], [image, ...trees.map(({ tree }) => tree)]),
      ).toEqual(
        trees.map(({ suffix, tree }) => ({
          subject: image.root.digest,
          tag: tagOf(image.root, `.${suffix}`),
          manifest: tree.root.digest,
        })),
      );
    },
  );

  test("and have no suffix are lists of referrers: the registry gets what they list", async () => {
    const listed = [about(image.root, "one"), about(image.root, "two")];
    const root = indexOf(listed.map((each) => entryOf(each)));
    const fallback = { root, files: filesOf([root]) };
    const entry = descriptorOf(root, MEDIA_TYPE.index, { annotations: { [REF_NAME]: tagOf(image.root) } });
    expect(await attached([tagged(image, "v1"), entry], [image, fallback, ...listed])).toEqual(
      listed.map((each) => ({ subject: image.root.digest, tag: undefined, manifest: each.root.digest })),
    );
  });

  test("and belong to another image are not pushed", async () => {
    const signature = manifestOf("{}", [Buffer.from("x")], { layerType: "application/x.example" });
    const entries = [tagged(image, "v1"), tagged(other, "v2"), tagged(signature, tagOf(other.root, ".sig"))];
    expect(await attached(entries, [image, other, signature])).toEqual([]);
  });
});

describe("hostile subjects", () => {
  test("that go in a circle come to an end", async () => {
    // Manifests cannot have each other's digests; tags can name anything.
    const one = manifestOf("{}", [Buffer.from("1")], { layerType: "application/x.example" });
    const two = manifestOf("{}", [Buffer.from("2")], { layerType: "application/x.example" });
    const entries = [
      tagged(image, "v1"),
      tagged(one, tagOf(two.root, ".sig")),
      tagged(two, tagOf(one.root, ".sig")),
      tagged(image, tagOf(image.root, ".att")),
    ];
    expect(await attached(entries, [image, one, two])).toEqual([]);
  });

  test.each([
    ["a string", { subject: "x" }],
    ["a number as its digest", { subject: { digest: 1 } }],
  ])("lead nowhere where they are %s", async (_, more) => {
    const wrong = manifestOf("{}", [], { configType: EMPTY_TYPE, more });
    expect(await attached([tagged(image, "v1"), entryOf(wrong)], [image, wrong])).toEqual([]);
  });

  test.each(["../../x", "sha256:x", ""])("lead nowhere where their digest is %j", async (digest) => {
    const wrong = manifestOf("{}", [], { configType: EMPTY_TYPE, more: { subject: { digest } } });
    expect(await attached([tagged(image, "v1"), entryOf(wrong)], [image, wrong])).toEqual([]);
  });

  test("are not read from documents that do not have the digest of their name", async () => {
    const sbom = about(image.root, "SBOM");
    const forged = { root: sbom.root, files: { ...sbom.files, [sbom.root.path]: blobOf("{}").bytes } };
    const error = await rejection(attached([tagged(image, "v1"), entryOf(sbom)], [image, forged]));
    expect(error.code).toBe("CONTENT_MISMATCH");
  });
});
