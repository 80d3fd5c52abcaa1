import { connect, type Socket } from "node:net";

/** One end of a TCP connection, read piece by piece: what nobody asks for stays with its sender. */
export type Connection = {
  /** The next bytes. Undefined once the other side has ended or the connection is gone. */
  read(): Promise<Buffer | undefined>;
  /** Gives bytes back, to be read next. */
  unread(bytes: Buffer): void;
  /** Writes, and waits where the other side is slower. Where the connection is gone, the bytes are, too. */
  write(bytes: Uint8Array): Promise<void>;
  /** Sends what was written and says that no more will come; reading goes on. */
  end(): void;
  /** Sends what was written, then closes in the decent way. */
  close(): void;
  /** Breaks the connection with a real RST. */
  reset(): void;
  /** Settles once the connection is closed or broken. */
  readonly gone: Promise<void>;
};

/** Takes over a socket that was opened with `allowHalfOpen`, before any of its data was read. */
export function connectionOf(socket: Socket): Connection {
  const pieces: Buffer[] = [];
  let hasEnded = false;
  let isGone = false;
  const waiting = new Set<() => void>();
  const wake = () => {
    for (const resume of [...waiting]) resume();
  };
  /** Waits for anything to happen; whoever waits looks for itself whether it was what it waited for. */
  const change = () =>
    new Promise<void>((resolve) => {
      const resume = () => {
        waiting.delete(resume);
        resolve();
      };
      waiting.add(resume);
    });

  socket.setNoDelay(true);
  socket.on("data", (piece: Buffer) => {
    pieces.push(piece);
    socket.pause();
    wake();
  });
  socket.on("end", () => {
    hasEnded = true;
    wake();
  });
  // What went wrong does not matter here: a broken connection is one that is gone.
  socket.on("error", () => {});
  const gone = new Promise<void>((resolve) => {
    socket.on("close", () => {
      isGone = true;
      wake();
      resolve();
    });
  });
  socket.on("drain", wake);

  return {
    async read() {
      for (;;) {
        const piece = pieces.shift();
        if (piece !== undefined) return piece;
        if (hasEnded || isGone) return undefined;
        socket.resume();
        await change();
      }
    },
    unread: (bytes) => void (bytes.length > 0 && pieces.unshift(bytes)),
    async write(bytes) {
      if (isGone || socket.destroyed || socket.write(bytes)) return;
      while (!isGone && socket.writableNeedDrain) await change();
    },
    end: () => void socket.end(),
    close: () => socket.destroySoon(),
    reset: () => void socket.resetAndDestroy(),
    gone,
  };
}

/** Opens a connection. Undefined where nobody listens. */
export function openConnection(host: string): Promise<Connection | undefined> {
  const { hostname, port } = new URL(`http://${host}`);
  const { promise, resolve } = Promise.withResolvers<Connection | undefined>();
  const socket = connect({ host: hostname, port: Number(port || 80), allowHalfOpen: true });
  const connection = connectionOf(socket);
  socket.once("connect", () => resolve(connection));
  socket.once("error", () => resolve(undefined));
  return promise;
}
