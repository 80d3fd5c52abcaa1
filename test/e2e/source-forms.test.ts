/**
 * Images in every form in which programs write them, each written by the program itself. What chunkpush brings to a
 * registry is compared with what that program's own push brings to another one.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import pLimit from "p-limit";
import { startStrictRegistry } from "../../dev/registry/registry.ts";
import { commandFolder, runWell } from "../support/command.ts";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { requireParts } from "../support/parts.ts";
import { runCli, runCliFromPipe } from "../support/run-cli.ts";
import { sha256 } from "../support/sha256.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { findLab } from "./engine-lab.ts";
import { manifestsOf, type RegistryContent, readContent } from "./registry-content.ts";
import { SOURCE_FORMS, type SourceForm, VERSIONS, WRAPPINGS } from "./source-forms.ts";
import { type Programs, startPrograms } from "./source-programs.ts";
import { committedCells, type TableRow, tableRow, writeTable } from "./source-table.ts";

setDefaultTimeout(120_000);

/** The processors are few, and most of a row is waiting for programs to start. */
const ROWS_AT_A_TIME = 3;
/** All wrappings and ways of every form. Otherwise the forms take turns. */
const isExhaustive = process.env["CHUNKPUSH_FORMAT_MATRIX"] === "all";
const isWriting = Boolean(process.env["CHUNKPUSH_WRITE_TABLE"]);

const lab = findLab();
const hasParts = requireParts("dockerd", "docker-registry", "mount", "podman", "skopeo", "zstd");

/** This machine's, as Go calls it. */
const ARCHITECTURE = process.arch === "x64" ? "amd64" : process.arch;

type Hosts = { readonly ours: string; readonly own: string; readonly strict: string };

type Outcome = {
  /** What the program's own push brings. */
  readonly own: RegistryContent;
  readonly ours: RegistryContent;
  /** What is at the strict registry. */
  readonly strict: RegistryContent;
  /** What the line on standard output says. */
  readonly saidDigest: string;
  /** The root's digest after another push, and through other ways of reading, by their names. */
  readonly otherDigests: Readonly<Record<string, string>>;
  /** Whether each engine that pulls the image has the ID that it should have. */
  readonly pulls: Readonly<Record<string, boolean>>;
  readonly skopeoDigests: readonly string[];
};

describe.skipIf(!hasParts || lab === undefined)("the forms of images", () => {
  const resources = new AsyncDisposableStack();
  const outcomes = new Map<SourceForm, Promise<Outcome>>();
  const rows: TableRow[] = [];
  let versions: Readonly<Record<string, string>>;

  beforeAll(async () => {
    if (lab === undefined) return;
    const programs = resources.use(await startPrograms(lab));
    const [ours, own] = [
      resources.use(await startDockerRegistry()),
      resources.use(await startDockerRegistry()),
    ];
    const { path: directory } = resources.use(await temporaryFolder());
    const strict = resources.use(await startStrictRegistry({ directory }));
    const hosts = { ours: ours.host, own: own.host, strict: strict.host };
    versions = Object.fromEntries(
      await Promise.all(Object.entries(VERSIONS).map(async ([name, ask]) => [name, await ask(programs)])),
    );
    const limit = pLimit(ROWS_AT_A_TIME);
    for (const [i, form] of SOURCE_FORMS.entries()) {
      const outcome = limit(() => pushForm(form, i, programs, hosts));
      // Each is awaited by its own test.
      outcome.catch(() => {});
      outcomes.set(form, outcome);
    }
  });
  afterAll(async () => {
    await Promise.allSettled(outcomes.values());
    await resources.disposeAsync();
  });

  for (const form of SOURCE_FORMS) {
    test(`of ${form.program}, ${form.form}, arrive as the program's own push brings them`, async () => {
      const outcome = await outcomes.get(form);
      if (outcome === undefined) throw new Error("It was not pushed.");
      const { own, ours, strict, saidDigest, otherDigests, pulls, skopeoDigests } = outcome;
      rows.push(tableRow(form, versions[form.program] ?? "", ours, own));

      expect(saidDigest).toBe(ours.digest);
      expect(strict).toEqual(ours);
      expect(skopeoDigests).toEqual(manifestsOf(ours).map(({ digest }) => digest));
      expect(shapeOf(ours)).toEqual(shapeOf(own));
      if (form.isReady) expect(ours).toEqual(own);
      const same = Object.keys(otherDigests).map((way) => [way, ours.digest]);
      expect(otherDigests).toEqual(Object.fromEntries(same));
      expect(Object.entries(pulls).filter(([, isRight]) => !isRight)).toEqual([]);
    });
  }

  test("are in the table of docs/sources.md as they were seen", async () => {
    if (isWriting) await writeTable(rows);
    const committed = await committedCells();
    for (const { cells } of rows) expect(committed).toContainEqual([...cells]);
  });
});

