import { type Connection, openConnection } from "./connection.ts";
import { readBody, requestFraming } from "./http-body.ts";
import type { HttpHead } from "./http-head.ts";
import type { PlannedRequest } from "./plan.ts";

/** What the proxy saw of a request. */
export type ProxiedRequest = PlannedRequest & {
  readonly method: string;
  /** With the query. */
  readonly target: string;
  readonly headers: Headers;
  /** It came to the proxy's other origin, to which redirects lead. */
  readonly isElsewhere: boolean;
  /** The name of the fault that it met. */
  readonly fault: string | undefined;
  /** What the client was answered; 0 where it was not. */
  readonly status: number;
  /** Bytes of the body that came from the client. */
  readonly bodyBytes: number;
};

/** A request under way. */
export type Exchange = {
  readonly client: Connection;
  readonly head: HttpHead;
  readonly record: { -readonly [Key in keyof ProxiedRequest]: ProxiedRequest[Key] };
  /** Every connection that is open, to be broken when the proxy stops. */
  readonly connections: Set<Connection>;
  /** `host:port` of the registry. */
  readonly upstreamHost: string;
  /** Where the proxy listens, too. */
  readonly otherOrigin: string;
};

/** What the client's connection is good for after an exchange. */
export type Aftermath =
  | "keep"
  /** The answer said that it is the last one: the client is the one to close. */
  | "linger"
  | "gone";

/** The request's body as it comes in, counted. To be read once. */
export async function* bodyOf({ client, head, record }: Exchange): AsyncGenerator<Buffer> {
  for await (const piece of readBody(client, requestFraming(head))) {
    record.bodyBytes += piece.length;
    yield piece;
  }
}

/** Reads the body to its end, or what is left of it, and throws it away. */
export async function drainBody(exchange: Exchange): Promise<void> {
  for await (const _ of bodyOf(exchange)) {
  }
}

/** Opens a connection to the registry. Undefined where nobody listens. */
export async function openUpstream({ upstreamHost, connections }: Exchange): Promise<Connection | undefined> {
  const upstream = await openConnection(upstreamHost);
  if (upstream === undefined) return undefined;
  connections.add(upstream);
  upstream.gone.then(() => connections.delete(upstream));
  return upstream;
}

/** Breaks the client's connection. */
export function breakOff({ client }: Exchange): Aftermath {
  client.reset();
  return "gone";
}
