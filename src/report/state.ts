import type { BlobId, EventOf, PushEvent } from "./events.ts";
import { type Flow, measureFlow } from "./flow.ts";

type BlobEvent = EventOf<"blob">;

/** The current work on a blob, or on the source as a whole. */
type Work =
  | { readonly kind: "planned" | "ready" | "awaiting-compress" | "awaiting-upload" }
  | {
      readonly kind: "compressing" | "verifying" | EventOf<"reading">["how"];
      readonly doneBytes: number;
      readonly totalBytes: number | undefined;
    }
  | {
      readonly kind: "uploading";
      readonly doneBytes: number;
      readonly keptBytes: number;
      readonly chunkBytes: number;
      readonly totalBytes: number | undefined;
    }
  | { readonly kind: "done"; readonly event: Extract<BlobEvent, { state: "done" }> };

/** A wait before another try. */
export type Retrying = Pick<EventOf<"retry">, "attempt" | "retries" | "reason" | "error"> & {
  readonly untilMs: number;
};

/** A blob, or a source that is read. */
export type Row = {
  readonly id: BlobId;
  title: string;
  /** The uploaded size. */
  sizeBytes: number | undefined;
  /** The size in the source of a layer that has to be compressed. */
  sourceBytes: number | undefined;
  work: Work;
  /** When this kind of work began. */
  sinceMs: number;
  /** The bytes that an earlier push had sent when the upload began. */
  sinceBytes: number;
  /** The duration of its upload. */
  uploadMs: number;
  retrying: Retrying | undefined;
};

/** The state of a push. Events change it. */
export type PushState = {
  readonly rows: Map<BlobId, Row>;
  readonly flow: Flow;
  source: EventOf<"source"> | undefined;
  registry: EventOf<"registry"> | undefined;
  /** The push knows of every blob whether the registry has it. */
  isSettled: boolean;
  /** A retry that concerns no single blob. */
  retrying: Retrying | undefined;
  stopping: EventOf<"notice"> | undefined;
  pushed: EventOf<"pushed"> | undefined;
  /** The sizes of compressed layers before and after. */
  rawBytes: number;
  packedBytes: number;
  /** The compressed bytes, those of a running layer included, and the time that they took. */
  compressedBytes: number;
  compressingMs: number;
  compressedAtMs: number;
  /** The largest chunk size of uploads that take several chunks. */
  chunkBytes: number;
  /** The targets that are published. */
  publishedCount: number;
};

export function newState(): PushState {
  return {
    rows: new Map(),
    flow: measureFlow(),
    source: undefined,
    registry: undefined,
    isSettled: false,
    retrying: undefined,
    stopping: undefined,
    pushed: undefined,
    rawBytes: 0,
    packedBytes: 0,
    compressedBytes: 0,
    compressingMs: 0,
    compressedAtMs: 0,
    chunkBytes: 0,
    publishedCount: 0,
  };
}

/** Applies an event to the state. @param nowMs the time of a monotonic clock */
export function applyEvent(state: PushState, event: PushEvent, nowMs: number): void {
  if (event.type !== "retry" && event.type !== "request") state.retrying = undefined;
  switch (event.type) {
    case "registry":
      if (!event.isSource) state.registry = event;
      return;
    case "source":
      state.source = event;
      return;
    case "reading": {
      const { how, name, doneBytes, totalBytes } = event;
      if (event.isDone) state.rows.delete(how);
      else begin(rowOf(state, how, name, nowMs), { kind: how, doneBytes, totalBytes }, nowMs);
      return;
    }
    case "planned":
      // Another target begins, with rows of its own.
      if (state.pushed !== undefined) state.rows.clear();
      state.pushed = undefined;
      state.isSettled = false;
      for (const { id, title, sizeBytes, sourceBytes } of event.blobs) {
        const row = rowOf(state, id, title, nowMs);
        row.title = title;
        row.sizeBytes ??= sizeBytes;
        row.sourceBytes ??= sourceBytes;
      }
      return;
    case "settled":
      state.isSettled = true;
      return;
    case "blob":
      applyBlob(state, event, nowMs);
      return;
    case "retry": {
      const { attempt, retries, reason, error, delayMs, id } = event;
      const retrying = { attempt, retries, reason, error, untilMs: nowMs + delayMs };
      const row = id === undefined ? undefined : state.rows.get(id);
      if (row === undefined) state.retrying = retrying;
      else row.retrying = retrying;
      if (id !== undefined && row?.work.kind === "uploading") {
        // The bytes that were on their way are lost.
        const { keptBytes } = row.work;
        row.work = { ...row.work, doneBytes: keptBytes };
        state.flow.moved(id, keptBytes, keptBytes, nowMs);
      }
      return;
    }
    case "notice":
      if (event.code === "STOPPING") state.stopping = event;
      return;
    case "pushed":
      state.pushed = event;
      state.publishedCount++;
      return;
    case "request":
      return;
  }
}

