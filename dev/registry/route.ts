export type RequestKind =
  | "ping"
  | "head-blob"
  | "get-blob"
  | "start-upload"
  | "patch"
  | "close-upload"
  | "upload-status"
  | "cancel-upload"
  | "get-manifest"
  | "head-manifest"
  | "put-manifest"
  | "other";

export type Route = {
  kind: RequestKind;
  /** As it stands in the path: never percent-decoded, neither does the real registry. */
  repository: string;
  /** Digest, tag or upload UUID; empty where the kind has none. */
  target: string;
};

type Pattern = { path: RegExp; kinds: Partial<Record<string, RequestKind>> };

const PATTERNS: readonly Pattern[] = [
  { path: /^\/v2\/?$/, kinds: { GET: "ping", HEAD: "ping" } },
  { path: /^\/v2\/(.+)\/blobs\/uploads\/?$/, kinds: { POST: "start-upload" } },
  {
    path: /^\/v2\/(.+)\/blobs\/uploads\/([^/]+)$/,
    kinds: { PATCH: "patch", PUT: "close-upload", GET: "upload-status", DELETE: "cancel-upload" },
  },
  {
    path: /^\/v2\/(.+)\/blobs\/([^/]+)$/,
    kinds: { HEAD: "head-blob", GET: "get-blob" },
  },
  {
    path: /^\/v2\/(.+)\/manifests\/([^/]+)$/,
    kinds: { HEAD: "head-manifest", GET: "get-manifest", PUT: "put-manifest" },
  },
];

export function routeOf(method: string, path: string): Route {
  for (const pattern of PATTERNS) {
    const match = pattern.path.exec(path);
    if (match === null) continue;
    const kind = pattern.kinds[method];
    if (kind === undefined) break;
    const [, repository = "", target = ""] = match;
    return { kind, repository, target };
  }
  return { kind: "other", repository: "", target: "" };
}

const COMPONENT = "[a-z0-9]+(?:(?:\\.|_|__|-+)[a-z0-9]+)*";
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[a-zA-Z0-9_][a-zA-Z0-9._-]{0,127}$/;

/** https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests */
export function isRepositoryName(name: string): boolean {
  return REPOSITORY.test(name);
}

export function isTag(reference: string): boolean {
  return TAG.test(reference);
}
