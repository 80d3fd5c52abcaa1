import { tmpdir } from "node:os";
import { join } from "node:path";
import { Command, InvalidArgumentError } from "commander";
import { bytes } from "../../src/cli/values.ts";
import { CASES } from "./cases.ts";

export type BenchOptions = {
  /** Of all layers together. */
  readonly size: number;
  readonly runs: number;
  readonly case: readonly string[];
  /** Where the image and the registry are. */
  readonly folder: string;
  readonly chunkSize: number;
  readonly chart?: string;
  readonly json?: string;
  /** Bytes per second. */
  readonly slowLink?: number;
  /** Milliseconds. */
  readonly latency: number;
  readonly resets: number;
};

/** Reads the arguments; ends the process where they are wrong, or ask for help. */
export function readOptions(args: readonly string[]): BenchOptions {
  const names = Object.keys(CASES);
  return new Command("bun run bench")
    .description(
      "Compares chunkpush with the tools that are installed, into docker-registry on this machine.",
    )
    .option("--size <size>", "of the image's layers together", size, 1_000_000_000)
    .option("--runs <n>", "of every tool, in turn; medians are shown", count, 3)
    .option("--case <names>", `some of ${names.join(", ")}`, caseNames, names)
    .option(
      "--folder <folder>",
      "for the image, which stays, and the registry",
      join(tmpdir(), "chunkpush-bench"),
    )
    .option("--chunk-size <size>", "where chunks are compared with curl's", size, 100_000_000)
    .option("--chart <file>", "draw the times as SVG")
    .option("--json <file>", "write every number of every run")
    .option("--slow-link <rate>", "such as 20MB/s: all goes over a link of this rate", rate)
    .option("--latency <time>", "of the slow link, there and back: 50ms", milliseconds, 0)
    .option("--resets <n>", "connections that break on the slow link, during a push", count, 0)
    .parse([...args], { from: "user" })
    .opts();
}

function size(text: string): number {
  return bytes({ name: "It", text }) ?? 0;
}

function rate(text: string): number {
  return size(text.replace(/\/s$/, ""));
}

function count(text: string): number {
  if (!/^\d{1,4}$/.test(text)) throw new InvalidArgumentError("It should be a number.");
  return Number(text);
}

function milliseconds(text: string): number {
  return count(text.replace(/ms$/, ""));
}

function caseNames(text: string): string[] {
  const names = text.split(",");
  const unknown = names.filter((name) => !Object.hasOwn(CASES, name));
  if (unknown.length > 0) throw new InvalidArgumentError(`There is no case ${unknown.join(", ")}.`);
  return names;
}
