import type { PushState, Row } from "./state.ts";

/** A layer that was not compressed yet is taken to become this much smaller, until others were. */
const USUAL_RATIO = 0.5;

/** Returns the rows as they are shown: of an upload, what has arrived counts, and not what its connection took. */
export function shownRows({ rows, flow }: PushState, nowMs: number): Row[] {
  return [...rows.values()].map((row) => {
    const { work, id } = row;
    if (work.kind !== "uploading") return row;
    return { ...row, work: { ...work, doneBytes: flow.arrivedBytes(id, nowMs) ?? work.doneBytes } };
  });
}

/** The sums over all blobs. */
export type Totals = {
  /** Bytes of all blobs that the registry lacked, and how many of them are there or on their way. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** The sizes of some layers are guessed: they are not compressed yet. */
  readonly isEstimated: boolean;
  /** The size of some blobs is unknown, and not in the total. */
  readonly isPartial: boolean;
  /** Bytes that the registry had, or mounted. */
  readonly reusedBytes: number;
  /** The blobs that go up. */
  readonly toSend: number;
  readonly bytesPerSecond: number | undefined;
  /** Undefined while it cannot be told. */
  readonly leftMs: number | undefined;
};

export function totalsOf(state: PushState, nowMs: number): Totals {
  const ratio = state.rawBytes > 0 ? state.packedBytes / state.rawBytes : USUAL_RATIO;
  let totalBytes = 0;
  let doneBytes = 0;
  let reusedBytes = 0;
  let toSend = 0;
  let rawBytes = 0;
  let isEstimated = false;
  let isPartial = false;
  for (const { work, sizeBytes, sourceBytes } of shownRows(state, nowMs)) {
    if (work.kind === "unpack" || work.kind === "read" || work.kind === "save") {
      // More layers may come.
      isPartial = true;
      continue;
    }
    if (work.kind === "done" && work.event.how !== "sent") {
      reusedBytes += sizeBytes ?? 0;
      continue;
    }
    toSend++;
    const raw = work.kind === "compressing" ? (work.totalBytes ?? sourceBytes) : sourceBytes;
    if (work.kind === "done") doneBytes += sizeBytes ?? 0;
    else if (work.kind === "uploading") doneBytes += work.doneBytes;
    else if (sizeBytes === undefined && raw !== undefined)
      rawBytes += raw - (work.kind === "compressing" ? work.doneBytes : 0);
    if (sizeBytes !== undefined) totalBytes += sizeBytes;
    else if (raw !== undefined) {
      totalBytes += raw * ratio;
      isEstimated = true;
    } else isPartial = true;
  }
  const bytesPerSecond = state.flow.bytesPerSecond(nowMs);
  const sendMs = bytesPerSecond && ((totalBytes - doneBytes) / bytesPerSecond) * 1000;
  const packMs = state.compressingMs > 0 ? (rawBytes / state.compressedBytes) * state.compressingMs : 0;
  return {
    totalBytes,
    doneBytes,
    isEstimated,
    isPartial,
    reusedBytes,
    toSend,
    bytesPerSecond,
    leftMs: sendMs === undefined || isPartial ? undefined : Math.max(sendMs, packMs),
  };
}
