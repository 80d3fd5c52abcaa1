import { isDigest } from "../oci/digest.ts";
import { isRepository, isTag } from "../oci/reference.ts";

/** The address of a request in the distribution API. */
export type Route =
  | { readonly kind: "ping" }
  | { readonly kind: "catalog" }
  | ({ readonly name: string } & (
      | { readonly kind: "tags" | "uploads" }
      | { readonly kind: "upload"; readonly id: string }
      | { readonly kind: "blob" | "referrers"; readonly digest: string }
      | { readonly kind: "manifest"; readonly reference: string }
    ));

/** Digests of any algorithm, whose values are shorter than 200 characters: https://github.com/opencontainers/image-spec/blob/v1.1.1/descriptor.md#digests */
const DIGEST = /^[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]{1,200}$/;

/**
 * Reads the path of a request. Undefined for a path that the API does not have.
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#endpoints
 */
export function routeOf(path: string): Route | undefined {
  if (path === "/v2/" || path === "/v2") return { kind: "ping" };
  if (path === "/v2/_catalog") return { kind: "catalog" };
  const [, name = "", rest = ""] = /^\/v2\/(.+?)\/((?:blobs|manifests|referrers|tags)\/.*)$/.exec(path) ?? [];
  const route = routeIn(name, rest);
  if (route !== undefined && isRepository(name)) return route;
  // The repository's name may have a part such as "tags".
  const [, longName = "", lastPart = ""] =
    /^\/v2\/(.+)\/((?:blobs|manifests|referrers|tags)\/.*)$/.exec(path) ?? [];
  return isRepository(longName) ? routeIn(longName, lastPart) : undefined;
}

function routeIn(name: string, rest: string): Route | undefined {
  if (rest === "tags/list") return { kind: "tags", name };
  if (rest === "blobs/uploads/" || rest === "blobs/uploads") return { kind: "uploads", name };
  const [, kind, last = ""] = /^(blobs\/uploads|blobs|manifests|referrers)\/([^/]+)$/.exec(rest) ?? [];
  if (kind === "blobs/uploads") return { kind: "upload", name, id: last };
  if (kind === "manifests" && (isTag(last) || isAnyDigest(last)))
    return { kind: "manifest", name, reference: last };
  if ((kind === "blobs" || kind === "referrers") && isAnyDigest(last))
    return { kind: kind === "blobs" ? "blob" : "referrers", name, digest: last };
  return undefined;
}

function isAnyDigest(text: string): boolean {
  return text.startsWith("sha256:") ? isDigest(text) : DIGEST.test(text);
}
