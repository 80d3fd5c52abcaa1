/** The steps of a push, as a network sees them. */
export type RequestKind =
  | "token"
  | "ping"
  | "head-blob"
  | "start-upload"
  | "first-patch"
  | "middle-patch"
  | "last-patch"
  | "closing-put"
  | "whole-put"
  | "upload-status"
  | "put-manifest"
  | "other";

type Seen = {
  readonly method: string;
  /** Without the query. */
  readonly path: string;
  readonly headers: Headers;
};

/**
 * Tells the kinds of requests apart.
 *
 * @param blobBytes the sizes of the blobs that are pushed: only they tell a last PATCH from one in the middle
 */
export function kindOf({ method, path, headers }: Seen, blobBytes: readonly number[]): RequestKind {
  if (!path.startsWith("/v2/")) return /\btoken$/.test(path) ? "token" : "other";
  if (path === "/v2/") return "ping";
  if (/\/blobs\/uploads\/?$/.test(path)) return method === "POST" ? "start-upload" : "other";
  if (/\/blobs\/uploads\/[^/]+$/.test(path)) return uploadKind(method, headers, blobBytes);
  if (/\/blobs\/[^/]+$/.test(path)) return method === "HEAD" ? "head-blob" : "other";
  if (/\/manifests\/[^/]+$/.test(path)) return method === "PUT" ? "put-manifest" : "other";
  return "other";
}

function uploadKind(method: string, headers: Headers, blobBytes: readonly number[]): RequestKind {
  if (method === "GET") return "upload-status";
  if (method === "PUT") return Number(headers.get("content-length") ?? 0) > 0 ? "whole-put" : "closing-put";
  if (method !== "PATCH") return "other";
  // A chunk of one byte comes without a range: a first one is never so small.
  const [, start = "", end = ""] = /^(\d+)-(\d+)$/.exec(headers.get("content-range") ?? "") ?? [];
  if (start === "0") return "first-patch";
  return end === "" || blobBytes.includes(Number(end) + 1) ? "last-patch" : "middle-patch";
}
