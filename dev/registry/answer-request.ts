import { internalError } from "./answers.ts";
import { declaredLength, type IncomingBody, incomingBody } from "./incoming-body.ts";
import { type RequestKind, type Route, routeOf } from "./route.ts";

export type RequestRecord = {
  method: string;
  path: string;
  /** With its question mark; empty without a query. */
  query: string;
  kind: RequestKind;
  /** 0 when no answer was sent: the connection broke, or was dropped on purpose. */
  status: number;
  contentLength?: number;
  contentRange?: string;
  transferEncoding?: string;
  /** Bytes of the body that the registry read. */
  bodyBytes: number;
  /** The client's port: requests with the same one shared a connection. */
  connection: string;
  hadAuthorization: boolean;
};

/**
 * A fault to inject, decided before the registry looks at the request: an answer of your own, or "drop" to break
 * the connection without one. `undefined` lets the request pass.
 *
 * `answer` carries the request out. With it the request can be done and its answer lost: `await answer()`, then
 * return "drop". To break a connection in the middle of a body, read a part of `request.body` and return "drop".
 */
export type Intercept = (
  request: Request,
  kind: RequestKind,
  answer: () => Promise<Response>,
) => Intercepted | Promise<Intercepted>;

type Intercepted = Response | "drop" | undefined;

export type RequestHandling = {
  connection: string;
  intercept: Intercept | undefined;
  answer: (route: Route, body: IncomingBody) => Promise<Response>;
  record: (record: RequestRecord) => void;
};

/** Runs one request past the intercept and the registry, and records how it ended. Never throws. */
export async function answerRequest(request: Request, handling: RequestHandling): Promise<Response> {
  const url = new URL(request.url);
  const route = routeOf(request.method, url.pathname);
  const body = incomingBody(request);
  const outcome = await runIntercepted(request, route, body, handling);
  handling.record({
    method: request.method,
    path: url.pathname,
    query: url.search,
    kind: route.kind,
    status: outcome === "drop" ? 0 : outcome.status,
    ...bodyHeaders(request),
    bodyBytes: body.bytes,
    connection: handling.connection,
    hadAuthorization: request.headers.has("authorization"),
  });
  return outcome === "drop" ? brokenResponse() : outcome;
}

async function runIntercepted(
  request: Request,
  route: Route,
  body: IncomingBody,
  { intercept, answer }: RequestHandling,
): Promise<Response | "drop"> {
  let answered: Promise<Response> | undefined;
  const answerOnce = () => {
    answered ??= answer(route, body);
    return answered;
  };
  try {
    return (await intercept?.(request, route.kind, answerOnce)) ?? (await answerOnce());
  } catch (error) {
    if (body.broken) return "drop";
    // A bug of this registry or of the intercept: it must not pass for one of the contract's 500s.
    console.error(`${request.method} ${request.url}:`, error);
    return internalError();
  }
}

function bodyHeaders(request: Request): Partial<RequestRecord> {
  const contentLength = declaredLength(request);
  const contentRange = request.headers.get("content-range");
  const transferEncoding = request.headers.get("transfer-encoding");
  return {
    ...(contentLength !== undefined && { contentLength }),
    ...(contentRange !== null && { contentRange }),
    ...(transferEncoding !== null && { transferEncoding }),
  };
}

/** Bun resets the connection when a body fails before its first byte; a failure without a reason goes unprinted. */
function brokenResponse(): Response {
  return new Response(new ReadableStream({ start: (controller) => controller.error(undefined) }));
}
