import type { PushState, Row } from "./state.ts";

/** The assumed ratio of compression until a layer has been compressed. */
const USUAL_RATIO = 0.5;

/** Returns the rows to show. An upload's bytes are those that have arrived, not those that its connection took. */
export function shownRows({ rows, flow }: PushState, nowMs: number): Row[] {
  return [...rows.values()].map((row) => {
    const { work, id } = row;
    if (work.kind !== "uploading") return row;
    return { ...row, work: { ...work, doneBytes: flow.arrivedBytes(id, nowMs) ?? work.doneBytes } };
  });
}

/** The sums over all blobs. */
export type Totals = {
  /** The bytes of all blobs that the registry lacked, and those of them that have arrived. */
  readonly totalBytes: number;
  readonly doneBytes: number;
  /** Some layers are not compressed yet, and their sizes are estimates. */
  readonly isEstimated: boolean;
  /** The total lacks blobs of unknown size. */
  readonly isPartial: boolean;
  /** The bytes that the registry already had, or mounted. */
  readonly reusedBytes: number;
  /** The number of blobs to upload. */
  readonly toSend: number;
  readonly bytesPerSecond: number | undefined;
  /** Undefined while it is unknown. */
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
