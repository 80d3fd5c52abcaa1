import { availableParallelism } from "node:os";
import type { CompressionForm } from "../../oci/compression.ts";

/** More workers than this cost memory and gain nothing that a disk or a link could follow. */
const MAX_WORKERS = 8;

const MIB = 1024 * 1024;

/**
 * A layer is cut into blocks of this size, each of which becomes a gzip member (RFC 1952, 2.2) or a zstd frame
 * (RFC 8878, 3.1); both formats let them follow one another. The size is part of what gives a layer its digest: another
 * one, and every layer that registries already have is uploaded again.
 */
export const BLOCK_BYTES: Readonly<Record<CompressionForm["kind"], number>> = { gzip: MIB, zstd: 2 * MIB };

/** Compresses blocks on all cores. */
export type CompressPool = Disposable & {
  readonly form: CompressionForm;
  /** How long the blocks have to be, all but the last of a layer. */
  readonly blockBytes: number;
  /** How many blocks keep every worker busy, also while some take several times as long as others. */
  readonly depth: number;
  /** Makes a gzip member or a zstd frame of a block, whose buffer is handed over and must not be used again. */
  compress(block: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
};

type Pending = { resolve(member: Uint8Array<ArrayBuffer>): void; reject(error: Error): void };
type WorkerSlot = { readonly worker: Worker; readonly pending: Pending[] };
type WorkerQuestion = CompressionForm & { readonly block: Uint8Array<ArrayBuffer> };
type WorkerReply = { readonly member: Uint8Array<ArrayBuffer> } | { readonly error: string };

/** In a worker, the way back to the thread that started it. */
declare const self: Worker;

/**
 * What a worker runs. It is sent there as text, so that the bundle and the executable stay one file: it can use
 * globals only.
 */
function serveBlocks(): void {
  type Level = 0 | 1 | 4 | 6;
  const samples = 16;
  const sampleBytes = 1024;

  const gzip = (bytes: Uint8Array<ArrayBuffer>, level: number) =>
    Bun.gzipSync(bytes, { library: "libdeflate", level: level as Level });

  const zstd = (bytes: Uint8Array<ArrayBuffer>, level: number) =>
    Bun.zstdCompressSync(bytes, { level }) as Buffer<ArrayBuffer>;

  /** libdeflate is slow at what does not shrink, and zstd is not. What is seen here is part of a layer's digest. */
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
      // Its memory goes back at once, and not when somebody collects garbage.
      block.buffer.transfer(0);
      reply({ member }, [member.buffer]);
    } catch (error) {
      reply({ error: String(error) });
    }
  };
}

/**
 * Starts workers as blocks come, so that a push with nothing to compress starts none. Results do not depend on
 * the number of workers.
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
      const slot = slots[next] ?? startWorker(source);
      slots[next] = slot;
      next = (next + 1) % workers;
      return new Promise((resolve, reject) => {
        // A worker answers in the order in which it was asked.
        slot.pending.push({ resolve, reject });
        const question: WorkerQuestion = { ...form, block };
        slot.worker.postMessage(question, [block.buffer]);
      });
    },
    [Symbol.dispose]() {
      for (const { worker } of slots) worker.terminate();
      URL.revokeObjectURL(source);
    },
  };
}

function startWorker(source: string): WorkerSlot {
  const slot: WorkerSlot = { worker: new Worker(source), pending: [] };
  slot.worker.onmessage = ({ data }: MessageEvent<WorkerReply>) => {
    const pending = slot.pending.shift();
    if ("error" in data) pending?.reject(new Error(`compressing worker: ${data.error}`));
    else pending?.resolve(data.member);
  };
  slot.worker.onerror = ({ message }) => {
    for (const pending of slot.pending.splice(0)) pending.reject(new Error(`compressing worker: ${message}`));
  };
  return slot;
}
