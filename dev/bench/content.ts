/**
 * What the files of the image have in them. Real software cannot be used: no two machines have the same. This is made
 * to compress as it does, in size and in time. Compared with tar archives of a Debian 12, on one core of the same
 * machine, as compressed size ÷ raw size and MB of raw bytes per second:
 *
 * |              | /usr/bin   | /usr/lib   | /usr/share | an image of this |
 * |--------------|------------|------------|------------|------------------|
 * | gzip -1      | 0.405, 65  | 0.503, 58  | 0.454, 71  | 0.398, 69        |
 * | gzip -6      | 0.365, 21  | 0.474, 27  | 0.422, 30  | 0.359, 22        |
 * | zstd -1      | 0.397, 202 | 0.478, 298 | 0.436, 360 | 0.368, 280       |
 * | zstd -3      | 0.355, 151 | 0.446, 206 | 0.395, 241 | 0.353, 213       |
 *
 * libdeflate in blocks of 1 MiB, at level 4: /usr/bin 0.369 at 109 MB/s, the layer of libraries here 0.360 at 113.
 * skopeo needs 14.0 s of CPU per GB of /usr/bin and /usr/share, and 14.0 of this.
 *
 * What it does not resemble: higher levels gain half of what they gain on real programs (libdeflate 1 to 6: 4 % here,
 * 8 % in /usr/bin). To choose a level, measure real files.
 */
import { type Random, seededRandom } from "./random.ts";
import {
  fillWithTokens,
  type Habits,
  type Operand,
  type Token,
  type Vocabulary,
  vocabularyOf,
} from "./tokens.ts";

/** Fills a piece of a file, from its beginning to its end. */
type Filler = (target: Uint8Array, random: Random) => void;

export type FileKind = "program" | "source" | "prose" | "packed";

const SEED = "chunkpush bench";

const CODE: Vocabulary = vocabularyOf(`${SEED} code`, instructions(3000), 1);
const CODE_HABITS: Habits = { successorShare: 0.55, repeatShare: 0.044, repeatBytes: 400 };

const WORDS = words(1200);
const SOURCE = vocabularyOf(`${SEED} source`, sourceTokens(), 0.9);
const SOURCE_HABITS: Habits = { successorShare: 0.15, repeatShare: 0.03, repeatBytes: 300 };
const PROSE = vocabularyOf(`${SEED} prose`, proseTokens(), 0.9);
const PROSE_HABITS: Habits = { successorShare: 0.1, repeatShare: 0.02, repeatBytes: 200 };

export const FILLERS: Readonly<Record<FileKind, Filler>> = {
  program: fillProgram,
  source: (target, random) => fillWithTokens(target, random, SOURCE, SOURCE_HABITS),
  prose: (target, random) => fillWithTokens(target, random, PROSE, PROSE_HABITS),
  packed: fillAtRandom,
};

/** Code, tables, and the names of symbols, as an executable has them one after another. */
function fillProgram(target: Uint8Array, random: Random): void {
  const tables = Math.floor(target.length * (0.5 + random.fraction() * 0.2));
  const names = Math.floor(target.length * 0.8);
  fillWithTokens(target.subarray(0, tables), random, CODE, CODE_HABITS);
  fillWithRecords(target.subarray(tables, names), random);
  fillWithTokens(target.subarray(names), random, SOURCE, SOURCE_HABITS);
}

/** Relocations and symbols: records of 24 bytes, whose numbers grow. */
function fillWithRecords(target: Uint8Array, random: Random): void {
  let address = random.next() >>> 8;
  let name = 0;
  for (let at = 0; at < target.length; at += 24) {
    const word = random.next();
    address += 8 << (word & (word >>> 4) & 3);
    name += (word >>> 8) & 0x1f;
    const record = [address, address >>> 8, address >>> 16, address >>> 24, 0, 0, 0, 0];
    record.push(name, name >>> 8, name >>> 16, 0, (word >>> 30) + 1, 0, word >>> 29 === 0 ? word : 0x0b, 0);
    record.push(word >>> 16, (word >>> 24) & 0x1f, 0, 0, 0, 0, 0, 0);
    target.set(record.slice(0, target.length - at), at);
  }
}

function fillAtRandom(target: Uint8Array, random: Random): void {
  for (let at = 0; at < target.length; at += 4) {
    const word = random.next();
    target[at] = word;
    target[at + 1] = word >>> 8;
    target[at + 2] = word >>> 16;
    target[at + 3] = word >>> 24;
  }
}

/** Forms of instructions: an opcode of one to four bytes, and what kind of operand it has. */
function instructions(count: number): Token[] {
  const random = seededRandom(`${SEED} instructions`);
  const kinds: readonly Operand[] = ["none", "none", "small", "small", "near", "far"];
  // Few bytes begin most instructions: REX.W, MOV, LEA, CALL, Jcc, …
  const prefixes = [0x48, 0x48, 0x4c, 0x49, 0x41, 0x0f, 0x66, 0x44];
  return Array.from({ length: count }, () => {
    const opcode = [0x89, 0x8b, 0x8d, 0xe8, 0x83, 0x85, 0x31, 0x74, 0x75, 0xc7][random.below(10)] ?? 0;
    const modrm = [0xc0, 0x44, 0x45, 0x05, 0x24][random.below(5)] ?? 0;
    const bytes = [opcode, modrm ^ (random.below(8) << 3) ^ random.below(8)];
    if (random.below(4) > 0) bytes.unshift(prefixes[random.below(prefixes.length)] ?? 0);
    return { bytes: Uint8Array.from(bytes), operand: kinds[random.below(kinds.length)] ?? "none" };
  });
}

/** Words of no language, of syllables. */
function words(count: number): string[] {
  const random = seededRandom(`${SEED} words`);
  const pick = (from: readonly string[]) => from[random.below(from.length)] ?? "";
  const heads = ["b", "c", "d", "f", "g", "l", "m", "n", "p", "r", "s", "t", "v", "st", "tr", "pl", "ch", ""];
  const tails = ["a", "e", "i", "o", "u", "er", "in", "on", "at", "al", "en", "is", "ing", "ed", "ion"];
  return Array.from({ length: count }, () =>
    Array.from({ length: 1 + random.below(4) }, () => pick(heads) + pick(tails)).join(""),
  );
}

function sourceTokens(): Token[] {
  const random = seededRandom(`${SEED} source tokens`);
  const ends = [" ", ".", "(", ", ", ": ", " = ", ");\n    ", "\n        ", "_", '"', " {\n      "];
  return WORDS.flatMap((word, i) => {
    const shown = i % 3 === 0 ? word.charAt(0).toUpperCase() + word.slice(1) : word;
    const end = ends[random.below(ends.length)] ?? "";
    return [token(shown + end, i % 8 === 7 ? "number" : "none")];
  });
}

function proseTokens(): Token[] {
  return WORDS.map((word, i) => token(word + (i % 11 === 5 ? ", " : i % 17 === 3 ? ".\n" : " "), "none"));
}

function token(text: string, operand: Operand): Token {
  return { bytes: new TextEncoder().encode(text), operand };
}
