/** Measures how fast all uploads of a push go together. */
export type Flow = {
  /** Notes where an upload stands. The first note begins it. */
  moved(id: string, doneBytes: number, keptBytes: number, nowMs: number): void;
  /** Ends an upload. @param sizeBytes what the registry has confirmed, if it has */
  ended(id: string, sizeBytes: number | undefined, nowMs: number): void;
  /** Estimates how much of an upload has arrived. Undefined for one that does not run. */
  arrivedBytes(id: string, nowMs: number): number | undefined;
  /** Undefined until it is known. */
  bytesPerSecond(nowMs: number): number | undefined;
};

type Upload = {
  /** Bytes that were handed to the connection. */
  doneBytes: number;
  /** The bytes that the registry has confirmed. */
  keptBytes: number;
  /** Since when bytes are under way, and how much time was charged for them. */
  sinceMs: number;
  chargedMs: number;
  /** What the connection took at once, which fills its buffers. */
  burstBytes: number;
};

/** Older measurements count half as much after each of these, so that a link that changes shows. */
const HALF_LIFE_MS = 15_000;

const BURST_MS = 250;

/** The time of a smaller chunk is mostly that of round trips. */
const LEAST_CHUNK_BYTES = 16 * 1024;

/** Fewer bytes, or fewer in less time, tell no rate. */
const LEAST_BYTES = 256 * 1024;
const SURE_BYTES = 1_000_000;
const LEAST_MS = 2_000;

/**
 * Bytes that a connection has taken may still wait in its buffers, often a whole chunk. Those of confirmed chunks are
 * certain. Uploads that run side by side share the link: each is charged its part of the time, and the rate is the bytes
 * of confirmed chunks by the time that they were charged. A running chunk has what this rate gives, and at most what was
 * handed over. Before there is a rate, what a connection takes after its first burst leaves it at the same pace.
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
      // What the registry has lost, was sent in vain.
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
