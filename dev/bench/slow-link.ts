import { slowLink } from "../faults/fault.ts";
import { startFaultProxy } from "../faults/proxy.ts";
import { seededRandom } from "./random.ts";

export type LinkOptions = {
  readonly bytesPerSecond: number;
  /** There and back. */
  readonly latencyMs: number;
  /** How often a connection breaks while the image is pushed. */
  readonly resets: number;
  /** How much about passes in all, over which the resets are strewn. */
  readonly expectedBytes: number;
};

export type SlowLink = AsyncDisposable & {
  readonly host: string;
  /** Of the bodies of all requests, lost ones included. */
  readonly carriedBytes: () => number;
};

/** Puts a slow link before a registry: one rate for all connections together. The same resets come in every run. */
export async function startSlowLink(upstreamHost: string, options: LinkOptions): Promise<SlowLink> {
  const random = seededRandom("resets");
  const resetsAt = Array.from({ length: options.resets }, () => random.below(options.expectedBytes));
  const fault = slowLink({ ...options, resetsAt });
  const proxy = await startFaultProxy({ upstreamHost: () => upstreamHost, plan: () => fault });
  return {
    host: proxy.host,
    carriedBytes: () => proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0),
    [Symbol.asyncDispose]: () => proxy[Symbol.asyncDispose](),
  };
}
