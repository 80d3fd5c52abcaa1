import pLimit from "p-limit";
import { RegistryError } from "../../errors.ts";

/** How many chunks are on their way at a time: fewer while the server is overloaded, more again as it recovers. */
export type UploadSlots = {
  /** Runs a request as soon as there is room for it. */
  run<T>(request: () => Promise<T>): Promise<T>;
};

/** One overload may be a coincidence. */
const OVERLOADS_BEFORE_SLOWING = 2;

/** Additive increase, multiplicative decrease: each repeated overload halves the number, each success adds one. */
export function uploadSlots(most: number): UploadSlots {
  const limit = pLimit(most);
  let overloads = 0;
  return {
    run: (request) =>
      limit(async () => {
        try {
          const result = await request();
          overloads = 0;
          limit.concurrency = Math.min(limit.concurrency + 1, most);
          return result;
        } catch (error) {
          if (isOverload(error) && ++overloads >= OVERLOADS_BEFORE_SLOWING) {
            limit.concurrency = Math.max(1, Math.floor(limit.concurrency / 2));
          }
          throw error;
        }
      }),
  };
}

/** 429, workerd's 503, and Cloudflare's 52x for a Worker that is slow or gone. */
function isOverload(error: unknown): boolean {
  if (!(error instanceof RegistryError)) return false;
  const { status } = error.answer;
  return status === 429 || status === 503 || (status >= 520 && status <= 527);
}
