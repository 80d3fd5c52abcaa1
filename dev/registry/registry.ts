import { answerRequest, type Intercept, type RequestRecord } from "./answer-request.ts";
import { type Credentials, refuseStranger } from "./basic-auth.ts";
import { refuseLargeBody } from "./cloudflare-edge.ts";
import type { RegistryContext } from "./context.ts";
import { openDisk } from "./disk.ts";
import { dispatch } from "./dispatch.ts";
import type { IncomingBody } from "./incoming-body.ts";
import { createKeyedLock } from "./keyed-lock.ts";
import { R2_MAX_PARTS } from "./part-rules.ts";
import { PROFILES, type ProfileName } from "./profiles.ts";
import type { Route } from "./route.ts";
import { refuseWithoutToken, type TokenAuthority } from "./token-auth.ts";
import { forgetUploads } from "./upload-state.ts";

export type StrictRegistryOptions = {
  /** Where blobs, uploads and manifests live. A registry started on it later goes on from there. */
  directory: string;
  /** @default 0, any free one */
  port?: number;
  /** @default "127.0.0.1" */
  hostname?: string;
  /** Without them nobody is asked who they are. */
  credentials?: Credentials;
  /** Tokens are wanted, which this one gives away. */
  tokens?: TokenAuthority | undefined;
  /** Announced as OCI-Chunk-Min-Length. @default 5242880 */
  minChunkBytes?: number;
  /** Announced as OCI-Chunk-Max-Length. @default 100000000 */
  maxChunkBytes?: number;
  /** A request with a larger body gets Cloudflare's 413 page. @default maxChunkBytes */
  maxBodyBytes?: number;
  /** Parts of one upload. @default 10000 */
  maxParts?: number;
  /** Whether to send the OCI-Chunk-* headers. @default true */
  chunkHints?: boolean;
  /** Keeps uploads as another registry does. @default serverless-registry's */
  profile?: ProfileName | undefined;
  tls?: { key: string; cert: string };
  /** Called with every finished request, right before its answer leaves. */
  onRequest?: (record: RequestRecord) => void;
  intercept?: Intercept;
};

export type StrictRegistry = AsyncDisposable & {
  /** `http://127.0.0.1:<port>` */
  url: string;
  /** `127.0.0.1:<port>` */
  host: string;
  /** Every finished request, in the order in which they finished. */
  requests: RequestRecord[];
  /** Breaks what is still under way and waits until nothing more is written. */
  stop(): Promise<void>;
};

/**
 * A registry that keeps the contract of Cloudflare's serverless-registry, quirks included, and refuses what that one
 * refuses. Shares no code with the client: it is the witness.
 */
export async function startStrictRegistry(options: StrictRegistryOptions): Promise<StrictRegistry> {
  const { hostname = "127.0.0.1", maxChunkBytes = 100_000_000 } = options;
  const maxBodyBytes = options.maxBodyBytes ?? maxChunkBytes;
  const context: RegistryContext = {
    disk: await openDisk(options.directory),
    limits: {
      minChunkBytes: options.minChunkBytes ?? 5_242_880,
      maxChunkBytes,
      maxParts: options.maxParts ?? R2_MAX_PARTS,
    },
    chunkHints: options.chunkHints ?? true,
    profile: options.profile && PROFILES[options.profile],
    lock: createKeyedLock(),
  };
  if (context.profile?.forgetful) await forgetUploads(context.disk);
  const requests: RequestRecord[] = [];
  const underWay = new Set<Promise<unknown>>();

  /** The way of a request: Cloudflare's edge, the credentials, the Worker. */
  async function answer(request: Request, route: Route, body: IncomingBody): Promise<Response> {
    const tooLarge = refuseLargeBody(request, maxBodyBytes);
    if (tooLarge !== undefined) return tooLarge;
    const response =
      refuseStranger(request, options.credentials) ??
      refuseWithoutToken(request, route, options.tokens) ??
      (await dispatch(context, route, request, body));
    await body.drain();
    return response;
  }

  function track<T>(work: Promise<T>): Promise<T> {
    const forget = () => underWay.delete(work);
    work.then(forget, forget);
    underWay.add(work);
    return work;
  }

  const server = Bun.serve({
    hostname,
    port: options.port ?? 0,
    ...(options.tls && { tls: options.tls }),
    // Bun's own limits would answer in the registry's place.
    maxRequestBodySize: Number.MAX_SAFE_INTEGER,
    idleTimeout: 0,
    development: false,
    fetch: (request, server) =>
      answerRequest(request, {
        connection: `${server.requestIP(request)?.port ?? ""}`,
        intercept: options.intercept,
        answer: (route, body) => track(answer(request, route, body)),
        record: (record) => {
          requests.push(record);
          options.onRequest?.(record);
        },
      }),
  });

  const host = `${hostname}:${server.port}`;
  async function stop(): Promise<void> {
    await server.stop(true);
    await Promise.allSettled(underWay);
  }
  return {
    url: `${options.tls ? "https" : "http"}://${host}`,
    host,
    requests,
    stop,
    [Symbol.asyncDispose]: stop,
  };
}
