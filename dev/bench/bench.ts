/**
 * Compares chunkpush with what else pushes images: the same image into the same registry, in turn, several times.
 * docs/benchmark.md tells how to run it, and what is measured.
 */
import { mkdir } from "node:fs/promises";
import { availableParallelism, cpus } from "node:os";
import { CASES } from "./cases.ts";
import { drawChart } from "./chart.ts";
import { imagesIn } from "./images.ts";
import { readOptions } from "./options.ts";
import { type CaseResult, readAhead, runCase } from "./run-case.ts";
import { summarize } from "./summary.ts";
import { formatTable } from "./table.ts";

/** Of a compressed image in its raw one, about: where resets are strewn. */
const COMPRESSED_SHARE = 0.36;

const say = (line: string) => console.error(line);
process.exitCode = await bench();

async function bench(): Promise<number> {
  const options = readOptions(process.argv.slice(2));
  const { size, folder, runs, slowLink, latency, resets } = options;
  if (Bun.which("docker-registry") === null) {
    say("docker-registry is not installed, and it is what all push to: apt-get install docker-registry");
    return 1;
  }
  await mkdir(folder, { recursive: true });
  const images = imagesIn(folder, size, say);
  const link =
    slowLink === undefined
      ? undefined
      : { bytesPerSecond: slowLink, latencyMs: latency, resets, expectedBytes: size * COMPRESSED_SHARE };

  const results: CaseResult[] = [];
  for (const name of options.case) {
    const made = await CASES[name]?.({ images, chunkBytes: options.chunkSize, say });
    if (made === undefined) continue;
    await using _engines = made.engines;
    if (link !== undefined && made.isSecure) {
      say(`${made.title}: left out, for the slow link cannot look into TLS.`);
      continue;
    }
    await readAhead(await images.image());
    results.push(await runCase(made, { parent: folder, link, runs, say }));
  }

  const summaries = results.map((result) => summarize(result, slowLink));
  const caption = captionOf(size, runs, slowLink);
  console.log(`\n${caption}\n\n${formatTable(summaries)}`);
  if (options.chart !== undefined) await Bun.write(options.chart, drawChart(summaries, caption));
  if (options.json !== undefined)
    await Bun.write(options.json, `${JSON.stringify({ caption, options, results }, null, 2)}\n`);
  return results.some((result) => result.results.some(({ failed }) => failed !== undefined)) ? 1 : 0;
}

function captionOf(size: number, runs: number, slowLink: number | undefined): string {
  const where =
    slowLink === undefined
      ? "docker-registry on this machine"
      : `a link of ${slowLink / 1e6} MB/s (× its limit)`;
  const model = cpus()[0]?.model.trim() ?? "a processor";
  return `${size / 1e9} GB of layers to ${where}, medians of ${runs}, ${availableParallelism()} cores of ${model}`;
}
