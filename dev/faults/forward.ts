import type { Connection } from "./connection.ts";
import { type Aftermath, bodyOf, breakOff, type Exchange, openUpstream } from "./exchange.ts";
import { answerFraming, BodyBroken, readBody, requestFraming } from "./http-body.ts";
import { readHead, saysClose } from "./http-head.ts";

type Pieces = AsyncGenerator<Buffer>;

type Forwarding = {
  /** Changes the pace of what passes, in both directions. */
  readonly pace?: (pieces: Pieces) => Pieces;
  /** Called when the registry has done what was asked; its answer goes nowhere, and the connection breaks. */
  readonly loseAnswer?: () => Promise<void>;
};

/**
 * Sends a request on, and its answer back, as they come and unchanged: the `Host` of the client is what a registry
 * makes its absolute `Location` of. Every request has an upstream connection of its own, so that none can be lost on
 * one that a restarted registry has closed.
 */
export async function forward(exchange: Exchange, forwarding: Forwarding = {}): Promise<Aftermath> {
  const upstream = await openUpstream(exchange);
  if (upstream === undefined) return breakOff(exchange);
  exchange.client.gone.then(() => upstream.close());
  // Both at once: a server may answer before it has the whole body, and hang up.
  const sending = sendRequest(exchange, upstream, forwarding);
  const aftermath = await relayAnswer(exchange, upstream, forwarding);
  await forwarding.loseAnswer?.();
  if (aftermath === "gone") breakOff(exchange);
  upstream.close();
  return (await sending) ? aftermath : "gone";
}

/** Sends half of a body on, then breaks the upstream connection. Without a body nothing is sent. */
export async function forwardHalf(exchange: Exchange): Promise<void> {
  const framing = requestFraming(exchange.head);
  const half = framing.type === "length" ? Math.floor(framing.bytes / 2) : 1;
  const upstream = half > 0 ? await openUpstream(exchange) : undefined;
  if (upstream === undefined) return;
  await upstream.write(exchange.head.bytes);
  let sentBytes = 0;
  for await (const piece of bodyOf(exchange)) {
    await upstream.write(piece.subarray(0, half - sentBytes));
    sentBytes += piece.length;
    if (sentBytes >= half) break;
  }
  // Not reset: the kernel would throw away what the registry has not read yet.
  upstream.close();
}

/** @returns whether the client sent all that it had announced */
async function sendRequest(
  exchange: Exchange,
  upstream: Connection,
  { pace = (pieces) => pieces }: Forwarding,
): Promise<boolean> {
  try {
    await upstream.write(exchange.head.bytes);
    // Where upstream is gone, this throws away what still comes: the client has its answer then, and needs to end.
    for await (const piece of pace(bodyOf(exchange))) await upstream.write(piece);
    return true;
  } catch (error) {
    if (!(error instanceof BodyBroken)) throw error;
    upstream.close();
    return false;
  }
}

async function relayAnswer(
  { client, record }: Exchange,
  upstream: Connection,
  { pace = (pieces) => pieces, loseAnswer }: Forwarding,
): Promise<Aftermath> {
  const deliver = async (bytes: Buffer) => {
    if (loseAnswer === undefined) await client.write(bytes);
  };
  for (;;) {
    const head = await readHead(upstream);
    if (head === undefined) return "gone";
    await deliver(head.bytes);
    const status = Number(head.firstLine[1]);
    // 100 Continue and its like come before the answer.
    if (status < 200) continue;
    const framing = answerFraming(head, record.method);
    try {
      for await (const piece of pace(readBody(upstream, framing))) await deliver(piece);
    } catch (error) {
      if (error instanceof BodyBroken) return "gone";
      throw error;
    }
    if (loseAnswer !== undefined) return "gone";
    record.status = status;
    return framing.type === "until-end" || saysClose(head) ? "linger" : "keep";
  }
}
