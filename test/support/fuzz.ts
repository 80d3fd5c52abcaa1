import { RUNS_ALL } from "./all-tests.ts";
import { seededBytes } from "./seeded-bytes.ts";

/** Chooses in ways that look random, and are the same for a seed. */
export type Random = {
  /** A whole number from 0 on, below the limit. */
  below(limit: number): number;
  pick<T>(choices: readonly T[]): T;
};

/** Multiplies the cases of every fuzzer: `CHUNKPUSH_FUZZ=100 npm test -- test/source` looks harder. */
export const FUZZ_FACTOR = Number(process.env["CHUNKPUSH_FUZZ"] ?? (RUNS_ALL ? 1 : 0.2));
/** `CHUNKPUSH_FUZZ_SEED=123` runs one case again. */
const ONLY = process.env["CHUNKPUSH_FUZZ_SEED"];

/** Whether a fuzzer has many cases, of which some should go well. */
export const HAS_MANY_CASES = ONLY === undefined;

/** The seeds of so many cases, or of more. */
export function fuzzSeeds(cases: number): number[] {
  if (ONLY !== undefined) return [Number(ONLY)];
  return Array.from({ length: Math.ceil(cases * FUZZ_FACTOR) }, (_, i) => i + 1);
}

/** How long a fuzzer may take, in milliseconds. */
export const FUZZ_TIMEOUT = 120_000 * Math.max(1, FUZZ_FACTOR);

/** Runs one case for each seed. A failure names its seed. */
export async function fuzz(
  cases: number,
  run: (random: Random, seed: number) => Promise<void>,
): Promise<void> {
  for (const seed of fuzzSeeds(cases)) {
    try {
      await run(seededRandom(seed), seed);
    } catch (cause) {
      throw new Error(`The case with CHUNKPUSH_FUZZ_SEED=${seed} failed: ${cause}`, { cause });
    }
  }
}

export function seededRandom(seed: number): Random {
  let words = new Uint32Array();
  let next = 0;
  const below = (limit: number) => {
    if (next === words.length) {
      words = new Uint32Array(seededBytes(1024, seed * 1000 + next).buffer);
      next = 0;
    }
    return (words[next++] ?? 0) % limit;
  };
  return {
    below,
    pick<T>(choices: readonly T[]): T {
      const choice = choices[below(choices.length)];
      if (choice === undefined) throw new Error("Nothing to choose from.");
      return choice;
    },
  };
}
