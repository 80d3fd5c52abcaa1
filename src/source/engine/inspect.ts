import * as v from "valibot";
import { PushError } from "../../errors.ts";
import { type DiffId, type Digest, parseDiffId, parseDigest } from "../../oci/digest.ts";
import { DIFF_IDS } from "../../oci/image.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import { ofPlatform, platformName } from "../../oci/platform.ts";
import { runEngine } from "./command.ts";
import type { Engine } from "./engine.ts";
import { engineFailure, engineTitle, isNotFound, isOtherPlatform, isPodmanGreeting } from "./failures.ts";
import { isOwnName } from "./own-names.ts";

/** The identity of an engine's image. */
export type InspectedImage = {
  /** The digest of its config or, in containerd's store, of its manifest or index. */
  readonly id: Digest;
  readonly diffIds: readonly DiffId[];
  /** Such as `linux/amd64`. Undefined if the engine does not say. */
  readonly platform: string | undefined;
};

/** An image that an engine has. */
export type EngineImage = InspectedImage & {
  readonly names: readonly string[];
  /** The time of the build in ISO 8601, as the engine reports it. May be empty. */
  readonly created: string;
  /** The approximate size of a save. Undefined if unknown. */
  readonly sizeBytes: number | undefined;
  /** Whether it is in a containerd store, which keeps blobs as registries do: its ID is the digest of an index or a manifest. */
  readonly isContainerd: boolean;
};

/** An engine, which is Podman for Podman's `docker` command, and its image. Undefined if it lacks the image. */
export type Inspection<I extends EngineImage | undefined> = { readonly engine: Engine; readonly image: I };

const INSPECTED = v.strictTuple([
  object({
    // Podman leaves the algorithm out.
    Id: v.pipe(v.string(), v.regex(/^(?:sha256:)?[0-9a-f]{64}$/)),
    RepoTags: v.nullish(v.array(v.string())),
    RepoDigests: v.nullish(v.array(v.string())),
    Created: v.fallback(v.string(), ""),
    Size: v.fallback(v.optional(v.pipe(v.number(), v.finite(), v.minValue(0))), undefined),
    // Only containerd stores set it, from engine 28 on. From engine 29 on, their size includes unpacked content.
    Descriptor: v.nullish(v.unknown()),
    // A containerd store reports the name of its snapshotter.
    GraphDriver: v.fallback(v.nullish(object({ Name: v.string() })), undefined),
    Os: v.nullish(v.string()),
    Architecture: v.nullish(v.string()),
    Variant: v.nullish(v.string()),
    RootFS: object({ Layers: DIFF_IDS }),
  }),
]);

type Inspected = v.InferOutput<typeof INSPECTED>[0];

/**
 * Looks up an image in an engine. Throws `ENGINE_MISSING`, `ENGINE_UNREACHABLE`, `ENGINE_FAILED`, `IMAGE_INVALID`, and
 * `SOURCE_AMBIGUOUS` for a manifest list of Podman.
 */
export async function inspectEngineImage(
  name: string,
  asked: Engine,
): Promise<Inspection<EngineImage | undefined>> {
  const isNerdctl = asked.runtime === "nerdctl";
  const args = ["image", "inspect", ...(isNerdctl ? ["--mode=dockercompat"] : []), "--", name];
  const inspected = await runEngine(args, asked);
  const { stdout, stderr } = inspected;
  if (inspected.exitCode !== 0) {
    const engine = isPodmanGreeting(stderr) ? asPodman(asked) : asked;
    if (isOtherPlatform(stderr)) throw listed(name, undefined, engine);
    if (isNotFound(stderr)) return { engine, image: undefined };
    throw engineFailure(engine, inspected, `look for "${name}"`);
  }
  const title = `what ${asked.command} says of the image "${name}"`;
  const [image] = parseJson(new TextEncoder().encode(stdout), INSPECTED, title);
  // Podman's "docker" command prints no greeting if /etc/containers/nodocker exists.
  const isPodman = isPodmanGreeting(stderr) || !image.Id.startsWith("sha256:");
  const engine = isPodman ? asPodman(asked) : asked;
  // Podman shows and saves only its own platform's image of a manifest list.
  if (isPodman && (await runEngine(["manifest", "exists", "--", name], engine)).exitCode === 0)
    throw listed(name, image.Id, engine);
  const isContainerd = isNerdctl || image.Descriptor != null || image.GraphDriver?.Name === "overlayfs";
  return {
    engine,
    image: {
      id: idOf(image, isNerdctl, title),
      names: (image.RepoTags ?? []).filter((each) => !isOwnName(each)),
      created: image.Created,
      sizeBytes: isNerdctl || image.Descriptor != null ? undefined : image.Size,
      isContainerd,
      platform: platformName({ os: image.Os, architecture: image.Architecture, variant: image.Variant }),
      diffIds: image.RootFS.Layers.map((id) => parseDiffId(id, `RootFS.Layers in ${title}`)),
    },
  };
}

/**
 * Checks that an image is for the wanted platforms. Skips images in containerd stores: one name has several platforms,
 * which only a save tells. Throws `IMAGE_NOT_FOUND`.
 */
export function assertPlatforms(
  { platform, isContainerd }: EngineImage,
  name: string,
  { runtime, command }: Engine,
  wanted: readonly string[],
): void {
  const other = isContainerd
    ? undefined
    : wanted.find((each) => ofPlatform([{ platform }], each).length === 0);
  if (other === undefined) return;
  throw new PushError(
    "IMAGE_NOT_FOUND",
    `The image "${name}" of ${engineTitle(runtime)} is for ${platform ?? "an unknown platform"}, not for ${other}.`,
    { hint: `Pull the image for that platform: ${command} pull --platform ${other} ${name}` },
  );
}

/** Tells whether text is an image's ID, or the beginning of it, as engines accept it in place of a name. */
export function isIdOf(text: string, { id }: Pick<EngineImage, "id">): boolean {
  return id.replace("sha256:", "").startsWith(text.replace("sha256:", ""));
}

function asPodman(engine: Engine): Engine {
  return { ...engine, runtime: "podman" };
}

/** Returns an image's ID. nerdctl reports the config's digest as ID, but saves the manifest or index of the name. */
function idOf(image: Inspected, isNerdctl: boolean, title: string): Digest {
  const [, digest] = (isNerdctl && /@(.+)$/.exec(image.RepoDigests?.[0] ?? "")) || [];
  if (digest !== undefined) return parseDigest(digest, `RepoDigests in ${title}`);
  return parseDigest(`sha256:${image.Id.replace("sha256:", "")}`, `Id in ${title}`);
}

/** Creates the error for a manifest list of Podman, which would save one of its images. @param id that image's ID */
function listed(name: string, id: string | undefined, { command }: Engine): PushError {
  const one =
    id === undefined
      ? ""
      : ` To push only its image for this platform, name it by its ID: ${id.replace("sha256:", "").slice(0, 12)}.`;
  return new PushError(
    "SOURCE_AMBIGUOUS",
    `"${name}" is a manifest list of Podman, which cannot save all images of a list.`,
    {
      hint: `Write the list to an archive, and push that: ${command} manifest push --all ${name} oci-archive:output.tar.${one}`,
    },
  );
}
