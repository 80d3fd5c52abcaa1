import { addAbortListener } from "node:events";
import type { OnPiece } from "../http/file-body.ts";
import { isOverload } from "../http/transient.ts";
import type { Call, Repository } from "../registry.ts";
import type { Turn } from "../slots.ts";
import type { BeginOptions } from "./begin.ts";
import { LAST_CHUNK_MS } from "./chunk-size.ts";
import type { Outgoing } from "./outgoing.ts";
import { fitWidth } from "./plan-chunks.ts";
import type { Upload } from "./session.ts";

export type TurnOptions = BeginOptions & {
  /** Ends a request with a chunk at once, while `signal` gives it some seconds. @default `signal` ends it at once */
  readonly abort?: AbortSignal | undefined;
  /**
   * Called with the bytes that were sent, the bytes that the server has confirmed, and the current chunk size. The numbers
   * decrease if the server loses bytes.
   */
  readonly onProgress: (sentBytes: number, keptBytes: number, chunkBytes: number) => void;
};

type Sender = {
  readonly at: Repository;
  readonly blob: Outgoing;
  readonly upload: Upload;
  readonly turn: Turn;
  readonly options: TurnOptions;
};

/**
 * Waits for a slot, and sends a request of an upload. Measures the body, and reports the outcome to `sending`: an overloaded
 * server gets fewer concurrent requests.
 *
 * @param offset the offset of the body in the blob
 */
export async function sendInTurn<T>(
  { at, blob, upload, turn, options }: Sender,
  offset: number,
  bodyBytes: number,
  send: (onPiece: OnPiece, call: Call) => Promise<T>,
): Promise<T> {
  const { link, sending } = at.registry;
  if (options.chunkBytes === undefined) fitWidth(at.registry, upload.limits);
  // Do not wait while the link is being measured: all other uploads may hold their slots until then.
  if (link.bytesPerSecond() !== undefined) await turn.pass();
  options.signal.throwIfAborted();
  let leftBytes = bodyBytes;
  const msLeft = () =>
    (leftBytes * sending.busy() * 1000) / (link.bytesPerSecond() ?? Number.POSITIVE_INFINITY);
  try {
    const result = await link.timed((moved) => {
      const onPiece: OnPiece = async (end, piece) => {
        await blob.guard?.pass(offset + end, piece);
        leftBytes = bodyBytes - end;
        moved(end);
        options.onProgress(offset + end, offset, upload.chunkBytes);
      };
      return letEnd(options, msLeft, (call) => send(onPiece, call));
    });
    sending.recovered();
    return result;
  } catch (error) {
    if (isOverload(error)) sending.overloaded();
    throw error;
  }
}

/**
 * Sends a request that may end after a stop: some servers drop a chunk that is cut, and distribution 2.8 drops the whole
 * upload. A stop cuts the request if it would take too long.
 */
async function letEnd<T>(
  options: TurnOptions,
  msLeft: () => number,
  send: (call: Call) => Promise<T>,
): Promise<T> {
  const { abort, signal } = options;
  if (abort === undefined) return send(options);
  const late = new AbortController();
  let timer: Timer | undefined;
  using _listener = addAbortListener(signal, () => {
    const cut = () => late.abort(signal.reason);
    if (msLeft() > LAST_CHUNK_MS) cut();
    else timer = setTimeout(cut, LAST_CHUNK_MS);
  });
  try {
    return await send({ ...options, signal: AbortSignal.any([abort, late.signal]) });
  } finally {
    clearTimeout(timer);
  }
}
