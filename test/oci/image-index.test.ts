/** Indexes: what their entries mean, and what is left of them where entries are taken out or replaced. */
import { describe, expect, test } from "bun:test";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { type Digest, digestOf } from "../../src/oci/digest.ts";
import { keepEntries, leftOut, parseIndex, type Replacement } from "../../src/oci/image-index.ts";

const encode = (value: unknown) => new TextEncoder().encode(JSON.stringify(value));
const decode = (bytes: Uint8Array) => JSON.parse(new TextDecoder().decode(bytes)) as unknown;

function manifest(content: string, mediaType: string | undefined = MEDIA_TYPE.manifest): Replacement {
  const bytes = new TextEncoder().encode(content);
  return { mediaType, digest: digestOf(bytes), bytes };
}

function entryOf({ mediaType, digest, bytes }: Replacement, more: object = {}) {
  return { mediaType, digest, size: bytes.length, ...more };
}

const ABOUT = "vnd.docker.reference.digest";
const amd64 = manifest("amd64");
const arm64 = manifest("arm64");
const attestation = manifest("attestation");
const newer = manifest("amd64, compressed anew", "application/vnd.docker.distribution.manifest.v2+json");
const about = { annotations: { a: "b", [ABOUT]: amd64.digest } };
const platform = { os: "linux", architecture: "amd64", "os.features": ["x"] };
const entries = [entryOf(amd64, { platform }), entryOf(arm64), entryOf(attestation, about)];

function keep(kept: readonly (readonly [Digest, Replacement])[], index: object = { manifests: entries }) {
  const bytes = encode(index);
  const reduced = keepEntries({ mediaType: MEDIA_TYPE.index, digest: digestOf(bytes), bytes }, new Map(kept));
  expect(reduced.digest).toBe(digestOf(reduced.bytes));
  expect(reduced.mediaType).toBe(MEDIA_TYPE.index);
  return decode(reduced.bytes) as { manifests: unknown[]; [field: string]: unknown };
}

const same = (...all: Replacement[]) => all.map((each) => [each.digest, each] as const);

describe("an index with only some of its entries", () => {
  test("has those, in its order, and whatever else it has, and says its type", () => {
    const more = { schemaVersion: 2, annotations: { t: "ä" }, subject: entryOf(arm64), x: [{ y: null }] };
    const kept = keep(same(attestation, amd64), { ...more, manifests: entries });
    expect(kept).toEqual({ ...more, mediaType: MEDIA_TYPE.index, manifests: [entries[0], entries[2]] });
  });

  test("has an entry twice that is listed twice", () => {
    expect(keep(same(amd64), { manifests: [entries[0], entries[1], entries[0]] }).manifests).toEqual([
      entries[0],
      entries[0],
    ]);
  });

  test("has none if none is kept", () => {
    expect(keep([]).manifests).toEqual([]);
  });
});

describe("an index with another manifest in the place of one", () => {
  test("has its digest, size and type, with the platform of the entry", () => {
    expect(keep([[amd64.digest, newer], ...same(arm64)]).manifests).toEqual([
      entryOf(newer, { platform }),
      entries[1],
    ]);
  });

  test("has attestations that name the new one", () => {
    const [, kept] = keep([[amd64.digest, newer], ...same(attestation)]).manifests;
    expect(kept).toEqual(entryOf(attestation, { annotations: { a: "b", [ABOUT]: newer.digest } }));
  });

  test("keeps what attestations are about that is not in the index", () => {
    const stray = entryOf(attestation, { annotations: { [ABOUT]: "sha256:nothing" } });
    expect(keep(same(attestation), { manifests: [stray] }).manifests).toEqual([stray]);
  });

  test("keeps the type of an entry if the manifest has none that registries take", () => {
    expect(keep([[amd64.digest, { ...newer, mediaType: undefined }]]).manifests).toEqual([
      { ...entryOf(newer), mediaType: MEDIA_TYPE.manifest, platform },
    ]);
  });

  test("has no copy of the old one's bytes", () => {
    const withData = entryOf(amd64, { data: btoa("amd64") });
    expect(keep([[amd64.digest, newer]], { manifests: [withData] }).manifests).toEqual([entryOf(newer)]);
    expect(keep(same(amd64), { manifests: [withData] }).manifests).toEqual([withData]);
  });

  test("keeps null where Go writes it", () => {
    const entry = entryOf(amd64, { annotations: null, platform: null });
    expect(keep([[amd64.digest, newer]], { manifests: [entry] }).manifests).toEqual([
      entryOf(newer, { annotations: null, platform: null }),
    ]);
  });
});

test("An entry is an attestation by its annotation or its unknown platform, and says what it is about", () => {
  const digest = amd64.digest;
  const type = { "vnd.docker.reference.type": "attestation-manifest" };
  const parsed = parseIndex(
    encode({
      manifests: [
        { digest, platform: { os: "unknown", architecture: "unknown" } },
        { digest, annotations: { ...type, [ABOUT]: digest } },
        { digest, platform: { os: "linux", architecture: "arm", variant: "v7" }, annotations: null },
        { digest, platform: null },
      ],
    }),
    "it",
  );
  expect(parsed.map((each) => [each.isAttestation, each.about, each.platform])).toEqual([
    [true, undefined, "unknown/unknown"],
    [true, digest, undefined],
    [false, undefined, "linux/arm/v7"],
    [false, undefined, undefined],
  ]);
});

test("What is left out of an index is described by its platforms, each once, and a count of attestations", () => {
  const parsed = parseIndex(
    encode({
      manifests: [
        entryOf(amd64, { platform }),
        entryOf(arm64, { platform }),
        entryOf(arm64),
        entryOf(attestation, { platform: { os: "unknown" } }),
      ],
    }),
    "it",
  );
  expect(leftOut(parsed)).toEqual({ platforms: ["linux/amd64", "unknown platform"], attestations: 1 });
  expect(leftOut([])).toBeUndefined();
});