function applyBlob(state: PushState, event: BlobEvent, nowMs: number): void {
  const { id, title } = event;
  if (event.state === "unneeded") {
    state.rows.delete(id);
    return;
  }
  if (event.state === "identified") {
    const sent = state.rows.get(event.as);
    if (sent !== undefined) sent.title = title;
    if (id !== event.as) state.rows.delete(id);
    return;
  }
  const row = rowOf(state, id, title, nowMs);
  row.title = title;
  row.retrying = undefined;
  switch (event.state) {
    case "awaiting-compress":
    case "awaiting-upload":
      begin(row, { kind: event.state }, nowMs);
      return;
    case "compressing":
      countCompressed(state, row, event.doneBytes, nowMs);
      begin(row, { kind: event.state, doneBytes: event.doneBytes, totalBytes: event.totalBytes }, nowMs);
      return;
    case "verifying":
      begin(row, { kind: event.state, doneBytes: event.doneBytes, totalBytes: event.totalBytes }, nowMs);
      return;
    case "ready":
      if (event.how === "compressed") {
        countCompressed(state, row, event.totalBytes, nowMs);
        state.rawBytes += event.totalBytes;
        state.packedBytes += event.sizeBytes;
      }
      row.sizeBytes = event.sizeBytes;
      begin(row, { kind: "ready" }, nowMs);
      return;
    case "uploading": {
      const { doneBytes, keptBytes, chunkBytes, totalBytes } = event;
      row.sizeBytes = totalBytes;
      if (chunkBytes < (totalBytes ?? 0)) state.chunkBytes = Math.max(state.chunkBytes, chunkBytes);
      begin(row, { kind: "uploading", doneBytes, keptBytes, chunkBytes, totalBytes }, nowMs);
      state.flow.moved(id, doneBytes, keptBytes, nowMs);
      return;
    }
    case "done":
      row.sizeBytes = event.sizeBytes ?? row.sizeBytes;
      row.uploadMs = row.work.kind === "uploading" ? nowMs - row.sinceMs : 0;
      state.flow.ended(id, event.how === "sent" ? event.sizeBytes : undefined, nowMs);
      begin(row, { kind: "done", event }, nowMs);
      return;
  }
}

function rowOf({ rows }: PushState, id: BlobId, title: string, nowMs: number): Row {
  const known = rows.get(id);
  if (known !== undefined) return known;
  const row: Row = {
    id,
    title,
    sizeBytes: undefined,
    sourceBytes: undefined,
    work: { kind: "planned" },
    sinceMs: nowMs,
    sinceBytes: 0,
    uploadMs: 0,
    retrying: undefined,
  };
  rows.set(id, row);
  return row;
}

/** Sets a row's work. Its time starts when the kind of work changes or an upload starts over. */
function begin(row: Row, work: Work, nowMs: number): void {
  const startsOver = work.kind === "uploading" && work.keptBytes < row.sinceBytes;
  if (row.work.kind !== work.kind || startsOver) {
    row.sinceMs = nowMs;
    row.sinceBytes = work.kind === "uploading" ? work.keptBytes : 0;
  }
  row.work = work;
}

/** Counts the bytes compressed since the last event. Layers are compressed one at a time. */
function countCompressed(state: PushState, { work }: Row, doneBytes: number, nowMs: number): void {
  if (work.kind === "compressing") {
    state.compressedBytes += doneBytes - work.doneBytes;
    state.compressingMs += nowMs - state.compressedAtMs;
  }
  state.compressedAtMs = nowMs;
}
