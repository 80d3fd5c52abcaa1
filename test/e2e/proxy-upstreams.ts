/** Registries that a proxy stands in front of, each with a limit for the body that direct pushes of layers exceed. */
import { join } from "node:path";
import { answer, reset, stall } from "../../dev/faults/fault.ts";
import { seededFaults } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { startNginx } from "../support/nginx.ts";
import { requireParts } from "../support/parts.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** A running registry. */
type Upstream = AsyncDisposable & {
  /** What `chunkpush proxy` is told. */
  readonly registry: string;
  readonly env: Readonly<Record<string, string>>;
  /** `127.0.0.1:<port>` of the registry itself, with nothing before it. */
  readonly direct: string;
};

export type UpstreamRole = { readonly title: string; start(): Promise<Upstream> };

const MAX_CHUNK_BYTES = 6_000_000;
const CLOSE_MS = 60_000;
const FAULT_SHARE = 0.2;
const SEED = 13;

/** Everybody's. */
export const UPSTREAMS: readonly UpstreamRole[] = [
  { title: "the strict registry", start: () => strict() },
  ...(requireParts("nginx", "docker-registry", "openssl")
    ? [{ title: "docker-registry behind nginx with a limit of 1 MiB", start: behindNginx }]
    : []),
];

/** Registries that take their time. */
export const SLOW_UPSTREAMS: readonly UpstreamRole[] = [
  { title: `a registry of which ${FAULT_SHARE * 100} % of the requests meet a fault`, start: faulty },
  { title: `a registry that takes ${CLOSE_MS / 1000} s to close an upload`, start: () => strict(slowClose) },
];

const slowClose = async (_: Request, kind: string, close: () => Promise<Response>) => {
  if (kind !== "close-upload") return undefined;
  const response = await close();
  await Bun.sleep(CLOSE_MS);
  return response;
};

async function strict(intercept?: typeof slowClose): Promise<Upstream> {
  await using resources = new AsyncDisposableStack();
  const { host, url } = await strictRegistry(resources, intercept);
  return upstream(resources.move(), url, host);
}

async function strictRegistry(
  resources: AsyncDisposableStack,
  intercept?: typeof slowClose,
): Promise<StrictRegistry> {
  const folder = resources.use(await temporaryFolder());
  const directory = join(folder.path, "registry");
  const options = { directory, maxChunkBytes: MAX_CHUNK_BYTES, ...(intercept && { intercept }) };
  return resources.use(await startStrictRegistry(options));
}

async function faulty(): Promise<Upstream> {
  await using resources = new AsyncDisposableStack();
  const { host } = await strictRegistry(resources);
  const faults = [answer(500), answer(503), answer(503, "unread"), stall()];
  const resets = (["before", "middle", "after"] as const).map((moment) => reset(moment));
  const plan = seededFaults(SEED, FAULT_SHARE, () => [...faults, ...resets]);
  const proxy = resources.use(await startFaultProxy({ upstreamHost: () => host, plan }));
  return upstream(resources.move(), proxy.url, host, { CHUNKPUSH_STALL_TIMEOUT: "2" });
}

async function behindNginx(): Promise<Upstream> {
  await using resources = new AsyncDisposableStack();
  const registry = resources.use(await startDockerRegistry());
  const nginx = resources.use(await startNginx({ registry: registry.host, maxBody: "1m" }));
  const env = { NODE_EXTRA_CA_CERTS: nginx.authority };
  return upstream(resources.move(), `https://${nginx.host}`, registry.host, env);
}

function upstream(owned: AsyncDisposableStack, registry: string, direct: string, env = {}): Upstream {
  return { registry, direct, env, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}