async function pushForm(
  form: SourceForm,
  number: number,
  programs: Programs,
  hosts: Hosts,
): Promise<Outcome> {
  await using folder = await temporaryFolder(programs.folder);
  const path = join(folder.path, "image");
  await form.make(programs, path);
  const target = form.target ?? `form/number-${number}:v1`;
  const reference = `${hosts.ours}/${target}`;
  await form.bring(programs, path, `${hosts.own}/${target}`);
  const env = await engineEnvironment(form, programs, folder.path);
  const source = form.inEngine?.name ?? path;

  const push = async (source: string, to: string, pipe?: string) => {
    const args = [...form.choose, source, to];
    const options = { cwd: folder.path, env };
    const { code, stdout, stderr } = await (pipe === undefined
      ? runCli(args, options)
      : runCliFromPipe(pipe, args, options));
    return code === 0 ? stdout.trim().slice(stdout.indexOf("@") + 1) : stderr;
  };
  const saidDigest = await push(source, reference);
  const strict = `${hosts.strict}/${target}`;
  for (const said of [saidDigest, await push(source, strict)])
    if (!said.startsWith("sha256:")) throw new Error(said);

  const otherDigests: Record<string, string> = {};
  otherDigests["again"] = await push(source, reference);
  if (form.kind === "archive") {
    for (const [way, open] of Object.entries(otherWays(folder.path, path, number))) {
      const { source, pipe } = await open();
      // What is cached says nothing about how the source is read.
      await rm(join(folder.path, ".cache"), { recursive: true, force: true });
      otherDigests[way] = await push(source, reference, pipe);
    }
  }
  const ours = await readContent(reference);
  return {
    own: await readContent(`${hosts.own}/${target}`),
    ours,
    strict: await readContent(strict),
    saidDigest,
    otherDigests,
    pulls: await pullEverywhere(programs, reference, ours),
    skopeoDigests: await skopeoDigests(folder.path, reference),
  };
}

/** What makes chunkpush find the engine that has the image, and no other. */
async function engineEnvironment(
  { inEngine }: SourceForm,
  programs: Programs,
  folder: string,
): Promise<Record<string, string>> {
  if (inEngine === undefined) return {};
  const engine = programs[inEngine.engine];
  const bin = await commandFolder(folder, "podman" in engine ? "podman" : "docker", engine);
  return { PATH: `${bin}:${process.env["PATH"]}`, ...engine.env };
}

type Way = () => Promise<{ readonly source: string; readonly pipe?: string }>;

/** Other ways to read the same archive. Of the slower ones each form takes one, unless all are asked for. */
function otherWays(folder: string, path: string, number: number): Record<string, Way> {
  const piped: Way = async () => ({ source: "-", pipe: path });
  const slow: [name: string, Way][] = [
    [
      "unpacked",
      async () => {
        const source = join(folder, "unpacked");
        await runWell(["sh", "-c", 'mkdir "$1" && tar -xf "$0" -C "$1"', path, source]);
        return { source };
      },
    ],
    ...Object.entries(WRAPPINGS).flatMap(([name, wrap]): [string, Way][] => {
      const wrapped = async (to: string) => {
        const source = join(folder, to);
        await wrap(path, source);
        return source;
      };
      return [
        [name, async () => ({ source: await wrapped(`${name}.wrapped`) })],
        [`${name}, through a pipe`, async () => ({ source: "-", pipe: await wrapped(`${name}.piped`) })],
      ];
    }),
  ];
  const chosen = isExhaustive ? slow : slow.slice(number % slow.length).slice(0, 1);
  return Object.fromEntries([["through a pipe", piped], ...chosen]);
}

/** What agrees even where the layers are compressed anew. */
function shapeOf({ config, layers, children }: RegistryContent): unknown {
  return {
    config,
    diffIds: layers.map(({ diffId }) => diffId),
    children: children.map((child) => ({
      ...(shapeOf(child) as object),
      isAttestation: child.isAttestation,
    })),
  };
}

/** The digests of all manifests that `skopeo copy --all` brings back, children first. */
async function skopeoDigests(folder: string, reference: string): Promise<string[]> {
  const to = join(folder, "read-back");
  const from = ["--src-tls-verify=false", `docker://${reference}`];
  await runWell(["skopeo", "copy", "--quiet", "--insecure-policy", "--all", ...from, `dir:${to}`]);
  const root = await readFile(join(to, "manifest.json"));
  const { manifests = [] } = JSON.parse(root.toString("utf8"));
  const digests = manifests.map(async ({ digest }: { digest: string }) =>
    sha256(await readFile(join(to, `${digest.slice("sha256:".length)}.manifest.json`))),
  );
  return [...(await Promise.all(digests)), sha256(root)];
}

/** An engine pulls one image at a time: equal ones are one image to it, which goes with the last of its names. */
const turns = { old: pLimit(1), classic: pLimit(1), containerd: pLimit(1), podman: pLimit(1) };

/** Pulls the image with every engine that can. The classic stores know it by its config, the other by its root. */
async function pullEverywhere(
  { oldDocker, classicDocker, containerdDocker, puller }: Programs,
  reference: string,
  content: RegistryContent,
): Promise<Record<string, boolean>> {
  const own = content.children.find(({ architecture }) => architecture === ARCHITECTURE);
  const image = own ?? content;
  const isZstd = image.layers.some(({ mediaType }) => mediaType.endsWith("zstd"));
  const isDockerLike = async (
    engine: { docker(...args: string[]): Promise<string> },
    id: string | undefined,
  ) => {
    await engine.docker("pull", "--quiet", reference);
    const found = await engine.docker("image", "inspect", "--format", "{{.Id}}", reference);
    // Containerd's garbage collection takes what another pull has just fetched.
    if (engine !== containerdDocker) await engine.docker("rmi", reference);
    return found === id;
  };
  const byPodman = async () => {
    await puller.podman("pull", "--quiet", "--tls-verify=false", reference);
    const found = await puller.podman("image", "inspect", "--format", "{{.Id}}", reference);
    await puller.podman("rmi", reference);
    return `sha256:${found}` === image.config;
  };
  const [old, classic, containerd, pulledByPodman] = await Promise.all([
    // Docker 20.10 knows no zstd.
    isZstd || turns.old(() => isDockerLike(oldDocker, image.config)),
    turns.classic(() => isDockerLike(classicDocker, image.config)),
    turns.containerd(() => isDockerLike(containerdDocker, content.digest)),
    turns.podman(byPodman),
  ]);
  return { old, classic, containerd, podman: pulledByPodman };
}
