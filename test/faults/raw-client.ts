import { connect } from "node:net";

/** What came back over a connection until it ended. */
export type RawReply = {
  readonly text: string;
  /** `ECONNRESET` where the other side broke it; undefined where it ended it. */
  readonly error: string | undefined;
};

/** Sends bytes below HTTP, and reads until the other side ends or breaks the connection. */
export function talk(host: string, text: string): Promise<RawReply> {
  const { hostname, port } = new URL(`http://${host}`);
  const { promise, resolve } = Promise.withResolvers<RawReply>();
  const socket = connect({ host: hostname, port: Number(port) }, () => socket.write(text));
  let received = "";
  let error: string | undefined;
  socket.on("data", (piece: Buffer) => {
    received += piece.toString("latin1");
  });
  socket.on("end", () => socket.end());
  socket.on("error", (cause: NodeJS.ErrnoException) => {
    error = cause.code;
  });
  socket.on("close", () => resolve({ text: received, error }));
  return promise;
}
