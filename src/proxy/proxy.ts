import { messageOf, PushError, statusOf } from "../errors.ts";
import { type Digest, isDigest } from "../oci/digest.ts";
import { pullScope } from "../registry/auth/scope.ts";
import { blobUrl, type Call, listUrl } from "../registry/registry.ts";
import { slots } from "../registry/slots.ts";
import { reportActivity } from "./activity.ts";
import { refuseStranger } from "./admit.ts";
import { isImpatient, refuse, refuseFor, respond } from "./answers.ts";
import { mount, readBlob } from "./blobs.ts";
import { noteCommits } from "./commits.ts";
import { type Client, type Context, callOf, type ProxyOptions, repositoryAt } from "./context.ts";
import { readList } from "./lists.ts";
import { deleteManifest, readManifest, writeManifest } from "./manifests.ts";
import { readReferrers } from "./referrers.ts";
import { relayDelete } from "./relay.ts";
import { type Route, routeOf } from "./route.ts";
import {
  addBytes,
  beginSession,
  closeSession,
  created,
  dropSession,
  progressOf,
  takeWhole,
} from "./sessions.ts";
import { openSpool, removeAll } from "./spool.ts";

/** A registry on this machine that passes all requests on to another one, blobs in chunks. Disposal ends it. */
export type ProxyServer = AsyncDisposable & {
  readonly port: number;
  /** Tells whether a client sends a blob, or a blob is on its way to the registry. */
  isBusy(): boolean;
  /** Waits until the registry has every blob. @returns the failures that no client was told */
  settled(): Promise<PushError[]>;
  /** Summarizes the answers to clients. */
  told(): Told;
};

type Told = {
  /** Whether a client has asked for a repository that is served. */
  readonly isAsked: boolean;
  /** The last failure other than a 404. */
  readonly refusal: unknown;
};

/** The scope for a list of repositories: https://distribution.github.io/distribution/spec/auth/scope/ */
const CATALOG_SCOPE = "registry:catalog:*";

/** Starts to listen on 127.0.0.1. Throws `USAGE` for an unavailable port. */
export function startProxy(given: ProxyOptions): ProxyServer {
  const ending = new AbortController();
  const context: Context = {
    answerMs: 25_000,
    idleMs: 120_000,
    mountFrom: [],
    isRefused: async () => false,
    ...given,
    abort: given.abort && AbortSignal.any([given.abort, ending.signal]),
    signal: AbortSignal.any([given.signal, ending.signal]),
    spool: openSpool(given.spoolDirectory, given.spoolLimitBytes),
    sessions: new Map(),
    commits: noteCommits(),
    activity: reportActivity(given.report),
    noting: slots(1),
    told: { isAsked: false, refusal: undefined },
  };
  const server = listen(given.port, (...request) => answer(context, ...request));
  const port = server.port ?? given.port;
  return {
    port,
    isBusy: () => context.sessions.size > 0 || context.commits.isWaiting(),
    settled: () => context.commits.settled(),
    told: () => ({ ...context.told }),
    async [Symbol.asyncDispose]() {
      await server.stop(true);
      ending.abort(new PushError("INTERRUPTED", "The proxy has ended."));
      for (const session of context.sessions.values()) dropSession(context, session);
      await context.commits.settled();
      await removeAll(context.spool);
    },
  };
}

function listen(port: number, answer: (request: Request, client: Client) => Promise<Response>) {
  try {
    return Bun.serve({
      hostname: "127.0.0.1",
      port,
      // A layer may have any size, and a client may take its time.
      maxRequestBodySize: Number.MAX_SAFE_INTEGER,
      idleTimeout: 0,
      // In development mode, answers show code. Without it, Bun lets several processes listen on one port.
      development: false,
      reusePort: false,
      fetch: (request, server) =>
        answer(request, { fromPort: server.requestIP(request)?.port ?? 0, toPort: server.port ?? port }),
    });
  } catch (cause) {
    const isTaken = cause instanceof Error && "code" in cause && cause.code === "EADDRINUSE";
    const reason = isTaken ? "another program listens there" : messageOf(cause);
    throw new PushError("USAGE", `Cannot listen on port ${port}: ${reason}.`, {
      hint: "Name another one: --port 5051",
      cause,
    });
  }
}

async function answer(context: Context, request: Request, client: Client): Promise<Response> {
  const refusal = refuseStranger(request, client.toPort);
  if (refusal !== undefined) return refusal;
  if (await context.isRefused(request, client)) return refuse(403, "DENIED", "Not allowed.");
  const url = new URL(request.url);
  const route = routeOf(url.pathname);
  if (route === undefined && request.method === "PUT" && /^\/v2\/.+\/manifests\/[^/]+$/.test(url.pathname))
    return refuse(400, "MANIFEST_INVALID", "A manifest is published under a tag or its digest.");
  if (route === undefined) return refuse(404, "UNSUPPORTED", "The distribution API has no such address.");
  try {
    return await dispatch(context, route, url, request);
  } catch (error) {
    // The client does not read this answer.
    if (request.signal.aborted) return refuse(499, "UNKNOWN", "The client has disconnected.");
    if (statusOf(error) !== 404) context.told.refusal = error;
    return refuseFor(error);
  }
}

