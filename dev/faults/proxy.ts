import { createServer, type Server } from "node:net";
import { type Connection, connectionOf } from "./connection.ts";
import type { Aftermath, Exchange, ProxiedRequest } from "./exchange.ts";
import { forward } from "./forward.ts";
import { BodyBroken } from "./http-body.ts";
import { type HttpHead, readHead, saysClose } from "./http-head.ts";
import { inject } from "./inject.ts";
import { noFaults, type Plan } from "./plan.ts";
import { kindOf, type RequestKind } from "./request-kind.ts";

export type FaultProxyOptions = {
  /**
   * `host:port` of the registry, asked for every request: one that restarts may be elsewhere afterwards, and tokens
   * come from another server.
   */
  readonly upstreamHost: (kind: RequestKind) => string;
  /** @default nothing happens to anything */
  readonly plan?: Plan;
  /** The sizes of the blobs that are pushed, which tell a last PATCH from one in the middle. */
  readonly blobBytes?: readonly number[];
};

export type FaultProxy = AsyncDisposable & {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  readonly url: string;
  /** In the order in which they came. */
  readonly requests: readonly ProxiedRequest[];
};

/** Forwards HTTP/1.1 to a registry, streaming, and lets requests meet the faults of a plan. */
export async function startFaultProxy(options: FaultProxyOptions): Promise<FaultProxy> {
  const { upstreamHost, plan = noFaults, blobBytes = [] } = options;
  const requests: Exchange["record"][] = [];
  const connections = new Set<Connection>();
  const working = new Set<Promise<void>>();

  function recordOf(head: HttpHead, isElsewhere: boolean): Exchange["record"] {
    const { headers } = head;
    const [method, target] = head.firstLine;
    const kind = kindOf({ method, path: target.replace(/\?.*$/s, ""), headers }, blobBytes);
    const occurrence = requests.filter((each) => each.kind === kind).length + 1;
    const number = requests.length + 1;
    const seen = { kind, number, occurrence, method, target, headers, isElsewhere };
    return { ...seen, fault: undefined, status: 0, bodyBytes: 0 };
  }

  async function serve(client: Connection, otherOrigin: string): Promise<void> {
    for (let aftermath: Aftermath = "keep"; aftermath === "keep"; ) {
      const head = await readHead(client);
      if (head === undefined) return client.close();
      const record = recordOf(head, otherOrigin === first.origin);
      requests.push(record);
      const fault = plan(record);
      record.fault = fault?.name;
      const exchange = {
        client,
        head,
        record,
        connections,
        upstreamHost: upstreamHost(record.kind),
        otherOrigin,
      };
      aftermath = fault === undefined ? await forward(exchange) : await inject(exchange, fault);
      if (aftermath === "keep" && saysClose(head)) aftermath = "linger";
      if (aftermath === "linger") {
        client.end();
        while ((await client.read()) !== undefined);
      }
    }
    client.close();
  }

  async function listen(otherOrigin: () => string): Promise<Server & { readonly origin: string }> {
    const server = createServer({ allowHalfOpen: true }, (socket) => {
      const client = connectionOf(socket);
      connections.add(client);
      const work = serve(client, otherOrigin())
        .catch((error: unknown) => {
          client.reset();
          // A client that went away is the client's matter. All else is a mistake of the proxy, or of a plan.
          if (!(error instanceof BodyBroken)) console.error("The fault proxy failed:", error);
        })
        .finally(() => {
          connections.delete(client);
          working.delete(work);
        });
      working.add(work);
    });
    const { promise, resolve } = Promise.withResolvers<void>();
    server.listen(0, "127.0.0.1", resolve);
    await promise;
    const address = server.address();
    const port = typeof address === "object" ? address?.port : undefined;
    return Object.assign(server, { origin: `http://127.0.0.1:${port}` });
  }

  const first = await listen(() => second.origin);
  const second = await listen(() => first.origin);
  return {
    host: new URL(first.origin).host,
    url: first.origin,
    requests,
    async [Symbol.asyncDispose]() {
      for (const server of [first, second]) server.close();
      for (const connection of connections) connection.reset();
      await Promise.all(working);
    },
  };
}
