import { PushError } from "../errors.ts";
import type { Content, Index, IndexChild } from "../oci/content.ts";
import type { Digest } from "../oci/digest.ts";
import type { Image } from "../oci/image.ts";
import { keepEntries, type LeftOut, leftOut, type Replacement } from "../oci/image-index.ts";
import { ofPlatform } from "../oci/platform.ts";

export type PlatformChoice = {
  /** Such as `linux/arm64`. Empty for all that are present. */
  readonly platforms: readonly string[];
  /** Whether to fail if the index lists missing content. */
  readonly allPlatforms: boolean;
};

/** The selected content, and a summary of the index entries that are not pushed. */
export type Selected = { readonly content: Content; readonly leftOut: LeftOut | undefined };

/** The platform of this machine's engine, which runs Linux. */
const OWN_PLATFORM = `linux/${process.arch === "x64" ? "amd64" : process.arch}`;

/**
 * Selects the images to push of an index. One platform becomes an image, several become an index. Without a choice, selects
 * as `docker push` does: the index if it is complete, else the only image that is present, or this machine's.
 *
 * Throws `SOURCE_AMBIGUOUS` and `IMAGE_NOT_FOUND` with the platforms, and `IMAGE_INVALID`.
 */
export function selectPlatform(content: Content, choice: PlatformChoice, title: string): Selected {
  if (content.kind === "image") return { content: asWanted(content, choice, title), leftOut: undefined };
  if (content.kind === "artifact") return { content, leftOut: undefined };
  if (choice.platforms.length > 0) return selectWanted(content, choice.platforms, title);
  const leaves = leavesOf(content);
  const absent = leaves.filter((child) => child.content === undefined);
  const platforms = leaves.filter(({ entry }) => !entry.isAttestation);
  const present = platforms.filter((child) => child.content !== undefined);
  if (absent.length === 0) return { content, leftOut: undefined };
  if (choice.allPlatforms) {
    throw new PushError(
      "IMAGE_INCOMPLETE",
      `${absent.length} of the images that its index lists are missing in the ${title}:`,
      {
        details: absent.map(({ entry }) => [entry.platform, entry.digest].filter(Boolean).join("  ")),
        hint: "Save the image where every platform was pulled or built; or leave out --all-platforms to push what is there.",
      },
    );
  }
  const [first, ...others] = present;
  if (first === undefined) {
    throw new PushError("IMAGE_INCOMPLETE", `None of the images that its index lists are in the ${title}.`, {
      details: platforms.map(({ entry }) => entry.platform ?? entry.digest),
      hint: "Pull or build the image first, and save it again.",
    });
  }
  const own = others.length === 0 ? first : imageOf(present, OWN_PLATFORM);
  if (own !== undefined) return alone(leaves, own);
  throw new PushError(
    "SOURCE_AMBIGUOUS",
    `The ${title} has ${present.length} platforms, but not all that its index lists:`,
    {
      details: present.map(({ entry }) => entry.platform ?? entry.digest),
      hint: `Choose one or more: ${platformFlags(present).join(", ")}`,
    },
  );
}

/** Lists the entries of an index that are no indexes, also those of nested indexes. */
function leavesOf({ children }: Index): IndexChild[] {
  return children.flatMap((child) => (child.content?.kind === "index" ? leavesOf(child.content) : child));
}

function platformFlags(children: readonly IndexChild[]): string[] {
  const platforms = children.flatMap(({ entry }) => entry.platform ?? []);
  return [...new Set(platforms)].map((platform) => `--platform ${platform}`);
}

function imageOf(children: readonly IndexChild[], platform: string): IndexChild | undefined {
  const listed = children.map((child) => ({ child, platform: child.entry.platform }));
  return ofPlatform(listed, platform)[0]?.child;
}

function asWanted(image: Image, { platforms }: PlatformChoice, title: string): Image {
  if (platforms.every((wanted) => ofPlatform([image], wanted).length > 0)) return image;
  throw notThere(platforms, [image.platform], title);
}

function selectWanted(index: Index, wanted: readonly string[], title: string): Selected {
  const leaves = leavesOf(index);
  const images = leaves.filter((child) => !child.entry.isAttestation && child.content !== undefined);
  const chosen = wanted.map((platform) => {
    const best = imageOf(images, platform);
    if (best !== undefined) return best;
    throw notThere(
      [platform],
      images.map(({ entry }) => entry.platform),
      title,
    );
  });
  const [only, ...others] = new Set(chosen);
  if (only !== undefined && others.length === 0) return alone(leaves, only);
  return several(index, leaves, new Set(chosen));
}

/** Selects one image, without its index. */
function alone(children: readonly IndexChild[], child: IndexChild): Selected {
  const others = children.filter((each) => each !== child).map(({ entry }) => entry);
  return { content: child.content as Content, leftOut: leftOut(others) };
}

/** Selects some images, and their attestations, in a reduced index. */
function several(index: Index, leaves: readonly IndexChild[], chosen: ReadonlySet<IndexChild>): Selected {
  const digests = new Set<string | undefined>([...chosen].map(({ entry }) => entry.digest));
  const isKept = (child: IndexChild) =>
    chosen.has(child) ||
    (child.entry.isAttestation && child.content !== undefined && digests.has(child.entry.about));
  const others = leaves.filter((child) => !isKept(child)).map(({ entry }) => entry);
  return { content: others.length === 0 ? index : reduced(index, isKept), leftOut: leftOut(others) };
}

function reduced(index: Index, isKept: (child: IndexChild) => boolean): Index {
  const kept = new Map<Digest, Replacement>();
  const children = index.children.flatMap((child) => {
    const { entry, content } = child;
    const whole = content?.kind === "index" ? reduced(content, isKept) : content;
    const isEmpty = whole?.kind === "index" ? whole.children.length === 0 : !isKept(child);
    if (isEmpty || whole?.manifest === undefined) return [];
    kept.set(entry.digest, whole.manifest);
    return whole === content ? child : { entry: { ...entry, digest: whole.manifest.digest }, content: whole };
  });
  if (index.children.every((child, i) => child === children[i])) return index;
  return { ...index, manifest: keepEntries(index.manifest, kept), children };
}

function notThere(
  wanted: readonly string[],
  platforms: readonly (string | undefined)[],
  title: string,
): PushError {
  return new PushError("IMAGE_NOT_FOUND", `The ${title} has no image for ${wanted.join(", ")}. It has:`, {
    details: platforms.map((platform) => platform ?? "an image without a platform"),
  });
}
