import { PushError } from "../errors.ts";
import { formatPinned, type Reference } from "../oci/reference.ts";
import { commandLine } from "../program-name.ts";
import { readContent } from "../registry/read-content.ts";
import { readManifest } from "../registry/read-manifest.ts";
import { openContent } from "../source/open-content.ts";
import type { Source } from "../source/source.ts";
import { callOf, type Job } from "./job.ts";
import { connectRegistry } from "./target.ts";

/**
 * Opens an image at a registry, whose manifests and blobs are pushed unchanged. Throws `USAGE`, `IMAGE_NOT_FOUND`, and the
 * errors of connecting, reading and selecting.
 */
export async function openRegistryImage(reference: Reference, job: Job): Promise<Source> {
  const { image, forceCompression } = job.options;
  if (image !== undefined || forceCompression) {
    throw new PushError(
      "USAGE",
      `${image === undefined ? "--force-compression" : "--image"} cannot be used with an image at a registry.`,
      {
        hint: "Such an image is pushed unchanged. Leave the flag out.",
      },
    );
  }
  try {
    return await open(reference, job);
  } catch (error) {
    if (!(error instanceof PushError) || (error.code !== "UNAUTHORIZED" && error.code !== "DENIED"))
      throw error;
    throw new PushError(error.code, `Cannot read "${formatPinned(reference)}": ${error.message}`, {
      hint: `Log in there: ${commandLine("login", reference.host)}. The user name and password of this command are only for the target's registry.`,
      cause: error,
    });
  }
}

async function open(reference: Reference, job: Job): Promise<Source> {
  const call = callOf(job);
  const name = formatPinned(reference);
  const { target } = job.options;
  const isTargets = reference.host === target.host;
  if (isTargets && reference.scheme !== undefined && reference.scheme !== target.scheme) {
    throw new PushError("USAGE", `The source and the target name ${target.host} with different schemes.`, {
      hint: "Write http:// or https:// before both, or before neither.",
    });
  }
  const place = { ...reference, scheme: reference.scheme ?? (isTargets ? target.scheme : undefined) };
  const { options, login } = await job.at(place, isTargets ? job.login : undefined);
  const registry = await connectRegistry({ ...options, login, access: "pull" }, job.cache, call);
  const at = { registry, name: reference.repository };
  const root = await readManifest(at, reference.digest ?? reference.tag ?? "", call);
  if (root === undefined) {
    throw new PushError("IMAGE_NOT_FOUND", `${registry.origin} has no image "${name}".`, {
      hint: "Check its name and tag.",
    });
  }
  const whole = await readContent(at, root, call);
  const origin = { kind: "registry", name, date: undefined, sizeBytes: undefined } as const;
  const about = { title: `image "${name}"`, origin, names: [], referrers: [] };
  return openContent(whole, about, options, call.signal);
}
