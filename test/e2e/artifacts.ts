/** OCI layouts with what is no plain image in them, as oras, Helm, cosign, regctl and others write them. */
import { gzipSync } from "node:zlib";
import { MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import {
  attestationOf,
  blobOf,
  descriptorOf,
  EMPTY_TYPE,
  hex,
  imageOf,
  layerOf,
  platformImage,
} from "../support/image-fixture.ts";
import { type FixtureFiles, layoutFiles } from "../support/image-forms.ts";
import { seededBytes } from "../support/seeded-bytes.ts";

const { config: CONFIG, index: INDEX, manifest: MANIFEST } = MEDIA_TYPE;
const GZIP = MEDIA_TYPE.layer.gzip;
/** What oras takes for any file whose type it is not told. */
const TAR = MEDIA_TYPE.layer.none;

type Part = ReturnType<typeof descriptorOf>;
type Layout = ReturnType<typeof newLayout>;

/** A layout that is being put together. */
function newLayout() {
  const files: Record<string, Uint8Array> = {};
  const add = (mediaType: string, content: string | Uint8Array, fields: object = {}): Part => {
    const blob = blobOf(content);
    files[blob.path] = blob.bytes;
    return descriptorOf(blob, mediaType, fields);
  };
  const document = (mediaType: string, fields: object) =>
    add(mediaType, JSON.stringify({ schemaVersion: 2, mediaType, ...fields }));
  const addTree = (tree: { readonly files: Record<string, Uint8Array>; readonly entry: Part }) => {
    Object.assign(files, tree.files);
    return tree.entry;
  };
  return {
    files,
    add,
    manifest: (fields: object) => document(MANIFEST, fields),
    index: (manifests: readonly Part[]) => document(INDEX, { manifests }),
    /** An image of one layer for a platform. */
    image: (seed: number, architecture = "amd64") => addTree(platformImage(architecture, [seed])),
    attestation: (image: Part) => addTree(attestationOf(image)),
  };
}

/** A layout, and what a registry should have of it. */
export type Artifact = {
  readonly files: FixtureFiles;
  /** The digest of what gets the tag. */
  readonly root: string;
  /** Other tags that should be there, with their digests. */
  readonly tags?: Readonly<Record<string, string>>;
  /** Manifests that should be there under their digests alone. */
  readonly untagged?: readonly string[];
};

const named = (part: Part, name: string) => ({
  ...part,
  annotations: { "org.opencontainers.image.ref.name": name },
});

/** In the order in which containerd and others write them into an archive. */
function layoutOf(
  { files }: Pick<Layout, "files">,
  entries: readonly object[],
  more: FixtureFiles = {},
): FixtureFiles {
  const sorted = Object.entries({ ...layoutFiles(entries), ...files, ...more });
  return Object.fromEntries(sorted.sort(([a], [b]) => (a < b ? -1 : 1)));
}

function single(layout: Layout, root: Part): Artifact {
  return { files: layoutOf(layout, [named(root, "v1")]), root: root.digest };
}

/** Helm writes no `mediaType` into the manifest. */
export function helmChart(): Artifact {
  const layout = newLayout();
  const config = layout.add("application/vnd.cncf.helm.config.v1+json", '{"name":"chart","version":"0.1.0"}');
  const chart = gzipSync(layerOf("chart/Chart.yaml", "name: chart\n"));
  const layers = [layout.add("application/vnd.cncf.helm.chart.content.v1.tar+gzip", chart)];
  const annotations = { "org.opencontainers.image.title": "chart" };
  return single(
    layout,
    layout.add(MANIFEST, JSON.stringify({ schemaVersion: 2, config, layers, annotations })),
  );
}

function wasmModule(): Artifact {
  const layout = newLayout();
  const config = layout.add(
    "application/vnd.wasm.config.v0+json",
    '{"architecture":"wasm","os":"wasip2","layerDigests":[]}',
  );
  const module = layout.add("application/wasm", new Uint8Array([0, 0x61, 0x73, 0x6d, 1, 0, 0, 0]));
  return single(layout, layout.manifest({ config, layers: [module] }));
}

const emptyConfig = (layout: Layout) => layout.add(EMPTY_TYPE, "{}", { data: "e30=" });

/** A file that oras pushed: its type is that of a raw layer, and its bytes are JSON. */
function orasFile(): Artifact {
  const layout = newLayout();
  const annotations = { "org.opencontainers.image.title": "sbom.json" };
  const layers = [layout.add(TAR, '{"sbom":1}\n', { annotations })];
  const fields = { artifactType: "application/vnd.example", config: emptyConfig(layout), layers };
  return single(layout, layout.manifest({ ...fields, annotations: { "org.example.note": "" } }));
}

/** @param bytes the size of its weights */
function model(bytes: number): Artifact {
  const layout = newLayout();
  const config = layout.add("application/vnd.cncf.model.config.v1+json", '{"descriptor":{"name":"model"}}');
  const layers = [
    layout.add("application/vnd.cncf.model.weight.v1.raw", seededBytes(bytes, 7)),
    // Raw tar in a type of their own: nothing may compress it.
    layout.add("application/vnd.cncf.model.doc.v1.tar", layerOf("README", "a".repeat(5000))),
  ];
  return single(
    layout,
    layout.manifest({ artifactType: "application/vnd.cncf.model.manifest.v1+json", config, layers }),
  );
}

/** Layers that only a key opens, so that nothing can be said about their content. */
function encryptedImage(): Artifact {
  const layout = newLayout();
  const config = layout.add(CONFIG, imageOf([layerOf("plain", "")]).config);
  const annotations = { "org.opencontainers.image.enc.pubopts": "e30=" };
  const layers = [layout.add(`${GZIP}+encrypted`, seededBytes(2000, 8), { annotations })];
  return single(layout, layout.manifest({ config, layers }));
}

/** A base layer that lies elsewhere, as images of Windows had them, and one of our own. */
export function foreignLayer(): Artifact {
  const layout = newLayout();
  const base = {
    digest: `sha256:${hex("elsewhere")}`,
    size: 4000,
    urls: ["https://example.com/base.tar.gz"],
  };
  const raw = layerOf("own", "own\n");
  const config = layout.add(CONFIG, imageOf([layerOf("base", ""), raw], "windows/amd64").config);
  const foreign = { mediaType: "application/vnd.oci.image.layer.nondistributable.v1.tar+gzip", ...base };
  return single(layout, layout.manifest({ config, layers: [foreign, layout.add(GZIP, gzipSync(raw))] }));
}

/** An image whose layers can be read in parts: the table of contents is named by an annotation. */
function stargzImage(): Artifact {
  const { layout, image } = stargz();
  return single(layout, image);
}

function stargz(): { readonly layout: Layout; readonly image: Part } {
  const layout = newLayout();
  const file = layerOf("file", "hello\n").subarray(0, 1024);
  const contents = '{"version":1,"entries":[{"name":"file","type":"reg","size":6}]}';
  const rest = layerOf("stargz.index.json", contents);
  const footer = Buffer.from(gzipSync(""));
  const config = layout.add(CONFIG, imageOf([Buffer.concat([file, rest])]).config);
  const annotations = { "containerd.io/snapshot/stargz/toc.digest": blobOf(contents).digest };
  // A member of its own for each file, and one without content at the end.
  const bytes = Buffer.concat([gzipSync(file), gzipSync(rest), footer]);
  const layers = [layout.add(GZIP, bytes, { annotations })];
  return { layout, image: layout.manifest({ config, layers }) };
}

/** What `oras cp --recursive` writes: the index, and flat beside it its images and what refers to it. */
function withReferrer(): Artifact {
  const layout = newLayout();
  const images = [layout.image(1), layout.image(2, "arm64")];
  const root = layout.index(images);
  const { mediaType, digest, size } = root;
  const artifactType = "application/spdx+json";
  const layers = [layout.add(artifactType, '{"spdxVersion":"SPDX-2.3"}')];
  const subject = { mediaType, digest, size };
  const sbom = layout.manifest({ artifactType, config: emptyConfig(layout), layers, subject });
  return {
    files: layoutOf(layout, [named(root, "v1"), { ...sbom, artifactType }, ...images]),
    root: digest,
    untagged: [sbom.digest],
  };
}

function signatureOf(layout: Layout, { digest }: Part): Part {
  const payload = JSON.stringify({
    critical: { image: { "docker-manifest-digest": digest } },
    optional: null,
  });
  const layer = layout.add("application/vnd.dev.cosign.simplesigning.v1+json", payload, {
    annotations: { "dev.cosignproject.cosign/signature": "c2lnbmF0dXJl" },
  });
  const rootfs = { type: "layers", diff_ids: [layer.digest] };
  const config = layout.add(CONFIG, JSON.stringify({ architecture: "", os: "", rootfs }));
  return layout.manifest({ config, layers: [layer] });
}

const signatureTag = (digest: string) => `${digest.replace(":", "-")}.sig`;

/** What `cosign save` writes: no names, but what each entry is. */
function cosignLayout(): Artifact {
  const layout = newLayout();
  const root = layout.index([layout.image(3), layout.image(4, "arm64")]);
  const signature = signatureOf(layout, root);
  const kind = (part: Part, of: string) => ({
    ...part,
    annotations: { kind: `dev.cosignproject.cosign/${of}` },
  });
  return {
    files: layoutOf(layout, [kind(root, "imageIndex"), kind(signature, "sigs")]),
    root: root.digest,
    tags: { [signatureTag(root.digest)]: signature.digest },
  };
}

/** What `regctl image copy --digest-tags` writes: the tags of signatures as names. */
function taggedSignature(): Artifact {
  const layout = newLayout();
  const root = layout.image(5);
  const signature = signatureOf(layout, root);
  const tag = signatureTag(root.digest);
  return {
    files: layoutOf(layout, [named(signature, tag), named(root, "v1")]),
    root: root.digest,
    tags: { [tag]: signature.digest },
  };
}

/** What containerd's export adds for older readers: one image of the index, whatever else the index lists. */
function exported(
  layout: Layout,
  root: Part,
  image: Part,
  names: readonly string[] | null,
  absent: readonly Part[] = [],
): FixtureFiles {
  const path = ({ digest }: Pick<Part, "digest">) => `blobs/sha256/${digest.slice("sha256:".length)}`;
  const { config, layers } = JSON.parse(new TextDecoder().decode(layout.files[path(image)]));
  const entries = (names ?? [undefined]).map((name) => {
    const { mediaType, digest, size } = root;
    const annotations = name && {
      "io.containerd.image.name": `docker.io/${name}`,
      "org.opencontainers.image.ref.name": name.split(":")[1],
    };
    return { mediaType, digest, size, ...(annotations && { annotations }) };
  });
  for (const part of absent) delete layout.files[path(part)];
  return layoutOf(layout, entries, {
    "manifest.json": JSON.stringify([{ Config: path(config), RepoTags: names, Layers: layers.map(path) }]),
  });
}

/** What Docker 29 saves by an image's ID: no name is in it. */
function savedById(): Artifact {
  const layout = newLayout();
  const images = [layout.image(11), layout.image(12, "arm64")];
  const root = layout.index([...images, ...images.map((image) => layout.attestation(image))]);
  return { files: exported(layout, root, images[0] ?? root, null), root: root.digest };
}

/** What Docker 29 saves of an image with several names: a descriptor for each name. */
function savedWithNames(): Artifact {
  const layout = newLayout();
  const image = layout.image(13);
  const root = layout.index([image, layout.attestation(image)]);
  return {
    files: exported(layout, root, image, ["my/app:v1", "my/app:v2", "other/name:v3"]),
    root: root.digest,
  };
}

/** What Docker 29 and nerdctl save of an image that was built for another platform alone. */
function savedForAnotherPlatform(): Artifact {
  const layout = newLayout();
  const image = layout.image(14, "riscv64");
  const root = layout.index([image, layout.attestation(image)]);
  return { files: exported(layout, root, image, ["my/app:v1"]), root: root.digest };
}

/** What nerdctl and Docker save of one platform that was pulled: the index lists what is not there. */
function savedPart(): Artifact {
  const layout = newLayout();
  const image = layout.image(15);
  const others = [layout.image(16, "arm64"), layout.attestation(image)];
  const root = layout.index([image, ...others]);
  return { files: exported(layout, root, image, ["my/app:v1"], others), root: image.digest };
}

/** What BuildKit's `type=docker` makes of eStargz layers: annotations that manifest.json does not have. */
function savedStargz(): Artifact {
  const { layout, image } = stargz();
  return { files: exported(layout, image, image, ["my/app:v1"]), root: image.digest };
}

/** What an OCI layout may hold, and every registry takes. */
export const ARTIFACTS = {
  "a WebAssembly module": wasmModule(),
  "a file of oras with the type of a raw layer": orasFile(),
  "a model of several chunks": model(2_500_000),
  "an image with encrypted layers": encryptedImage(),
  "an image with eStargz layers": stargzImage(),
  "an index with an SBOM that refers to it": withReferrer(),
  "an index that cosign saved with its signature": cosignLayout(),
  "an image beside the tag of its signature": taggedSignature(),
  "an index that Docker 29 saved by its ID": savedById(),
  "an index that Docker 29 saved under three names": savedWithNames(),
  "an index of another platform alone": savedForAnotherPlatform(),
  "the one platform that is there of several": savedPart(),
  "an image with eStargz layers beside a manifest.json": savedStargz(),
} satisfies Record<string, Artifact>;
