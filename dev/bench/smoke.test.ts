/** The benchmark with a small image: every case runs to its end, and the numbers are where they should be. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import * as v from "valibot";
import { RUNS_ALL } from "../../test/support/all-tests.ts";
import { type CommandResult, run } from "../../test/support/command.ts";
import { requireParts } from "../../test/support/parts.ts";
import { temporaryFolder } from "../../test/support/temporary-folder.ts";

setDefaultTimeout(120_000);

const BENCH = join(import.meta.dir, "./bench.ts");
const SIZE = 6_000_000;
const CASES = ["cold", "warm", "earlier-tag", "compressed", "compressed-https", "own-limit"];

const RUN = v.object({
  wallMs: v.pipe(v.number(), v.gtValue(0)),
  cpuMs: v.pipe(v.number(), v.gtValue(0)),
  registryCpuMs: v.pipe(v.number(), v.minValue(0)),
  storedBytes: v.number(),
  linkBytes: v.optional(v.number()),
});
const RESULTS = v.object({
  results: v.array(
    v.object({
      title: v.string(),
      results: v.array(
        v.object({
          name: v.string(),
          runs: v.array(RUN),
          skipped: v.optional(v.string()),
          failed: v.optional(v.string()),
        }),
      ),
    }),
  ),
});

async function bench(folder: string, ...args: readonly string[]) {
  const json = join(folder, "numbers.json");
  const command = [process.execPath, "run", BENCH, "--size", `${SIZE}`, "--folder", folder, "--json", json];
  const result: CommandResult = await run([...command, ...args], { env: { HOME: folder, TMPDIR: folder } });
  return { ...result, cases: v.parse(RESULTS, await Bun.file(json).json()).results };
}

describe.skipIf(!RUNS_ALL || !requireParts("docker-registry", "openssl"))("The benchmark", () => {
  test("runs every case to its end, with a table and a chart", async () => {
    await using folder = await temporaryFolder();
    const chart = join(folder.path, "chart.svg");
    const { stdout, cases } = await bench(
      folder.path,
      "--runs",
      "1",
      "--case",
      CASES.join(),
      "--chart",
      chart,
    );
    expect(cases).toHaveLength(CASES.length);
    const all = cases.flatMap(({ results }) => results);
    for (const { name, runs, skipped, failed } of all) {
      expect({ name, failed, runs: runs.length }).toEqual({ name, failed, runs: skipped || failed ? 0 : 1 });
    }
    expect(all.filter(({ name }) => name === "chunkpush").map(({ runs }) => runs.length)).toEqual([
      1, 1, 1, 1, 1,
    ]);

    const rows = stdout.split("\n").filter((line) => line.startsWith("|"));
    expect(rows).toHaveLength(2 + all.length);
    expect(new Set(rows.map((row) => row.split("|").length)).size).toBe(1);

    const storedBytes = (title: number) =>
      cases[title]?.results.find(({ name }) => name === "chunkpush")?.runs[0]?.storedBytes;
    expect(storedBytes(0)).toBeGreaterThan(SIZE * 0.2);
    expect(storedBytes(0)).toBeLessThan(SIZE * 0.6);
    // It hashes what it gets. A single case may take less than what /proc counts in.
    expect(all.flatMap(({ runs }) => runs).reduce((ms, run) => ms + run.registryCpuMs, 0)).toBeGreaterThan(0);
    // A warm push sends nothing.
    expect(storedBytes(1)).toBe(0);

    const svg = await Bun.file(chart).text();
    expect(svg).toStartWith("<svg ");
    const timed = all.filter(({ runs }) => runs.length > 0);
    expect(svg.match(/<rect /g)).toHaveLength(timed.length);
  });

  test("completes a push through a slow link with a reset, and counts the bytes that were sent twice", async () => {
    await using folder = await temporaryFolder();
    const link = ["--slow-link", "20MB/s", "--latency", "5ms", "--resets", "1"];
    const { cases } = await bench(folder.path, "--runs", "1", "--case", "cold,compressed-https", ...link);
    // The proxy cannot look into TLS.
    expect(cases).toHaveLength(1);
    const own = cases[0]?.results.find(({ name }) => name === "chunkpush");
    expect(own?.failed).toBeUndefined();
    expect(own?.runs[0]?.linkBytes).toBeGreaterThan(own?.runs[0]?.storedBytes ?? 0);
  });
});
