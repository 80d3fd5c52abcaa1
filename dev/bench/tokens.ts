import { type Random, seededRandom } from "./random.ts";

/** What follows a token's own bytes: the part of an instruction or a line that differs from place to place. */
export type Operand = "none" | "near" | "far" | "small" | "number";

export type Token = { readonly bytes: Uint8Array; readonly operand: Operand };

/** Tokens, how often each comes, and what tends to come after it. */
export type Vocabulary = {
  readonly bytes: Uint8Array;
  /** Where each token begins in `bytes`, and where the last one ends. */
  readonly starts: Uint32Array;
  readonly operands: readonly Operand[];
  /** Tokens by their frequency: each stands in it as often as it should come. */
  readonly picks: Uint16Array;
  /** The usual successors of each token. */
  readonly successors: Uint16Array;
};

export type Habits = {
  /** How often a token is followed by one of its usual successors. */
  readonly successorShare: number;
  /** How often, per token, an earlier passage comes again. */
  readonly repeatShare: number;
  /** The longest passage that comes again, in bytes. */
  readonly repeatBytes: number;
};

/** Most of what comes again is not far, so that gzip, which sees 32 KiB, finds nearly as much as zstd does. */
const REPEAT_WITHIN = 48 * 1024;
const PICKS = 1 << 16;
const SUCCESSORS = 4;

/** @param skew how much more often the first tokens come than the last ones: Zipf's exponent, about 1 in languages */
export function vocabularyOf(seed: string, tokens: readonly Token[], skew: number): Vocabulary {
  const random = seededRandom(seed);
  const weights = tokens.map((_, i) => 1 / (i + 2) ** skew);
  const total = weights.reduce((sum, weight) => sum + weight, 0);
  const picks = new Uint16Array(PICKS);
  let [token, until] = [0, 0];
  for (let i = 0; i < PICKS; i++) {
    if (i === 0 || i >= until) {
      if (i > 0 && token < tokens.length - 1) token++;
      until += ((weights[token] ?? 0) / total) * PICKS;
    }
    picks[i] = token;
  }
  const starts = new Uint32Array(tokens.length + 1);
  for (const [i, { bytes }] of tokens.entries()) starts[i + 1] = (starts[i] ?? 0) + bytes.length;
  return {
    bytes: Buffer.concat(tokens.map(({ bytes }) => bytes)),
    starts,
    operands: tokens.map(({ operand }) => operand),
    picks,
    successors: Uint16Array.from(
      { length: tokens.length * SUCCESSORS },
      () => picks[random.next() % PICKS] ?? 0,
    ),
  };
}

/** Fills a piece of a file with tokens, and with passages that were there before. */
export function fillWithTokens(
  target: Uint8Array,
  random: Random,
  { bytes, starts, operands, picks, successors }: Vocabulary,
  { successorShare, repeatShare, repeatBytes }: Habits,
): void {
  const repeatBelow = repeatShare * 2 ** 32;
  const successorBelow = successorShare * 2 ** 16;
  let at = 0;
  let token = 0;
  while (at < target.length) {
    if (at > 64 && random.next() < repeatBelow) {
      // Near passages come again more often than far ones.
      const distance = Math.floor(32 * (Math.min(at, REPEAT_WITHIN) / 32) ** random.fraction());
      const length = 4 + Math.floor(repeatBytes * random.fraction() ** 3);
      const from = at - distance;
      for (let i = 0; i < length; i++) target[at + i] = target[from + i] ?? 0;
      at += length;
    }
    const choice = random.next();
    token =
      ((choice & 0xffff) < successorBelow
        ? successors[token * SUCCESSORS + ((choice >>> 16) & (SUCCESSORS - 1))]
        : picks[choice >>> 16]) ?? 0;
    const end = starts[token + 1] ?? 0;
    for (let i = starts[token] ?? 0; i < end; i++) target[at++] = bytes[i] ?? 0;
    const operand = operands[token];
    if (operand !== "none") at = writeOperand(target, at, random, operand ?? "none");
  }
}

function writeOperand(target: Uint8Array, at: number, random: Random, operand: Operand): number {
  const word = random.next();
  switch (operand) {
    case "none":
      return at;
    case "small":
      // An offset in a stack frame or a struct.
      target[at] = (word & 15 & (word >>> 8)) << 3;
      return at + 1;
    case "near":
      target[at] = word;
      return at + 1;
    case "far": {
      // A call or an address: a distance up to some megabytes, forth or back.
      const isBack = word >>> 31 === 1;
      target[at] = word;
      target[at + 1] = word >>> 8;
      target[at + 2] = (isBack ? 0xff : 0) ^ ((word >>> 16) & (word >>> 20) & 0x1f);
      target[at + 3] = isBack ? 0xff : 0;
      return at + 4;
    }
    case "number": {
      const digits = `${word % (word & 1 ? 10_000 : 100)}`;
      for (let i = 0; i < digits.length; i++) target[at + i] = digits.charCodeAt(i);
      return at + digits.length;
    }
  }
}
