/**
 * Measures compression levels and block sizes on layers: `bun dev/bench/levels.ts [gzip|zstd] FILE…`. A file is a
 * layer's tar.
 *
 * Of each file three pieces of 8 MiB are taken, from its beginning, middle and end. Bytes are compared with skopeo's
 * for the same pieces, where skopeo is installed. The speed of one core is that of CPU time,
 * which other programs disturb least; that of all cores is by the clock.
 */
import { mkdtemp, open, readdir, rm, stat } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";
import { startCompressPool } from "../../src/layers/compress/pool.ts";
import type { CompressionForm } from "../../src/oci/compression.ts";
import { digestOf, hexOf } from "../../src/oci/digest.ts";

const MIB = 1024 * 1024;
const PIECES = 3;
const PIECE_BYTES = 8 * MIB;

type Bytes = Uint8Array<ArrayBuffer>;
type Row = { name: string; blockMiB?: number; sizes: number[]; cpuSeconds?: number; wallSeconds?: number };

const [kind, ...others] = process.argv.slice(2);
const only = kind === "gzip" || kind === "zstd" ? kind : undefined;
const paths = only === undefined ? process.argv.slice(2) : others;
if (paths.length === 0) {
  console.error("Say which layers: bun dev/bench/levels.ts layer.tar other.tar");
  process.exit(2);
}
const samples = await Promise.all(paths.map(sampleOf));
const totalBytes = sum(samples.map(({ length }) => length));
const folder = await mkdtemp(join(tmpdir(), "chunkpush-levels-"));
try {
  const skopeo = await measureSkopeo();
  console.log(`Files: ${paths.join(", ")}; ${(totalBytes / 1e6).toFixed(0)} MB of them`);
  console.log(
    "| | block, MiB | MB | of skopeo's | one core, MB/s | all cores, MB/s | each file, of skopeo's |",
  );
  console.log("|---|--:|--:|--:|--:|--:|---|");
  if (skopeo !== undefined) print(skopeo, skopeo);
  for (const tool of [
    ["gzip", "-6"],
    ["zstd", "-3"],
  ])
    if (Bun.which(tool[0] ?? "") !== null) print(await measureTool(tool), skopeo);
  if (only !== "zstd") {
    for (let level = 1; level <= 12; level++) print(await measure({ kind: "gzip", level }, MIB), skopeo);
    for (const blockBytes of [MIB / 4, MIB / 2, 2 * MIB, 4 * MIB])
      print(await measure({ kind: "gzip", level: 1 }, blockBytes), skopeo);
  }
  if (only !== "gzip") {
    for (const level of [1, 2, 3, 4, 5, 6, 9, 12, 15, 19])
      print(await measure({ kind: "zstd", level }, 2 * MIB), skopeo);
    for (const blockBytes of [MIB, 4 * MIB, 8 * MIB, PIECES * PIECE_BYTES])
      print(await measure({ kind: "zstd", level: 2 }, blockBytes), skopeo);
  }
} finally {
  await rm(folder, { recursive: true });
}

async function sampleOf(path: string): Promise<Bytes> {
  const { size } = await stat(path);
  if (size < PIECES * PIECE_BYTES) return await Bun.file(path).bytes();
  const sample = new Uint8Array(PIECES * PIECE_BYTES);
  await using file = await open(path);
  for (let i = 0; i < PIECES; i++) {
    const position = Math.floor((i * (size - PIECE_BYTES)) / (PIECES - 1));
    await file.read(sample, i * PIECE_BYTES, PIECE_BYTES, position);
  }
  return sample;
}

