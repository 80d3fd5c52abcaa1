import { PushError } from "../errors.ts";
import type { Content, StoredBlob } from "../oci/content.ts";
import { CONFIG_TYPES } from "../oci/descriptor.ts";
import { digestOf } from "../oci/digest.ts";
import { parseImageConfig } from "../oci/image.ts";
import { MAX_JSON_BYTES } from "../oci/json-schema.ts";
import { ofPlatform } from "../oci/platform.ts";
import { formatPinned, type Reference } from "../oci/reference.ts";
import { readContent } from "../registry/read-content.ts";
import { readManifest } from "../registry/read-manifest.ts";
import { openContent } from "../source/open-content.ts";
import type { Source } from "../source/source.ts";
import { callOf, type Job } from "./job.ts";
import { connectRegistry } from "./target.ts";

/**
 * Opens an image at a registry, whose manifests and blobs pass through as they are. Throws `USAGE`, `IMAGE_NOT_FOUND`, and
 * what connecting, reading and selecting throws.
 */
export async function openRegistryImage(reference: Reference, job: Job): Promise<Source> {
  const { image, forceCompression } = job.options;
  if (image !== undefined || forceCompression) {
    throw new PushError(
      "USAGE",
      `${image === undefined ? "--force-compression" : "--image"} is for other sources than registries.`,
      {
        hint: "What a registry has under a name passes through as it is. Leave the flag out.",
      },
    );
  }
  try {
    return await open(reference, job);
  } catch (error) {
    if (!(error instanceof PushError) || (error.code !== "UNAUTHORIZED" && error.code !== "DENIED"))
      throw error;
    throw new PushError(error.code, `Cannot read "${formatPinned(reference)}": ${error.message}`, {
      hint: `Log in there with docker login ${reference.host}: a user and password that are given are for the target's registry alone.`,
      cause: error,
    });
  }
}

async function open(reference: Reference, job: Job): Promise<Source> {
  const call = callOf(job);
  const name = formatPinned(reference);
  const { target } = job.options;
  const isTargets = reference.host === target.host;
  const place = { ...reference, scheme: reference.scheme ?? (isTargets ? target.scheme : undefined) };
  const { options, login } = await job.at(place, isTargets ? job.login : undefined);
  const registry = await connectRegistry({ ...options, login, access: "pull" }, job.cache, call);
  const at = { registry, name: reference.repository };
  const root = await readManifest(at, reference.digest ?? reference.tag ?? "", call);
  if (root === undefined) {
    throw new PushError("IMAGE_NOT_FOUND", `${registry.origin} has no image "${name}".`, {
      hint: "Check its name and its tag.",
    });
  }
  const whole = await readContent(at, root, call);
  await assertPlatform(whole, options.platforms, name, call.signal);
  const origin = { kind: "registry", name, date: undefined, sizeBytes: undefined } as const;
  const about = { title: `image "${name}"`, origin, names: [], referrers: [] };
  return openContent(whole, about, options);
}

/** Throws `IMAGE_NOT_FOUND` for an image without an index that is for another platform than the wanted ones. */
async function assertPlatform(
  content: Content,
  wanted: readonly string[],
  name: string,
  signal: AbortSignal,
): Promise<void> {
  if (content.kind !== "artifact" || wanted.length === 0) return;
  const config = content.blobs.find(({ descriptor }) => CONFIG_TYPES.includes(descriptor.mediaType));
  if (config === undefined || config.descriptor.size > MAX_JSON_BYTES) return;
  const { platform } = parseImageConfig(await readWhole(config, signal), `the config of "${name}"`);
  if (wanted.every((each) => ofPlatform([{ platform }], each).length > 0)) return;
  throw new PushError("IMAGE_NOT_FOUND", `The image "${name}" is not for ${wanted.join(", ")}.`, {
    hint: `It is for ${platform ?? "an unknown platform"}, and there is no index.`,
  });
}

/** Reads a small blob. Throws `CONTENT_MISMATCH`. */
async function readWhole({ descriptor, content }: StoredBlob, signal: AbortSignal) {
  const pieces: Uint8Array[] = [];
  let size = 0;
  for await (const piece of content instanceof Blob ? content.stream() : content.read(signal)) {
    pieces.push(piece);
    size += piece.length;
    if (size > descriptor.size) break;
  }
  const bytes = Buffer.concat(pieces);
  if (digestOf(bytes) === descriptor.digest) return bytes;
  throw new PushError("CONTENT_MISMATCH", `The source gives out other bytes than ${descriptor.digest}.`);
}
