import { PushError } from "../errors.ts";
import { type Digest, isDigest } from "./digest.ts";

/** The target of a push: `[scheme://]host[:port]/repository[:tag][@digest]`. */
export type Reference = Place & (Tagged | Untagged);

type Place = {
  /** Undefined if the user wrote none. */
  readonly scheme: "http" | "https" | undefined;
  /** Host and port, lower case, IPv6 in brackets: `registry.example.com`, `localhost:8787`. */
  readonly host: string;
  readonly repository: string;
};

/** A push to a reference with a digest fails unless the pushed manifest has that digest. */
type Tagged = { readonly tag: string; readonly digest?: Digest | undefined };
type Untagged = { readonly tag: undefined; readonly digest: Digest };

/** A registry: `[scheme://]host[:port]`. */
export type Registry = Pick<Reference, "scheme" | "host">;

// https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#pulling-manifests
const ALPHANUMERIC = "[a-z0-9]+";
const SEPARATOR = "(?:\\.|_|__|-+)";
const COMPONENT = `${ALPHANUMERIC}(?:${SEPARATOR}${ALPHANUMERIC})*`;
const REPOSITORY = new RegExp(`^${COMPONENT}(?:/${COMPONENT})*$`);
const TAG = /^[A-Za-z0-9_][A-Za-z0-9._-]{0,127}$/;

/** The limit that registries and Docker enforce, in characters. */
const MAX_REPOSITORY_LENGTH = 255;
/** Matches a digest at the end. Any other @ follows a user name or password. */
const DIGEST_SUFFIX = /@sha(?:256|512):[0-9A-Fa-f]*$/;

const LABEL = "[A-Za-z0-9](?:[A-Za-z0-9-]*[A-Za-z0-9])?";
const IPV6 = "\\[[0-9A-Fa-f:.]+\\]";
const HOST = new RegExp(`^(?:${LABEL}(?:\\.${LABEL})*|${IPV6})(?::(\\d{1,5}))?$`);

/** Docker Hub's name in references. Its API has another host, and its official images are in `library/`. */
export const DOCKER_HUB = "docker.io";
const DOCKER_HUB_ALIAS = "index.docker.io";
const DOCKER_HUB_API = "registry-1.docker.io";

const EXAMPLE = "registry.example.com/my/app:v1";

/**
 * Parses the target of a push. As in Docker, the tag defaults to `latest`. A registry host is required, to prevent
 * accidental pushes to Docker Hub. Throws `REFERENCE_INVALID` with a suggestion.
 */
export function parseReference(text: string): Reference {
  // Check this first, so that no message below can repeat a password.
  if (text.replace(DIGEST_SUFFIX, "").includes("@")) {
    throw new PushError("REFERENCE_INVALID", "Cannot push: the target contains a user name or password.", {
      hint: "Pass them with USERNAME_REGISTRY and on standard input.",
    });
  }
  const [, scheme, rest = ""] = /^(?:(https?):\/\/)?(.*)$/s.exec(text) ?? [];
  if (rest.includes("://")) {
    throw invalid(text, "starts with an unknown scheme.", "Write https://, http://, or no scheme at all.");
  }

  const [, host = "", path = rest] = /^([^/]*)\/(.*)$/s.exec(rest) ?? [];
  if (host === "" || (scheme === undefined && !looksLikeHost(host))) {
    throw invalid(text, "has no registry host.", `Put the registry in front: "${EXAMPLE}".`);
  }
  assertHost(host, text);

  const [, name = "", digest] = /^([^@]*)(?:@(.*))?$/s.exec(path) ?? [];
  const [, repository = name, tag] = /^(.*):(.*)$/s.exec(name) ?? [];
  assertRepository(repository, text, text.length - path.length);
  if (tag !== undefined && !isTag(tag)) {
    throw invalid(
      text,
      `has the tag "${tag}", which is not valid.`,
      "A tag has 1 to 128 letters, digits, dots, dashes and underscores, and starts with neither dot nor dash.",
    );
  }
  const place = { scheme: scheme as Place["scheme"], ...canonicalName(host.toLowerCase(), repository) };
  if (digest === undefined) return { ...place, tag: tag ?? "latest" };
  if (isDigest(digest)) return { ...place, tag, digest } as Reference;
  throw invalid(
    text,
    `has the digest "${digest}", which is not valid.`,
    "A digest is sha256: and 64 lower-case hex digits.",
  );
}

