import type { Connection } from "./connection.ts";
import { type HttpHead, readThrough } from "./http-head.ts";

/** How a receiver knows where a body ends: https://www.rfc-editor.org/rfc/rfc9112#section-6.3 */
export type BodyFraming =
  | { readonly type: "length"; readonly bytes: number }
  | { readonly type: "chunked" }
  | { readonly type: "until-end" };

/** The connection ended in the middle of a body. */
export class BodyBroken extends Error {}

export function requestFraming({ headers }: HttpHead): BodyFraming {
  if (headers.has("transfer-encoding")) return { type: "chunked" };
  return { type: "length", bytes: Number(headers.get("content-length") ?? 0) };
}

export function answerFraming({ headers, firstLine: [, status] }: HttpHead, method: string): BodyFraming {
  if (method === "HEAD" || /^(?:1..|204|304)$/.test(status)) return { type: "length", bytes: 0 };
  if (headers.has("transfer-encoding")) return { type: "chunked" };
  const length = headers.get("content-length");
  return length === null ? { type: "until-end" } : { type: "length", bytes: Number(length) };
}

/** The bytes of a body as they travel, the marks of a chunked one included. Throws `BodyBroken`. */
export async function* readBody(connection: Connection, framing: BodyFraming): AsyncGenerator<Buffer> {
  if (framing.type === "length") yield* readExactly(connection, framing.bytes);
  else if (framing.type === "chunked") yield* readChunks(connection);
  else {
    for (let piece = await connection.read(); piece !== undefined; piece = await connection.read())
      yield piece;
  }
}

async function* readExactly(connection: Connection, bytes: number): AsyncGenerator<Buffer> {
  for (let left = bytes; left > 0; ) {
    const piece = await connection.read();
    if (piece === undefined) throw new BodyBroken();
    connection.unread(piece.subarray(left));
    const wanted = piece.subarray(0, left);
    left -= wanted.length;
    yield wanted;
  }
}

async function* readChunks(connection: Connection): AsyncGenerator<Buffer> {
  for (;;) {
    const line = await readLine(connection);
    yield line;
    const bytes = Number.parseInt(line.toString("latin1"), 16);
    if (bytes === 0) break;
    yield* readExactly(connection, bytes + "\r\n".length);
  }
  for (let isTrailer = true; isTrailer; ) {
    const line = await readLine(connection);
    isTrailer = line.length > "\r\n".length;
    yield line;
  }
}

async function readLine(connection: Connection): Promise<Buffer> {
  const line = await readThrough(connection, "\r\n");
  if (line === undefined) throw new BodyBroken();
  return line;
}
