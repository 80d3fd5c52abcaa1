import { connect } from "node:net";

/** What came back over a connection until it ended. */
export type RawReply = {
  readonly text: string;
  /** `ECONNRESET` if the other side broke the connection; undefined if it ended it. */
  readonly error: string | undefined;
};

/** Sends bytes below HTTP, and reads until the other side ends or breaks the connection, or `isWhole` is true. */
export function talk(
  host: string,
  text: string,
  isWhole: (answer: string) => boolean = () => false,
): Promise<RawReply> {
  const { hostname, port } = new URL(`http://${host}`);
  const { promise, resolve } = Promise.withResolvers<RawReply>();
  const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(text, "latin1"));
  let received = "";
  let error: string | undefined;
  socket.on("data", (piece: Buffer) => {
    received += piece.toString("latin1");
    if (isWhole(received)) socket.destroy();
  });
  socket.on("end", () => socket.end());
  socket.on("error", (cause: NodeJS.ErrnoException) => {
    error = cause.code;
  });
  socket.on("close", () => resolve({ text: received, error }));
  return promise;
}

/** Sends a request as it is. @returns the answer, with its head alone unless `isWhole` waits for more */
export async function rawRequest(
  host: string,
  text: string,
  isWhole = (answer: string) => answer.includes("\r\n\r\n"),
): Promise<string> {
  return (await talk(host, text, isWhole)).text;
}

/** Sends a request without a body whose path no client would normalize. @returns the status */
export async function rawStatus(host: string, path: string, method = "GET"): Promise<number> {
  const answer = await rawRequest(host, `${method} ${path} HTTP/1.1\r\nHost: ${host}\r\n\r\n`);
  return Number(/^HTTP\/1\.1 (\d{3})/.exec(answer)?.[1]);
}
