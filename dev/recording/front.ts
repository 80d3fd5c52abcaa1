import { createServer } from "node:http";
import { type AddressInfo, connect, type Server, type Socket } from "node:net";
import { createServer as createTlsServer } from "node:tls";
import { createAuthority } from "../../test/support/certificates.ts";

/** What makes a registry of this machine answer to a name of the internet: an HTTPS proxy, and an authority to trust. */
export type Front = AsyncDisposable & {
  readonly env: { readonly HTTPS_PROXY: string; readonly SSL_CERT_FILE: string };
};

/** @param upstream `host:port`, where plain HTTP is spoken */
export async function startFront(folder: string, name: string, upstream: string): Promise<Front> {
  await Bun.write(`${folder}/made`, "");
  const authority = await createAuthority(folder);
  const secure = await listen(
    createTlsServer(await authority.issue({ altName: `DNS:${name}` }), (socket) => join(socket, upstream)),
  );
  const proxy = createServer().on("connect", (_, client: Socket) => {
    client.write("HTTP/1.1 200 Connection established\r\n\r\n");
    join(client, secure.host);
  });
  const front = await listen(proxy);
  return {
    env: { HTTPS_PROXY: `http://${front.host}`, SSL_CERT_FILE: authority.path },
    async [Symbol.asyncDispose]() {
      front.close();
      secure.close();
    },
  };
}

function join(client: Socket, host: string): void {
  const [hostname = "", port] = host.split(":");
  const server = connect(Number(port), hostname);
  client.pipe(server).pipe(client);
  for (const [one, other] of [
    [client, server],
    [server, client],
  ] as const)
    one.on("error", () => other.destroy()).on("close", () => other.destroy());
}

async function listen(server: Server): Promise<{ readonly host: string; close(): void }> {
  const { promise, resolve } = Promise.withResolvers<void>();
  server.listen(0, "127.0.0.1", resolve);
  await promise;
  const { port } = server.address() as AddressInfo;
  return { host: `127.0.0.1:${port}`, close: () => server.close() };
}
