/** What comes compressed is compressed anew where that is asked for, and nothing else changes. */
import {
  afterAll,
  afterEach,
  beforeAll,
  beforeEach,
  describe,
  expect,
  setDefaultTimeout,
  test,
} from "bun:test";
import { join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { archiveBytes } from "../support/image-forms.ts";
import { runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { TELLS_EVENTS, toldBlobs, toldEvents } from "../support/told-events.ts";
import { ARTIFACTS, type Artifact } from "./artifacts.ts";
import { readContent } from "./registry-content.ts";

setDefaultTimeout(60_000);

const ABOUT = "vnd.docker.reference.digest";
const OCI_INDEX = "application/vnd.oci.image.index.v1+json";

describe("--force-compression", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let registry: StrictRegistry;
  let cwd: TemporaryFolder;

  beforeAll(async () => {
    const { path: directory } = resources.use(await temporaryFolder());
    registry = resources.use(await startStrictRegistry({ directory }));
  });

  beforeEach(async () => {
    cwd = await temporaryFolder();
  });
  afterEach(() => cwd[Symbol.asyncDispose]());

  let repositories = 0;
  const newTarget = () => `${registry.host}/forced/number-${++repositories}:v1`;

  async function push(artifact: Artifact, target: string, ...flags: string[]) {
    await Bun.write(join(cwd.path, "image.tar"), archiveBytes(artifact.files));
    const before = registry.requests.length;
    const { code, stdout, stderr } = await runCli([...flags, "image.tar", target], {
      cwd: cwd.path,
      env: TELLS_EVENTS,
    });
    expect(code, stderr).toBe(0);
    const bodies = registry.requests.slice(before).filter(({ kind }) => kind !== "put-manifest");
    return {
      stderr,
      digest: stdout.trim().slice(stdout.indexOf("@") + 1),
      compressed: toldBlobs(stderr, "compressed").length,
      blobBytes: bodies.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0),
    };
  }

  async function readEntries(
    target: string,
  ): Promise<{ digest: string; annotations?: Record<string, string> }[]> {
    const url = `http://${target.replace("/", "/v2/").replace(/:v1$/, "/manifests/v1")}`;
    const response = await fetch(url, { headers: { accept: OCI_INDEX } });
    return JSON.parse(await response.text()).manifests;
  }

  test.each([
    ["gzip", []],
    ["zstd", ["--compression", "zstd"]],
  ])(
    "makes the layers of an index anew in %s, whose attestations follow, and the next push sends nothing",
    async (form, flags) => {
      const artifact: Artifact = ARTIFACTS["an index that Docker 29 saved by its ID"];
      const [plain, target] = [newTarget(), newTarget()];
      expect((await push(artifact, plain)).digest).toBe(artifact.root);
      const first = await push(artifact, target, "--force-compression", ...flags);
      expect(first.compressed).toBe(2);
      expect(first.digest).not.toBe(artifact.root);
      expect(toldEvents(first.stderr)).toContainEqual(
        expect.objectContaining({ code: "DIGEST_CHANGED", from: artifact.root, to: first.digest }),
      );

      const [before, after] = [await readContent(plain), await readContent(target)];
      expect(after.digest).toBe(first.digest);
      const images = after.children.filter(({ isAttestation }) => !isAttestation);
      expect(images).toHaveLength(2);
      for (const [i, { config, layers, architecture }] of images.entries()) {
        const old = before.children[i];
        expect([config, architecture]).toEqual([old?.config, old?.architecture]);
        expect(layers.map(({ diffId }) => diffId)).toEqual(old?.layers.map(({ diffId }) => diffId) ?? []);
        expect(layers.map(({ mediaType }) => mediaType)).toEqual([
          `application/vnd.oci.image.layer.v1.tar+${form}`,
        ]);
        expect(layers[0]?.digest).not.toBe(old?.layers[0]?.digest);
      }
      const digests = (content: typeof after) =>
        content.children.flatMap((child) => (child.isAttestation ? [child.digest] : []));
      expect(digests(after)).toEqual(digests(before));
      const [amd64, arm64, ...attestations] = await readEntries(target);
      expect(attestations.map(({ annotations }) => annotations?.[ABOUT])).toEqual([
        amd64?.digest,
        arm64?.digest,
      ]);

      const again = await push(artifact, target, "--force-compression", ...flags);
      expect(again).toMatchObject({ digest: first.digest, compressed: 0, blobBytes: 0 });
    },
  );

  test("drops what an annotation says of the bytes that were replaced", async () => {
    const target = newTarget();
    await push(ARTIFACTS["an image with eStargz layers"], target, "--force-compression");
    const { layers } = await readContent(target);
    expect(layers.map(({ annotations }) => annotations)).toEqual([{}]);
  });

  test.each<[string, Artifact]>([
    ["signature", ARTIFACTS["an image beside the tag of its signature"]],
    ["SBOM", ARTIFACTS["an index with an SBOM that refers to it"]],
  ])("leaves out a %s that names the old digest, and says so", async (_, artifact) => {
    const target = newTarget();
    const { stderr, digest } = await push(artifact, target, "--force-compression");
    expect(digest).not.toBe(artifact.root);
    expect(toldEvents(stderr)).toContainEqual(
      expect.objectContaining({ code: "REFERRERS_LEFT_OUT", count: 1 }),
    );
    const base = `${registry.url}/v2/${target.slice(registry.host.length + 1, -":v1".length)}/manifests`;
    for (const absent of [...Object.keys(artifact.tags ?? {}), ...(artifact.untagged ?? [])])
      expect((await fetch(`${base}/${absent}`)).status, absent).toBe(404);
  });

  test.each([
    "a WebAssembly module",
    "a file of oras with the type of a raw layer",
    "a model of several chunks",
    "an image with encrypted layers",
  ] as const)("leaves %s as it is", async (name) => {
    const artifact: Artifact = ARTIFACTS[name];
    const { digest, stderr } = await push(
      artifact,
      newTarget(),
      "--force-compression",
      "--compression",
      "zstd",
    );
    expect(digest).toBe(artifact.root);
    expect(stderr).not.toContain("DIGEST_CHANGED");
  });
});
