import { isDigest } from "./digest.ts";
import { canonicalName, DOCKER_HUB, isRepository, isTag, looksLikeHost } from "./reference.ts";

// Engines and tools write one image's name in different ways: "my/app:v1" (Docker), "localhost/my/app:v1" (Podman),
// "docker.io/my/app:v1" (containerd, BuildKit), or the tag alone (skopeo, umoci).

/** The ways in which a name fits a wanted one, the best first. */
const FITS = ["same", "without-host", "other-host", "tag-only"] as const;
type Fit = (typeof FITS)[number];

type Name = {
  readonly host: string;
  /** Undefined for a bare tag. */
  readonly repository: string | undefined;
  /** Undefined for a name with a digest alone. */
  readonly tag: string | undefined;
  readonly digest: string | undefined;
};

/** An image among others. `digests` are all by which it is known; the first one identifies it. */
type NamedImage = { readonly names: readonly string[]; readonly digests: readonly string[] };

/**
 * Returns the images that fit the wanted names best: several if they fit equally well, and none if no image fits. A digest
 * counts more than any name, a full name more than one without a registry, that more than one of another
 * registry, and that more than a bare tag.
 *
 * @param wanted targets, or what a user calls the image: a name, a tag or a digest
 * @param options `isExact`: a name with a registry fits only images of that registry
 */
export function bestNamed<T extends NamedImage>(
  images: readonly T[],
  wanted: readonly string[],
  { isExact = false }: { readonly isExact?: boolean } = {},
): T[] {
  const wantedDigests = wanted.map((text) => text.slice(text.lastIndexOf("@") + 1)).filter(isDigest);
  const known = images.filter(({ digests }) => wantedDigests.some((digest) => digests.includes(digest)));
  if (known.length > 0) return distinct(known);
  const asked = wanted.flatMap(readings);
  const fits = images.map(({ names }) => bestFit(names, wanted, asked));
  const isNamed =
    isExact && wanted.some((text) => looksLikeHost(text.split("/")[0] ?? "") && text.includes("/"));
  const best = FITS.find((fit) => fits.includes(fit) && !(isNamed && fit !== "same"));
  return distinct(images.filter((_, i) => best !== undefined && fits[i] === best));
}

/** Tells whether an image has names, but none of them fits a target. */
export function isNamedOtherwise(names: readonly string[], targets: readonly string[]): boolean {
  if (names.length === 0) return false;
  const fit = bestFit(names, targets, targets.flatMap(readings));
  return fit === undefined || fit === "other-host";
}

function distinct<T extends NamedImage>(images: readonly T[]): T[] {
  return [...new Map(images.map((image) => [image.digests[0] ?? image, image])).values()];
}

/** @param asked the readings of the wanted names */
function bestFit(
  names: readonly string[],
  wanted: readonly string[],
  asked: readonly Name[],
): Fit | undefined {
  const fits = names.flatMap((text) =>
    wanted.includes(text) ? "same" : readings(text).flatMap((name) => asked.map((each) => fitOf(each, name))),
  );
  return FITS.find((fit) => fits.includes(fit));
}

function fitOf(wanted: Name, name: Name): Fit | undefined {
  if (wanted.tag !== undefined && wanted.tag !== name.tag) return undefined;
  if (wanted.digest !== undefined && name.digest !== undefined && wanted.digest !== name.digest)
    return undefined;
  if (wanted.repository === undefined || name.repository === undefined) return "tag-only";
  if (wanted.repository !== name.repository && familiarPath(wanted) !== familiarPath(name)) return undefined;
  if (wanted.host === name.host) return "same";
  // Engines put one of these hosts in front of a name that has no registry.
  return name.host === DOCKER_HUB || name.host === "localhost" ? "without-host" : "other-host";
}

/** Removes Docker Hub's `library/`, which Docker adds to names without a slash. */
function familiarPath({ host, repository = "" }: Name): string {
  return host === DOCKER_HUB ? repository.replace(/^library\/(?=[^/]*$)/, "") : repository;
}

/** Lists the meanings of a name: `nginx` may be a tag or a repository. */
function readings(text: string): Name[] {
  const [, path = "", digest] = /^([^@]*)(?:@(.*))?$/s.exec(text) ?? [];
  const [, place = path, writtenTag] = /^(.*):([^/]*)$/s.exec(path) ?? [];
  const tag = writtenTag ?? (digest === undefined ? "latest" : undefined);
  const [, first = "", rest = ""] = /^([^/]*)\/(.*)$/s.exec(place) ?? [];
  const name = looksLikeHost(first)
    ? canonicalName(first.toLowerCase(), rest)
    : canonicalName(DOCKER_HUB, place);
  const found: Name[] = [];
  if (isRepository(name.repository) && (tag === undefined || isTag(tag)))
    found.push({ ...name, tag, digest });
  if (isTag(text)) found.push({ host: "", repository: undefined, tag: text, digest: undefined });
  return found;
}

/** Returns an image's name without its registry: `my/app:v1` of `old.example.com/my/app:v1`. Undefined if it is not valid. */
export function nameWithoutHost(name: string): string | undefined {
  const read = readings(name).find(({ repository }) => repository !== undefined);
  return read?.tag === undefined ? undefined : `${familiarPath(read)}:${read.tag}`;
}
