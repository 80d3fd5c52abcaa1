import { setTimeout as sleep } from "node:timers/promises";
import { BodyBroken } from "./http-body.ts";

type Pieces = AsyncGenerator<Buffer>;

/** What requests and answers pass through. */
export type Link = {
  /** Waited for before a request goes on its way: the time for the way there and back. */
  readonly latencyMs: number;
  /** Lets the pieces of a body pass at the link's pace. Throws `BodyBroken` where the connection breaks. */
  readonly carry: (pieces: Pieces) => Pieces;
};

export type LinkOptions = {
  /** Of all bodies together, whichever connections and directions they take. */
  readonly bytesPerSecond: number;
  readonly latencyMs: number;
  /** Places, counted in the bytes of all bodies that passed: whoever sends the byte there loses the connection. */
  readonly resetsAt?: readonly number[];
};

/** Pieces that are small enough for connections to take turns, and for the pace not to come in bursts. */
const PIECES_PER_SECOND = 50;
const MAX_PIECE_BYTES = 256 * 1024;

/** What the pace is kept by. */
export type Clock = { readonly now: () => number; readonly sleep: (ms: number) => Promise<void> };

const REAL_CLOCK: Clock = { now: () => performance.now(), sleep: (ms) => sleep(ms) };

/** A link that all requests share, as those of one machine share its way out. */
export function sharedLink(
  { bytesPerSecond, latencyMs, resetsAt = [] }: LinkOptions,
  clock: Clock = REAL_CLOCK,
): Link {
  const step = Math.min(MAX_PIECE_BYTES, Math.max(1, Math.floor(bytesPerSecond / PIECES_PER_SECOND)));
  const resets = [...resetsAt].sort((a, b) => a - b);
  let carriedBytes = 0;
  /** When what was promised to all will have passed. */
  let busyUntil = 0;

  async function pass(bytes: number): Promise<void> {
    const now = clock.now();
    busyUntil = Math.max(now, busyUntil) + (bytes / bytesPerSecond) * 1000;
    await clock.sleep(busyUntil - now);
    carriedBytes += bytes;
    if (carriedBytes > (resets[0] ?? Number.POSITIVE_INFINITY)) {
      resets.shift();
      throw new BodyBroken();
    }
  }

  return {
    latencyMs,
    async *carry(pieces) {
      for await (const piece of pieces) {
        for (let offset = 0; offset < piece.length; offset += step) {
          const part = piece.subarray(offset, offset + step);
          await pass(part.length);
          yield part;
        }
      }
    },
  };
}
