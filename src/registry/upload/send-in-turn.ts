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
  /** Ends a request with a chunk at once, while `signal` lets it end if it can. @default `signal` ends it at once */
  readonly abort?: AbortSignal | undefined;
  /**
   * Called with how much of the blob is at the server or on its way, with how much the server has confirmed, and with
   * the current chunk size. Goes back where the server has lost bytes.
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
 * Waits for its turn among all blobs, and sends a request whose body, if any, begins at an offset of the blob. Times
 * the body, and reports how the request went: an overloaded server gets fewer at a time.
 */
export async function sendInTurn<T>(
  { at, blob, upload, turn, options }: Sender,
  offset: number,
  bodyBytes: number,
  send: (onPiece: OnPiece, call: Call) => Promise<T>,
): Promise<T> {
  const { link, sending } = at.registry;
  if (options.chunkBytes === undefined) fitWidth(at.registry, upload.limits);
  // All others may hold their slots until the link is measured.
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
 * Sends a request that a stop does not cut: some servers drop a chunk that was cut, and distribution 2.8 drops the whole
 * upload. Cuts it at once if it would take too long.
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
