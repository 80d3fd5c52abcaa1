/**
 * What an OCI layout holds goes up byte for byte: artifacts, signatures, layers of odd kinds, and what programs write that
 * are not at hand everywhere (Docker 29, BuildKit, nerdctl).
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { startStrictRegistry } from "../../dev/registry/registry.ts";
import type { CommandResult } from "../support/command.ts";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { archiveBytes, writeFolder } from "../support/image-forms.ts";
import { requireParts } from "../support/parts.ts";
import { runCli, runCliFromPipe } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { ARTIFACTS, type Artifact, foreignLayer, helmChart } from "./artifacts.ts";
import { readContent } from "./registry-content.ts";

setDefaultTimeout(60_000);

const CHUNK_BYTES = 1_000_000;

const FORMS = { archive: "an archive", folder: "a folder", pipe: "a pipe" } as const;
type Form = keyof typeof FORMS;

const isExhaustive = process.env["CHUNKPUSH_FORMAT_MATRIX"] === "all";

type RegistryRole = {
  readonly title: string;
  readonly start: () => Promise<AsyncDisposable & { readonly host: string }>;
  /** How its artifacts are read, unless all ways are asked for. */
  readonly forms: readonly Form[];
  /** Whether it takes manifests without "mediaType", and layers that lie elsewhere. */
  readonly isLenient: boolean;
};

const REGISTRIES: readonly RegistryRole[] = [
  {
    title: "docker-registry",
    start: () => startDockerRegistry({ foreignUrls: "^https://example.com/" }),
    forms: ["folder"],
    isLenient: true,
  },
  {
    title: "the strict registry",
    async start() {
      await using resources = new AsyncDisposableStack();
      const { path: directory } = resources.use(await temporaryFolder());
      const registry = resources.use(await startStrictRegistry({ directory }));
      const owned = resources.move();
      return { host: registry.host, [Symbol.asyncDispose]: () => owned.disposeAsync() };
    },
    forms: ["archive", "pipe"],
    isLenient: false,
  },
];

for (const { title, start, forms, isLenient } of REGISTRIES) {
  describe.skipIf(!requireParts("docker-registry"))(title, () => {
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    let host: string;
    beforeAll(async () => {
      ({ host } = resources.use(await start()));
    });

    let count = 0;
    async function push({ files }: Artifact, form: Form): Promise<[CommandResult, string]> {
      await using cwd = await temporaryFolder();
      const source = join(cwd.path, "source");
      if (form === "folder") await writeFolder(source, files);
      else await Bun.write(source, archiveBytes(files));
      const repository = `${host}/artifact/number-${++count}`;
      const args = ["--chunk-size", `${CHUNK_BYTES}`, form === "pipe" ? "-" : source, `${repository}:v1`];
      const result = await (form === "pipe"
        ? runCliFromPipe(source, args, { cwd: cwd.path })
        : runCli(args, { cwd: cwd.path }));
      return [result, repository];
    }

    async function expectWhole(artifact: Artifact, repository: string) {
      const root = await readContent(`${repository}:v1`);
      expect(root.digest).toBe(artifact.root);
      for (const [tag, digest] of Object.entries(artifact.tags ?? {}))
        expect((await readContent(`${repository}:${tag}`)).digest).toBe(digest);
      for (const digest of artifact.untagged ?? [])
        expect((await readContent(`${repository}@${digest}`)).digest).toBe(digest);
    }

    for (const [name, artifact] of Object.entries<Artifact>(ARTIFACTS)) {
      for (const form of isExhaustive ? (["archive", "folder", "pipe"] as const) : forms) {
        test(`gets ${name} out of ${FORMS[form]}, byte for byte`, async () => {
          const [{ code, stdout, stderr }, repository] = await push(artifact, form);
          expect(code, stderr).toBe(0);
          expect(stdout).toBe(`${repository}:v1@${artifact.root}\n`);
          await expectWhole(artifact, repository);
        });
      }
    }

    test("lists the SBOM of an index under the fallback tag, for it has no list of referrers of its own", async () => {
      const artifact: Artifact = ARTIFACTS["an index with an SBOM that refers to it"];
      const [{ code, stderr }, repository] = await push(artifact, "folder");
      expect(code, stderr).toBe(0);
      const list = await readContent(`${repository}:${artifact.root.replace(":", "-")}`);
      expect(list.children.map(({ digest }) => digest)).toEqual([...(artifact.untagged ?? [])]);
    });

    // serverless-registry refuses manifests without "mediaType", which Helm's are, and wants every blob that one names.
    for (const [name, artifact] of Object.entries({
      "a Helm chart": helmChart(),
      "an image whose base layer lies elsewhere": foreignLayer(),
    })) {
      test(`${isLenient ? "gets" : "refuses, untagged,"} ${name}`, async () => {
        const [{ code, stdout, stderr }, repository] = await push(artifact, "folder");
        if (isLenient) {
          expect(code, stderr).toBe(0);
          await expectWhole(artifact, repository);
        } else {
          expect({ code, stdout }).toEqual({ code: 1, stdout: "" });
          expect(stderr).not.toContain("This is a bug");
          const url = `http://${repository.replace("/", "/v2/")}/manifests/v1`;
          expect((await fetch(url, { method: "HEAD" })).status).toBe(404);
        }
      });
    }
  });
}
