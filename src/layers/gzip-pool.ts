import { availableParallelism } from "node:os";

/** More workers than this cost memory and gain nothing that a disk or a link could follow. */
const MAX_WORKERS = 8;

/** Compresses blocks on all cores. */
export type GzipPool = Disposable & {
  /** How many blocks keep every worker busy. */
  readonly depth: number;
  /** Makes one gzip member of a block, whose buffer is handed over and must not be used again. */
  compress(block: Uint8Array<ArrayBuffer>): Promise<Uint8Array<ArrayBuffer>>;
};

type Pending = { resolve(member: Uint8Array<ArrayBuffer>): void; reject(error: Error): void };
type WorkerSlot = { readonly worker: Worker; readonly pending: Pending[] };
type WorkerReply = { readonly member: Uint8Array<ArrayBuffer> } | { readonly error: string };

/** In a worker, the way back to the thread that started it. */
declare const self: Worker;

/**
 * What a worker runs. It is sent there as text, so that the bundle and the executable stay one file: it can use
 * globals only.
 */
function serveGzip(): void {
  self.onmessage = ({ data }: MessageEvent<{ block: Uint8Array<ArrayBuffer>; level: 0 | 1 | 4 | 6 }>) => {
    const reply = (message: WorkerReply, transfer: ArrayBuffer[] = []) => self.postMessage(message, transfer);
    try {
      const member = Bun.gzipSync(data.block, { library: "libdeflate", level: data.level });
      reply({ member }, [member.buffer]);
    } catch (error) {
      reply({ error: String(error) });
    }
  };
}

/**
 * Starts workers as blocks come, so that a push with nothing to compress starts none. Results do not depend on
 * the number of workers.
 *
 * @param level 0 to 12, as libdeflate counts
 */
export function startGzipPool(
  level: number,
  workers = Math.min(availableParallelism() + 1, MAX_WORKERS),
): GzipPool {
  const slots: WorkerSlot[] = [];
  const source = URL.createObjectURL(new Blob([`(${serveGzip})()`], { type: "text/javascript" }));
  let next = 0;
  return {
    depth: workers * 2,
    compress(block) {
      const slot = slots[next] ?? startWorker(source);
      slots[next] = slot;
      next = (next + 1) % workers;
      return new Promise((resolve, reject) => {
        // A worker answers in the order in which it was asked.
        slot.pending.push({ resolve, reject });
        slot.worker.postMessage({ block, level }, [block.buffer]);
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
    if ("error" in data) pending?.reject(new Error(`gzip worker: ${data.error}`));
    else pending?.resolve(data.member);
  };
  slot.worker.onerror = ({ message }) => {
    for (const pending of slot.pending.splice(0)) pending.reject(new Error(`gzip worker: ${message}`));
  };
  return slot;
}
