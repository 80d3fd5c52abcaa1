/** Measures how fast all uploads of a push go together. */
export type Flow = {
  /** Notes where an upload stands. The first note begins it. */
  moved(id: string, doneBytes: number, keptBytes: number, nowMs: number): void;
  /** Ends an upload, whose size the registry has confirmed. Undefined: it is over without. */
  ended(id: string, sizeBytes: number | undefined, nowMs: number): void;
  /** Undefined until it is known. */
  bytesPerSecond(nowMs: number): number | undefined;
};

type Upload = {
  doneBytes: number;
  /** The bytes that the registry has confirmed, and the share that the upload had by then. */
  keptBytes: number;
  share: number;
};

/** Older measurements count half as much after each of these, so that a link that changes shows. */
const HALF_LIFE_MS = 15_000;

/** An earlier rate is mostly the burst that fills the buffers of the connection. */
const LEAST_MS = 500;

/**
 * Bytes that were handed to a connection may still wait in its buffers, so the bytes of a running chunk say little, and
 * those of confirmed chunks are certain. Uploads that run side by side share the link: of the time that passes, each is
 * charged its part, and the rate is the bytes of confirmed chunks by the time that they were charged. The running chunks
 * count in as they are.
 */
export function measureFlow(): Flow {
  const uploads = new Map<string, Upload>();
  /** What an upload that ran all the time would have been charged, in milliseconds. */
  let share = 0;
  let atMs = 0;
  let keptBytes = 0;
  let keptMs = 0;

  function pass(nowMs: number): void {
    const ms = Math.max(0, nowMs - atMs);
    if (uploads.size > 0) share += ms / uploads.size;
    atMs = Math.max(atMs, nowMs);
  }

  function confirm(upload: Upload, bytes: number): void {
    const ms = share - upload.share;
    const weight = 2 ** (-ms / HALF_LIFE_MS);
    keptBytes = keptBytes * weight + bytes - upload.keptBytes;
    keptMs = keptMs * weight + ms;
    upload.keptBytes = bytes;
    upload.share = share;
  }

  return {
    moved(id, doneBytes, kept, nowMs) {
      pass(nowMs);
      const upload = uploads.get(id);
      if (upload === undefined) {
        uploads.set(id, { doneBytes, keptBytes: kept, share });
        return;
      }
      upload.doneBytes = doneBytes;
      if (kept > upload.keptBytes) confirm(upload, kept);
      // The registry has lost bytes: their time was spent in vain.
      else if (kept < upload.keptBytes) upload.keptBytes = kept;
    },
    ended(id, sizeBytes, nowMs) {
      pass(nowMs);
      const upload = uploads.get(id);
      if (upload !== undefined && sizeBytes !== undefined) confirm(upload, sizeBytes);
      uploads.delete(id);
    },
    bytesPerSecond(nowMs) {
      pass(nowMs);
      let bytes = keptBytes;
      let ms = keptMs;
      for (const upload of uploads.values()) {
        bytes += upload.doneBytes - upload.keptBytes;
        ms += share - upload.share;
      }
      return ms < LEAST_MS || bytes <= 0 ? undefined : (bytes / ms) * 1000;
    },
  };
}
