import { type Descriptor, MEDIA_TYPE } from "../../src/oci/descriptor.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { Outgoing } from "../../src/registry/upload/outgoing.ts";

/** A blob whose bytes come while it is sent. */
export type GrowingBlob = Outgoing & {
  add(bytes: Uint8Array<ArrayBuffer>): void;
  /** Ends the blob. Returns what it has become. */
  finish(): Descriptor;
  /** Breaks it off. */
  fail(error: Error): void;
};

export function growingBlob(): GrowingBlob {
  const end = Promise.withResolvers<Descriptor>();
  end.promise.catch(() => undefined);
  let content = new Blob([]);
  let isOver = false;
  let changed = Promise.withResolvers<void>();
  const notify = () => {
    changed.resolve();
    changed = Promise.withResolvers();
  };
  const pieces: Uint8Array[] = [];
  return {
    end: end.promise,
    get grows() {
      return !isOver;
    },
    async slice(from, to, least = to) {
      while (content.size < least && !isOver) await Promise.race([changed.promise, end.promise]);
      return content.slice(from, to);
    },
    add(bytes) {
      pieces.push(bytes);
      content = new Blob([content, bytes]);
      notify();
    },
    finish() {
      const digest = digestOf(Buffer.concat(pieces));
      const descriptor = { mediaType: MEDIA_TYPE.layer.gzip, digest, size: content.size };
      isOver = true;
      end.resolve(descriptor);
      return descriptor;
    },
    fail: (error) => end.reject(error),
  };
}
