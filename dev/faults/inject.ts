import { setTimeout as sleep } from "node:timers/promises";
import { type Aftermath, breakOff, drainBody, type Exchange } from "./exchange.ts";
import type { BodyFate, Fault } from "./fault.ts";
import { forward, forwardHalf } from "./forward.ts";

/** Lets a request meet its fault. Throws `BodyBroken` where the client goes away meanwhile. */
export async function inject(exchange: Exchange, fault: Fault): Promise<Aftermath> {
  switch (fault.type) {
    case "reset":
      if (fault.moment === "after") return forward(exchange, { loseAnswer: async () => fault.act?.() });
      if (fault.moment === "middle") await forwardHalf(exchange);
      await fault.act?.();
      return breakOff(exchange);
    case "answer":
      return respond(
        exchange,
        fault.status,
        fault.headers(exchange.head),
        fault.text(exchange.head),
        fault.body,
      );
    case "redirect": {
      const location = `${exchange.otherOrigin}${exchange.record.target}`;
      return respond(exchange, fault.status, { location }, "", fault.body);
    }
    case "stall":
      await drainBody(exchange);
      while ((await exchange.client.read()) !== undefined);
      return breakOff(exchange);
    case "pass":
      fault.act();
      return forward(exchange);
    case "link":
      await sleep(fault.link.latencyMs);
      return forward(exchange, { pace: fault.link.carry });
    case "throttle":
      return forward(exchange, { pace: (pieces) => paced(pieces, fault.bytesPerSecond) });
  }
}

async function respond(
  exchange: Exchange,
  status: number,
  headers: Readonly<Record<string, string>>,
  text: string,
  body: BodyFate,
): Promise<Aftermath> {
  const { client, record } = exchange;
  if (body === "read") await drainBody(exchange);
  const lines = Object.entries({
    ...(text !== "" && { "content-type": "text/html" }),
    "content-length": `${Buffer.byteLength(text)}`,
    ...(body !== "read" && { connection: "close" }),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`);
  const content = record.method === "HEAD" ? "" : text;
  await client.write(Buffer.from(`HTTP/1.1 ${status} Fault\r\n${lines.join("")}\r\n${content}`));
  record.status = status;
  if (body === "cut") return breakOff(exchange);
  if (body === "read") return "keep";
  client.end();
  await drainBody(exchange);
  return "linger";
}

/** Pieces that are small enough for the pace not to come in bursts. */
const PIECES_PER_SECOND = 20;

async function* paced(pieces: AsyncGenerator<Buffer>, bytesPerSecond: number): AsyncGenerator<Buffer> {
  const step = Math.max(1, Math.floor(bytesPerSecond / PIECES_PER_SECOND));
  for await (const piece of pieces) {
    for (let offset = 0; offset < piece.length; offset += step) {
      const part = piece.subarray(offset, offset + step);
      await sleep((part.length / bytesPerSecond) * 1000);
      yield part;
    }
  }
}
