import type { Reference } from "../oci/reference.ts";

/** Docker Hub's key in `config.json` and in credential helpers. */
const DOCKER_HUB_SERVER = "https://index.docker.io/v1/";
const DOCKER_HUB_NAMES = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** Returns the name under which a credential helper stores a registry's credentials. */
export function serverAddress({ host }: Pick<Reference, "host">): string {
  return host === "docker.io" ? DOCKER_HUB_SERVER : host;
}

/**
 * Returns the keys that match a target, the most specific first: `host/team/app`, `host/team`, `host`. Keys with a path
 * are Podman's, and apply to the repositories below it.
 */
export function matchingKeys(
  keys: readonly string[],
  target: Pick<Reference, "host" | "repository">,
): string[] {
  const parts = [canonicalHost(target.host), ...target.repository.split("/")];
  const names = parts.map((_, i) => parts.slice(0, parts.length - i).join("/"));
  return names.flatMap((name) => keys.filter((key) => canonicalKey(key) === name));
}

/** `https://Registry.example.com/v1/` → `registry.example.com`: old versions saved the API's URL. */
export function canonicalKey(key: string): string {
  const [host = "", ...path] = key
    .trim()
    .replace(/^https?:\/\//i, "")
    .replace(/\/+$/, "")
    .split("/");
  const isApi = path.length === 1 && /^v[12]$/.test(path[0] ?? "");
  return [canonicalHost(host), ...(isApi ? [] : path)].join("/");
}

function canonicalHost(host: string): string {
  const name = host.toLowerCase();
  return DOCKER_HUB_NAMES.includes(name) ? "docker.io" : name;
}
