import type { Reference } from "../oci/reference.ts";

/** What Docker Hub is called in files that `docker login` writes, and what credential helpers know it by. */
const DOCKER_HUB_SERVER = "https://index.docker.io/v1/";
const DOCKER_HUB_NAMES = ["docker.io", "index.docker.io", "registry-1.docker.io"];

/** The name under which a credential helper keeps a registry's credentials. */
export function serverAddress({ host }: Pick<Reference, "host">): string {
  return host === "docker.io" ? DOCKER_HUB_SERVER : host;
}

/**
 * The keys that stand for a target, those for less of it last: `host/team/app`, `host/team`, `host`. A path in a key,
 * which is Podman's, limits it to the repositories below.
 */
export function matchingKeys(
  keys: readonly string[],
  target: Pick<Reference, "host" | "repository">,
): string[] {
  const parts = [canonicalHost(target.host), ...target.repository.split("/")];
  const names = parts.map((_, i) => parts.slice(0, parts.length - i).join("/"));
  return names.flatMap((name) => keys.filter((key) => canonicalKey(key) === name));
}

/** `https://Registry.example.com/v1/` → `registry.example.com`: old versions wrote the address of the API. */
function canonicalKey(key: string): string {
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