/** Cutting copies, as a pool takes its blocks away. */
async function measure(form: CompressionForm, blockBytes: number): Promise<Row> {
  const workers = availableParallelism();
  using pool = startCompressPool(form, workers);
  // Starting takes its time, too, which is not the level's.
  await Promise.all(Array.from({ length: workers }, () => pool.compress(new Uint8Array(1))));
  const cpuBefore = process.cpuUsage();
  const start = performance.now();
  const sizes = [];
  for (const sample of samples) {
    const blocks = [];
    for (let at = 0; at < sample.length; at += blockBytes) {
      blocks.push(pool.compress(sample.slice(at, at + blockBytes)));
    }
    sizes.push(sum((await Promise.all(blocks)).map(({ length }) => length)));
  }
  const wallSeconds = (performance.now() - start) / 1000;
  const cpu = process.cpuUsage(cpuBefore);
  return {
    name: `${form.kind} ${form.level}`,
    blockMiB: blockBytes / MIB,
    sizes,
    cpuSeconds: (cpu.user + cpu.system) / 1e6,
    wallSeconds,
  };
}

async function measureTool([command = "", level = ""]: string[]): Promise<Row> {
  const sizes = [];
  let cpuSeconds = 0;
  for (const sample of samples) {
    const child = Bun.spawn([command, level, "-c"], { stdin: sample, stdout: "pipe" });
    sizes.push((await child.stdout.bytes()).length);
    await child.exited;
    cpuSeconds += Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1e6;
  }
  return { name: `${command} ${level}, the tool`, sizes, cpuSeconds };
}

/** What skopeo makes of an image that has the samples for layers. */
async function measureSkopeo(): Promise<Row | undefined> {
  if (Bun.which("skopeo") === null) return undefined;
  const image = join(folder, "image");
  const copied = join(folder, "copied");
  for (const [i, sample] of samples.entries()) await Bun.write(join(image, `${i}.tar`), sample);
  const config = new TextEncoder().encode(
    JSON.stringify({
      architecture: "amd64",
      os: "linux",
      config: {},
      rootfs: { type: "layers", diff_ids: samples.map(digestOf) },
      history: samples.map(() => ({ created_by: "levels" })),
    }),
  );
  const configPath = `${hexOf(digestOf(config))}.json`;
  await Bun.write(join(image, configPath), config);
  const layers = samples.map((_, i) => `${i}.tar`);
  await Bun.write(
    join(image, "manifest.json"),
    JSON.stringify([{ Config: configPath, RepoTags: ["levels:v1"], Layers: layers }]),
  );
  const archive = join(folder, "image.tar");
  Bun.spawnSync(["tar", "-cf", archive, "-C", image, ...(await readdir(image))]);
  const start = performance.now();
  const flags = ["--insecure-policy", "--dest-compress"];
  const child = Bun.spawnSync(["skopeo", "copy", ...flags, `docker-archive:${archive}`, `dir:${copied}`]);
  if (child.exitCode !== 0) throw new Error(`skopeo: ${child.stderr}`);
  const manifest = await Bun.file(join(copied, "manifest.json")).json();
  return {
    name: "skopeo copy",
    sizes: manifest.layers.map(({ size }: { size: number }) => size),
    cpuSeconds: Number(child.resourceUsage.cpuTime.total) / 1e6,
    wallSeconds: (performance.now() - start) / 1000,
  };
}

function print({ name, blockMiB, sizes, cpuSeconds, wallSeconds }: Row, reference: Row | undefined): void {
  const speed = (seconds: number | undefined) => (seconds ? (totalBytes / 1e6 / seconds).toFixed(0) : "");
  const ratios = sizes.map((size, i) => (size / (reference?.sizes[i] ?? Number.NaN)).toFixed(3));
  const cells = [
    name,
    blockMiB ?? "",
    (sum(sizes) / 1e6).toFixed(1),
    (sum(sizes) / sum(reference?.sizes ?? [Number.NaN])).toFixed(3),
    speed(cpuSeconds),
    speed(wallSeconds),
    ratios.join(" "),
  ];
  console.log(`| ${cells.join(" | ")} |`);
}

function sum(numbers: readonly number[]): number {
  return numbers.reduce((total, each) => total + each, 0);
}
