import { PushError } from "../errors.ts";

/** Where an image goes: `[scheme://]host[:port]/repository[:tag]`. */
export type Reference = {
  /** Only where the user wrote one in front. */
  readonly scheme: "http" | "https" | undefined;
  /** Host and port, lower case, IPv6 in brackets: `registry.example.com`, `localhost:8787`. */
  readonly host: string;
  readonly repository: string;
  readonly tag: string;
};

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
const ALPHANUMERIC = "[a-z0-9]+";
const SEPARATOR = "(?:\\.|_|__|-+)";
const COMPONENT = `${ALPHANUMERIC}(?:${SEPARATOR}${ALPHANUMERIC})*`;
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** What registries hold to, and Docker checks. */
const MAX_REPOSITORY_LENGTH = 255;
/** The only @ that is not the end of somebody's password. */
const DIGEST_SUFFIX = /@sha(?:256|512):[0-9A-Fa-f]*$/;

const HOSTNAME =
  /^(?:[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)(?:\.[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?)*$/;
const IPV6 = /^\[[0-9A-Fa-f:.]+\]$/;

/** Docker Hub goes by this name in references, answers under another, and has its own images in `library/`. */
const DOCKER_HUB = "docker.io";
const DOCKER_HUB_ALIAS = "index.docker.io";
const DOCKER_HUB_API = "registry-1.docker.io";

const EXAMPLE = "registry.example.com/my/app:v1";

/**
 * Parses the target of a push. A missing tag is `latest`, as for Docker; a registry host must be there, since
 * pushing to Docker Hub by accident helps nobody.
 *
 * Throws `REFERENCE_INVALID` with what to write instead.
 */
export function parseReference(text: string): Reference {
  // Before anything else, so that no message below can repeat a password.
  if (text.replace(DIGEST_SUFFIX, "").includes("@")) {
    throw invalid(
      "the target",
      "contains a user name or password.",
      "Pass them with USERNAME_REGISTRY and on standard input.",
    );
  }
  const [, scheme, rest = ""] = /^(?:(https?):\/\/)?(.*)$/s.exec(text) ?? [];
  if (rest.includes("://")) {
    throw invalid(
      `"${text}"`,
      "starts with an unknown scheme.",
      "Write https://, http://, or no scheme at all.",
    );
  }

  const slash = rest.indexOf("/");
  const host = slash < 0 ? "" : rest.slice(0, slash);
  const path = rest.slice(slash + 1);
  if (host === "" || (scheme === undefined && !looksLikeHost(host))) {
    throw invalid(`"${text}"`, "names no registry host.", `Put the registry in front: "${EXAMPLE}".`);
  }
  assertHost(host, text);

  if (path.includes("@")) {
    throw invalid(
      `"${text}"`,
      "names a digest.",
      "A push goes to a tag: replace everything from the @ by a tag such as :v1.",
    );
  }
  const colon = path.lastIndexOf(":");
  const repository = colon < 0 ? path : path.slice(0, colon);
  const tag = colon < 0 ? "latest" : path.slice(colon + 1);
  assertRepository(repository, text, text.length - path.length);
  if (!TAG.test(tag)) {
    throw invalid(
      `"${text}"`,
      `has the tag "${tag}", which is not valid.`,
      "A tag has 1 to 128 letters, digits, dots, dashes and underscores, and starts with neither dot nor dash.",
    );
  }
  return { scheme: scheme as Reference["scheme"], ...canonicalName(host.toLowerCase(), repository), tag };
}

/** What Docker makes of a name: `docker.io/alpine` is `docker.io/library/alpine`. */
function canonicalName(host: string, repository: string): Pick<Reference, "host" | "repository"> {
  if (host !== DOCKER_HUB && host !== DOCKER_HUB_ALIAS) return { host, repository };
  return { host: DOCKER_HUB, repository: repository.includes("/") ? repository : `library/${repository}` };
}

/** Where the registry's API is, which for Docker Hub is not the host of the name. */
export function apiHost({ host }: Pick<Reference, "host">): string {
  return host === DOCKER_HUB ? DOCKER_HUB_API : host;
}

/** The reference as Docker writes it: without a scheme, always with a tag. */
export function formatReference({ host, repository, tag }: Reference): string {
  return `${host}/${repository}:${tag}`;
}

/** True for registries on this machine, which Docker, too, reaches by plain HTTP without being told. */
export function isLoopback({ host }: Pick<Reference, "host">): boolean {
  const name = host.replace(/:\d+$/, "");
  return (
    name === "localhost" ||
    name.endsWith(".localhost") ||
    name === "[::1]" ||
    /^127(?:\.\d{1,3}){3}$/.test(name)
  );
}

/** Docker's own rule: what has a dot or a port in it, or is `localhost`, is a host and not part of a name. */
function looksLikeHost(text: string): boolean {
  return text.includes(".") || text.includes(":") || text.toLowerCase() === "localhost";
}

function assertHost(host: string, text: string): void {
  const [, name = "", port] = /^(.*?)(?::(\d*))?$/.exec(host) ?? [];
  const bracketed = host.startsWith("[");
  const address = bracketed ? host.slice(0, host.indexOf("]") + 1) : name;
  const portText = bracketed ? host.slice(address.length).replace(/^:/, "") || undefined : port;
  const wellFormed = bracketed
    ? IPV6.test(address) && /^(?::\d+)?$/.test(host.slice(address.length))
    : HOSTNAME.test(address);
  if (!wellFormed || (portText !== undefined && !isPort(portText)) || !URL.canParse(`https://${host}/`)) {
    throw invalid(
      `"${text}"`,
      `has "${host}" for a registry, which is no host name.`,
      `Write it like "${EXAMPLE}".`,
    );
  }
}

function isPort(text: string): boolean {
  return /^\d{1,5}$/.test(text) && Number(text) >= 1 && Number(text) <= 65535;
}

/** A name such as `my/app`, as registries have it: without a host, and without a tag. */
export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

function assertRepository(repository: string, text: string, start: number): void {
  if (repository === "") {
    throw invalid(`"${text}"`, "names no repository.", `Write it like "${EXAMPLE}".`);
  }
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    throw invalid(
      `"${text}"`,
      `has a repository of ${repository.length} characters.`,
      `Registries allow ${MAX_REPOSITORY_LENGTH}.`,
    );
  }
  if (REPOSITORY.test(repository)) return;
  if (REPOSITORY.test(repository.toLowerCase())) {
    const lower = text.slice(0, start) + repository.toLowerCase() + text.slice(start + repository.length);
    throw invalid(
      `"${text}"`,
      "has upper-case letters in the repository.",
      `Registries allow lower case only: "${lower}".`,
    );
  }
  throw invalid(
    `"${text}"`,
    `has the repository "${repository}", which is not valid.`,
    "A repository is lower-case letters and digits, with single dots, dashes or underscores between them, and slashes.",
  );
}

function invalid(what: string, problem: string, hint: string): PushError {
  return new PushError("REFERENCE_INVALID", `Cannot push: ${what} ${problem}`, { hint });
}
