import { availableParallelism } from "node:os";
import { PushError, RESUME } from "../../errors.ts";
import type { CompressionForm } from "../../oci/compression.ts";

/** More workers need more memory, and compress faster than disks and links take the result. */
const MAX_WORKERS = 8;

const MIB = 1024 * 1024;

/**
 * The raw size of a block in bytes. Each block becomes a gzip member (RFC 1952, 2.2) or a zstd frame (RFC 8878, 3.1);
 * both formats allow concatenation. The size affects a layer's digest: a change uploads all layers again.
 */
export const BLOCK_BYTES: Readonly<Record<CompressionForm["kind"], number>> = { gzip: MIB, zstd: 2 * MIB };

/** Compresses blocks on all cores. */
export type CompressPool = Disposable & {
  readonly form: CompressionForm;
  /** The required size of all blocks but the last of a layer. */
  readonly blockBytes: number;
  /** The number of blocks to keep in progress, so that every worker is busy although some blocks take longer. */
  readonly depth: number;
  /** Compresses a block into a gzip member or a zstd frame. Takes over the block's buffer. Throws `COMPRESSION_FAILED`. */
  compress(block: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
};

type WorkerSlot = {
  readonly worker: Worker;
  /** A worker replies in the order of its questions. */
  readonly pending: PromiseWithResolvers<Uint8Array<ArrayBuffer>>[];
  hasEnded: boolean;
};
type WorkerQuestion = CompressionForm & { readonly block: Uint8Array<ArrayBuffer> };
type WorkerReply = { readonly member: Uint8Array<ArrayBuffer> } | { readonly error: string };

/** A worker's own scope, through which it receives and sends messages. */
declare const self: Worker;

/** A worker's code. It is passed as text, so that a bundle stays one file. It can use globals only. */
function serveBlocks(): void {
  type Level = 0 | 1 | 4 | 6;
  const samples = 16;
  const sampleBytes = 1024;

  const gzip = (bytes: Uint8Array<ArrayBuffer>, level: number) =>
    Bun.gzipSync(bytes, { library: "libdeflate", level: level as Level });

  const zstd = (bytes: Uint8Array<ArrayBuffer>, level: number) =>
    Bun.zstdCompressSync(bytes, { level }) as Buffer<ArrayBuffer>;

  /** Detects incompressible blocks, which libdeflate is slow at. The result affects a layer's digest. */
  function isIncompressible(block: Uint8Array<ArrayBuffer>): boolean {
    if (block.length < 4 * samples * sampleBytes) return false;
    const sample = new Uint8Array(samples * sampleBytes);
    for (let i = 0; i < samples; i++) {
      const start = Math.floor((i * (block.length - sampleBytes)) / (samples - 1));
      sample.set(block.subarray(start, start + sampleBytes), i * sampleBytes);
    }
    return gzip(sample, 1).length > 0.99 * sample.length;
  }

  self.onmessage = ({ data: { block, kind, level } }: MessageEvent<WorkerQuestion>) => {
    const reply = (message: WorkerReply, transfer: ArrayBuffer[] = []) => self.postMessage(message, transfer);
    try {
      const member = kind === "zstd" ? zstd(block, level) : gzip(block, isIncompressible(block) ? 0 : level);
      // Free its memory now, without waiting for garbage collection.
      block.buffer.transfer(0);
      reply({ member }, [member.buffer]);
    } catch (error) {
      reply({ error: String(error) });
    }
  };
}

/**
 * Creates a pool that compresses blocks on several cores. It starts a worker only when a block needs one. Results do not
 * depend on the number of workers.
 */
export function startCompressPool(
  form: CompressionForm,
  workers = Math.min(availableParallelism(), MAX_WORKERS),
): CompressPool {
  const slots: WorkerSlot[] = [];
  const source = URL.createObjectURL(new Blob([`(${serveBlocks})()`], { type: "text/javascript" }));
  let next = 0;
  return {
    form,
    blockBytes: BLOCK_BYTES[form.kind],
    depth: workers * 3,
    compress(block) {
      const running = slots[next];
      const slot = running === undefined || running.hasEnded ? startWorker(source) : running;
      slots[next] = slot;
      next = (next + 1) % workers;
      const pending = Promise.withResolvers<Uint8Array<ArrayBuffer>>();
      slot.worker.postMessage({ ...form, block } satisfies WorkerQuestion, [block.buffer]);
      slot.pending.push(pending);
      return pending.promise;
    },
    [Symbol.dispose]() {
      for (const { worker, pending } of slots) {
        pending.length = 0;
        worker.terminate();
      }
      URL.revokeObjectURL(source);
    },
  };
}

function startWorker(source: string): WorkerSlot {
  const slot: WorkerSlot = { worker: new Worker(source), pending: [], hasEnded: false };
  slot.worker.onmessage = ({ data }: MessageEvent<WorkerReply>) => {
    const pending = slot.pending.shift();
    if ("error" in data) pending?.reject(compressionError(data.error));
    else pending?.resolve(data.member);
  };
  // A worker may end without an error.
  let reason = "it exited";
  slot.worker.onerror = ({ message }) => {
    reason = message;
  };
  slot.worker.addEventListener("close", () => {
    slot.hasEnded = true;
    for (const pending of slot.pending.splice(0)) pending.reject(compressionError(reason));
  });
  return slot;
}

function compressionError(reason: string): PushError {
  return new PushError("COMPRESSION_FAILED", `Cannot compress a layer: a thread failed: ${reason}`, {
    hint: `${RESUME} If this machine is low on memory, --compression none needs the least.`,
  });
}
