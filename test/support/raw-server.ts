import type { TestServer } from "./http-server.ts";

/**
 * A server below HTTP: it sends what the test says to whoever has sent something, and no more. Undefined: it
 * accepts, and is silent.
 */
export function startRawServer(reply: string | undefined): TestServer {
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket) {
        if (reply !== undefined) socket.end(reply);
      },
    },
  });
  const host = `127.0.0.1:${server.port}`;
  return {
    url: `http://${host}`,
    host,
    [Symbol.asyncDispose]: async () => server.stop(true),
  };
}
