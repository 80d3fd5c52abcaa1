/** A server that answers as the test says, on a free port of this machine. For what no strict registry would do. */
export type TestServer = AsyncDisposable & { readonly url: string; readonly host: string };

export function startHttpServer(answer: (request: Request) => Response | Promise<Response>): TestServer {
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    idleTimeout: 0,
    development: false,
    fetch: answer,
  });
  const host = `127.0.0.1:${server.port}`;
  return { url: `http://${host}`, host, [Symbol.asyncDispose]: () => server.stop(true) };
}
