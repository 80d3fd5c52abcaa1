import type { Connection } from "./connection.ts";

/** The first lines of a request or an answer, up to the empty one. */
export type HttpHead = {
  /** As it came, to be sent on unchanged. */
  readonly bytes: Buffer;
  /** The three parts of the first line: method, target, version; or version, status, reason. */
  readonly firstLine: readonly [string, string, string];
  readonly headers: Headers;
};

/** No honest head is longer. */
const MAX_HEAD_BYTES = 64 * 1024;

/** Reads a head. Undefined where the connection ends before one is whole. */
export async function readHead(connection: Connection): Promise<HttpHead | undefined> {
  const bytes = await readThrough(connection, "\r\n\r\n");
  return bytes && parseHead(bytes);
}

/** Whether this is the last message of its connection. */
export function saysClose({ headers }: HttpHead): boolean {
  return /\bclose\b/i.test(headers.get("connection") ?? "");
}

/** Reads up to and with a delimiter; what comes after it stays to be read. */
export async function readThrough(connection: Connection, delimiter: string): Promise<Buffer | undefined> {
  let bytes = Buffer.alloc(0);
  for (;;) {
    const piece = await connection.read();
    if (piece === undefined) return undefined;
    bytes = Buffer.concat([bytes, piece]);
    const at = bytes.indexOf(delimiter);
    if (at >= 0) {
      connection.unread(bytes.subarray(at + delimiter.length));
      return bytes.subarray(0, at + delimiter.length);
    }
    if (bytes.length > MAX_HEAD_BYTES)
      throw new Error(`No end in sight: ${bytes.toString("latin1", 0, 200)}`);
  }
}

function parseHead(bytes: Buffer): HttpHead {
  const [first = "", ...lines] = bytes.toString("latin1").trimEnd().split("\r\n");
  const [a = "", b = "", ...rest] = first.split(" ");
  const headers = new Headers();
  for (const line of lines) {
    const colon = line.indexOf(":");
    headers.append(line.slice(0, colon), line.slice(colon + 1).trim());
  }
  return { bytes, firstLine: [a, b, rest.join(" ")], headers };
}