async function dispatch(context: Context, route: Route, url: URL, request: Request): Promise<Response> {
  const isRead = request.method === "GET" || request.method === "HEAD";
  if (context.readOnly && !isRead) return refuse(403, "DENIED", "This proxy is read-only.");
  if (route.kind === "ping" && isRead) return respond(200, { "content-type": "application/json" }, "{}");
  if (route.kind === "catalog" && isRead) {
    const at = repositoryAt(context, "");
    const list = new URL(`${context.registry.origin}/v2/_catalog`);
    const isShown = (name: string) => context.repositoryOf(name) !== undefined;
    return inTime(context, request, (call) => readList(at, list, url, [CATALOG_SCOPE], call, isShown));
  }
  if (!("name" in route)) return refuseMethod(request);
  const { name } = route;
  const repository = context.repositoryOf(name);
  if (repository === undefined) return refuse(403, "DENIED", `This proxy does not serve "${name}".`);
  context.told.isAsked = true;
  const at = repositoryAt(context, repository);
  const { method } = request;
  switch (route.kind) {
    case "tags":
      if (!isRead) break;
      return inTime(context, request, (call) =>
        readList(at, listUrl(at, "tags/list"), url, [pullScope(repository)], call),
      );
    case "referrers": {
      const { digest } = route;
      if (!isRead) break;
      if (!isDigest(digest)) return refuseDigest(digest);
      return inTime(context, request, (call) => readReferrers(at, digest, url, call));
    }
    case "blob":
      if (isRead)
        return inTime(context, request, (call) => readBlob(context, at, route.digest, request, call));
      if (method !== "DELETE") break;
      return inTime(context, request, (call) => relayDelete(at, blobUrl(at, route.digest as Digest), call));
    case "manifest": {
      const { reference } = route;
      if (isRead) return inTime(context, request, (call) => readManifest(at, reference, request, call));
      if (method === "PUT") return writeManifest(context, name, at, reference, request);
      if (method !== "DELETE") break;
      return inTime(context, request, (call) => deleteManifest(context, at, reference, call));
    }
    case "uploads":
      if (method === "POST") return begin(context, route.name, repository, url, request);
      break;
    case "upload": {
      const session = context.sessions.get(route.id);
      if (session === undefined || session.name !== name)
        return refuse(404, "BLOB_UPLOAD_UNKNOWN", "There is no such upload, or it was cancelled.");
      if (isRead) return progressOf(session, 204);
      if (method === "PATCH") return addBytes(context, session, request);
      if (method === "DELETE") {
        dropSession(context, session);
        return respond(204);
      }
      const digest = url.searchParams.get("digest") ?? "";
      if (method !== "PUT") break;
      if (!isDigest(digest)) return refuseDigest(digest);
      return closeSession(context, session, digest, request);
    }
  }
  return refuseMethod(request);
}

function refuseMethod({ method }: Request): Response {
  return refuse(405, "UNSUPPORTED", `The distribution API has no ${method} for this address.`);
}

/** POST: begins an upload, takes a whole blob, or mounts one. */
async function begin(
  context: Context,
  name: string,
  repository: string,
  url: URL,
  request: Request,
): Promise<Response> {
  const at = repositoryAt(context, repository);
  const digest = url.searchParams.get("digest");
  if (digest !== null && !isDigest(digest)) return refuseDigest(digest);
  if (digest !== null) return takeWhole(context, name, at, digest, request);
  const mounted = url.searchParams.has("mount")
    ? await inTime(context, request, (call) => mount(context, at, url, call), context.answerMs)
    : undefined;
  return mounted === undefined ? beginSession(context, name, at) : created(name, { digest: mounted });
}

function refuseDigest(digest: string): Response {
  return refuse(400, "DIGEST_INVALID", `"${digest.slice(0, 100)}" is not a sha256 digest.`);
}

/**
 * Multiplies `answerMs` for patient clients: most wait 150 s. serverless-registry under wrangler answers no request while it
 * assembles a blob, and skopeo and Docker's classic store fail at the first 503.
 */
const PATIENCE = 6;

/** Limits a request to the registry to the time that the client waits. The body of the answer may take longer. */
async function inTime<T>(
  context: Context,
  request: Request,
  work: (call: Call) => Promise<T>,
  ms = context.answerMs * (isImpatient(request) ? 1 : PATIENCE),
): Promise<T> {
  const late = new AbortController();
  const { onRetry, ...call } = callOf(context);
  let reason: unknown = new PushError("STALLED", `${context.registry.origin} has not answered in time.`);
  const timer = setTimeout(() => late.abort(reason), ms);
  try {
    return await work({
      signal: AbortSignal.any([call.signal, late.signal, request.signal]),
      onRetry(retry) {
        reason = retry.error;
        onRetry(retry);
      },
    });
  } finally {
    clearTimeout(timer);
  }
}