/** Parses a registry's name. Throws `REFERENCE_INVALID`. */
export function parseRegistry(text: string): Registry {
  const [, scheme, host = ""] = /^(?:(https?):\/\/)?([^/]*)\/?$/.exec(text) ?? [];
  if ((scheme === undefined && !looksLikeHost(host)) || !isHost(host)) {
    // A text with an @ may contain a password.
    const shown = text.includes("@") ? "What you named" : `"${text}"`;
    throw new PushError("REFERENCE_INVALID", `${shown} is not a registry.`, {
      hint: 'Write its host alone: "registry.example.com" or "localhost:5000".',
    });
  }
  return { scheme: scheme as Reference["scheme"], host: canonicalHost(host.toLowerCase()) };
}

/** Writes a host and a repository in their canonical form. */
export function canonicalName(text: string, repository: string): Pick<Reference, "host" | "repository"> {
  const host = canonicalHost(text);
  return { host, repository: canonicalRepository(host, repository) };
}

function canonicalHost(host: string): string {
  return host === DOCKER_HUB_ALIAS ? DOCKER_HUB : host;
}

/** Expands Docker Hub names as Docker does: `docker.io/alpine` becomes `docker.io/library/alpine`. */
export function canonicalRepository(host: string, repository: string): string {
  return host !== DOCKER_HUB || repository.includes("/") ? repository : `library/${repository}`;
}

/** Returns the host of the registry's API. Docker Hub's differs from the host in the reference. */
export function apiHost({ host }: Pick<Reference, "host">): string {
  return host === DOCKER_HUB ? DOCKER_HUB_API : host;
}

/** Returns the host that references use for the host of an API. */
export function referenceHost(host: string): string {
  return host === DOCKER_HUB_API ? DOCKER_HUB : host;
}

/** Formats a reference as Docker does, without its scheme and digest. */
export function formatReference({ host, repository, tag }: Reference): string {
  return tag === undefined ? `${host}/${repository}` : `${host}/${repository}:${tag}`;
}

/** Formats a reference with its digest, if it has one. */
export function formatPinned(reference: Reference): string {
  const { digest } = reference;
  return digest === undefined ? formatReference(reference) : `${formatReference(reference)}@${digest}`;
}

/** Formats a target as the user wrote it: with its scheme and its digest. */
export function formatTarget(target: Reference): string {
  return `${formatRegistry(target)}${formatPinned(target).slice(target.host.length)}`;
}

/** Formats a registry with the scheme that the user wrote. */
export function formatRegistry({ scheme, host }: Registry): string {
  return scheme === undefined ? host : `${scheme}://${host}`;
}

/** Returns the tag to publish a manifest under, or else the digest. */
export function tagOrDigest(reference: Reference): string {
  return reference.tag === undefined ? reference.digest : reference.tag;
}

/** Applies Docker's rule: the first component is a host if it has a dot or a port, or is `localhost`. */
export function looksLikeHost(text: string): boolean {
  return text.includes(".") || text.includes(":") || text.toLowerCase() === "localhost";
}

function isHost(text: string): boolean {
  const [host, port = "443"] = HOST.exec(text) ?? [];
  return host !== undefined && Number(port) > 0 && URL.canParse(`https://${host}/`);
}

function assertHost(host: string, text: string): void {
  if (isHost(host)) return;
  throw invalid(
    text,
    `has the registry "${host}", which is not a valid host name.`,
    `Write it like "${EXAMPLE}".`,
  );
}

/** Reports whether text is a valid tag. */
export function isTag(text: string): boolean {
  return TAG.test(text);
}

/** Reports whether text is a valid repository such as `my/app`, without host and tag. */
export function isRepository(text: string): boolean {
  return text.length <= MAX_REPOSITORY_LENGTH && REPOSITORY.test(text);
}

function assertRepository(repository: string, text: string, start: number): void {
  if (repository === "") {
    throw invalid(text, "has no repository.", `Write it like "${EXAMPLE}".`);
  }
  if (repository.length > MAX_REPOSITORY_LENGTH) {
    throw invalid(
      text,
      `has a repository of ${repository.length} characters.`,
      `Registries allow ${MAX_REPOSITORY_LENGTH}.`,
    );
  }
  if (REPOSITORY.test(repository)) return;
  if (REPOSITORY.test(repository.toLowerCase())) {
    const lower = text.slice(0, start) + repository.toLowerCase() + text.slice(start + repository.length);
    throw invalid(
      text,
      "has upper-case letters in the repository.",
      `Registries allow lower case only: "${lower}".`,
    );
  }
  throw invalid(
    text,
    `has the repository "${repository}", which is not valid.`,
    "A repository is lower-case letters and digits, with single dots, dashes or underscores between them, and slashes.",
  );
}

function invalid(text: string, problem: string, hint: string): PushError {
  return new PushError("REFERENCE_INVALID", `Cannot push: "${text}" ${problem}`, { hint });
}
