/** Measures how fast all uploads of a push go together. */
export type Flow = {
  /** Records the state of an upload. The first record begins it. */
  moved(id: string, doneBytes: number, keptBytes: number, nowMs: number): void;
  /** Ends an upload. @param sizeBytes the confirmed size; undefined if the upload failed */
  ended(id: string, sizeBytes: number | undefined, nowMs: number): void;
  /** Estimates how much of an upload has arrived. Undefined if it is not running. */
  arrivedBytes(id: string, nowMs: number): number | undefined;
  /** Undefined until it is known. */
  bytesPerSecond(nowMs: number): number | undefined;
};

type Upload = {
  /** Bytes that were handed to the connection. */
  doneBytes: number;
  /** The bytes that the registry has confirmed. */
  keptBytes: number;
  /** The start of the running chunk, and the time that it was charged. */
  sinceMs: number;
  chargedMs: number;
  /** The bytes that the connection took at once, into its buffers. */
  burstBytes: number;
};

/** A measurement loses half of its weight in this time, so that the rate follows a link that changes. */
const HALF_LIFE_MS = 15_000;

/** Bytes that a connection takes within this time fill its buffers. */
const BURST_MS = 250;

/** Smaller chunks are not measured: they spend most of their time on round trips. */
const LEAST_CHUNK_BYTES = 16 * 1024;

/** The rate is known from `SURE_BYTES` on, or from `LEAST_BYTES` on after `LEAST_MS`. */
const LEAST_BYTES = 256 * 1024;
const SURE_BYTES = 1_000_000;
const LEAST_MS = 2_000;

/**
 * Measures uploads by their confirmed chunks: bytes that a connection has taken may still wait in its buffers, often a
 * whole chunk. Uploads that run side by side share the link, so each is charged its part of the time. The rate is the
 * confirmed bytes divided by their charged time. The estimate for a running chunk follows this rate, up to the bytes that
 * the connection has taken. Without a rate, it is those that the connection has taken after its first burst.
 */
export function measureFlow(): Flow {
  const uploads = new Map<string, Upload>();
  let atMs = 0;
  let confirmedBytes = 0;
  let confirmedMs = 0;

  function pass(nowMs: number): void {
    // Between two chunks, an upload may wait for others.
    const running = [...uploads.values()].filter(({ doneBytes, keptBytes }) => doneBytes > keptBytes);
    for (const upload of running) upload.chargedMs += Math.max(0, nowMs - atMs) / running.length;
    atMs = Math.max(atMs, nowMs);
  }

  function confirm(upload: Upload, bytes: number): void {
    if (bytes - upload.keptBytes < LEAST_CHUNK_BYTES || upload.chargedMs === 0) return;
    const weight = 2 ** (-upload.chargedMs / HALF_LIFE_MS);
    confirmedBytes = confirmedBytes * weight + bytes - upload.keptBytes;
    confirmedMs = confirmedMs * weight + upload.chargedMs;
  }

  function runningBytes({ doneBytes, keptBytes, burstBytes, chargedMs }: Upload): number {
    const handedBytes = doneBytes - keptBytes;
    return confirmedBytes >= LEAST_BYTES
      ? Math.min(handedBytes, (confirmedBytes / confirmedMs) * chargedMs)
      : handedBytes - burstBytes;
  }

  return {
    moved(id, doneBytes, keptBytes, nowMs) {
      pass(nowMs);
      const upload = uploads.get(id);
      if (upload === undefined) {
        const burstBytes = doneBytes - keptBytes;
        uploads.set(id, { doneBytes, keptBytes, sinceMs: nowMs, chargedMs: 0, burstBytes });
        return;
      }
      if (keptBytes > upload.keptBytes) confirm(upload, keptBytes);
      const isStart = keptBytes !== upload.keptBytes || upload.doneBytes <= keptBytes;
      Object.assign(upload, { doneBytes, keptBytes });
      // A new chunk, or one that is sent again, is charged from now on.
      if (isStart) Object.assign(upload, { sinceMs: nowMs, chargedMs: 0 });
      if (nowMs - upload.sinceMs <= BURST_MS) upload.burstBytes = doneBytes - keptBytes;
    },
    ended(id, sizeBytes, nowMs) {
      pass(nowMs);
      const upload = uploads.get(id);
      if (upload !== undefined && sizeBytes !== undefined) confirm(upload, sizeBytes);
      uploads.delete(id);
    },
    arrivedBytes(id, nowMs) {
      pass(nowMs);
      const upload = uploads.get(id);
      return upload && upload.keptBytes + runningBytes(upload);
    },
    bytesPerSecond(nowMs) {
      pass(nowMs);
      let bytes = confirmedBytes;
      let ms = confirmedMs;
      for (const upload of uploads.values()) {
        bytes += runningBytes(upload);
        ms += upload.chargedMs;
      }
      const isKnown = bytes >= (ms >= LEAST_MS ? LEAST_BYTES : SURE_BYTES);
      return isKnown ? (bytes / ms) * 1000 : undefined;
    },
  };
}
