/** The body of a request, read at most once and counted on the way. */
export type IncomingBody = {
  /** Bytes read up to now. */
  readonly bytes: number;
  /** The connection broke before the body was whole. */
  readonly broken: boolean;
  chunks(): AsyncGenerator<Uint8Array, void, undefined>;
  /** Reads on to the end and throws it away, so that the connection can carry the next request. */
  drain(): Promise<void>;
};

export function incomingBody(request: Request): IncomingBody {
  let bytes = 0;
  let broken = false;

  async function* chunks(): AsyncGenerator<Uint8Array, void, undefined> {
    if (request.body === null || request.bodyUsed) return;
    try {
      for await (const chunk of request.body) {
        bytes += chunk.byteLength;
        yield chunk;
      }
    } catch (error) {
      // Bun fails the stream when the client goes away; a reader that throws does not come through here.
      broken = true;
      throw error;
    }
  }

  return {
    get bytes() {
      return bytes;
    },
    get broken() {
      return broken;
    },
    chunks,
    async drain() {
      for await (const _ of chunks()) {
      }
    },
  };
}

/** The exact length that the client announced; absent with chunked transfer encoding and without a body. */
export function declaredLength(request: Request): number | undefined {
  const header = request.headers.get("content-length");
  return header === null ? undefined : Number(header);
}

export function isChunked(request: Request): boolean {
  return request.headers.has("transfer-encoding");
}
