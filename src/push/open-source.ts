import { platformsOf, sizeOf } from "../oci/content.ts";
import { isNamedOtherwise } from "../oci/image-name.ts";
import { formatPinned } from "../oci/reference.ts";
import { openSource } from "../source/open.ts";
import type { OpenedSource, Source, SourceChoice } from "../source/source.ts";
import type { Job } from "./job.ts";
import { registryReference } from "./target.ts";

/** Opens the source, which the job disposes of, and reports it. Throws the errors of `openSource`. */
export async function openJobSource(job: Job): Promise<OpenedSource> {
  const { options, signal } = job;
  const { source, engineEnvironment, storageReader, runtime } = options;
  const reference = registryReference(source);
  const opened =
    reference === undefined
      ? await openSource({ ...choiceOf(job), source, engineEnvironment, storageReader, runtime, signal })
      : await (await import("./open-registry-image.ts")).openRegistryImage(reference, job);
  if (opened.access !== "stream") reportSource(opened, job);
  if (opened.access === "save")
    job.report({ type: "notice", code: "STORAGE_UNREAD", reason: opened.whySaved });
  return job.use(opened);
}

/** Returns the selection in a source with several images or platforms. */
export function choiceOf({ options, signal }: Job): SourceChoice {
  const { targets, image, platforms, allPlatforms, choose } = options;
  return {
    image,
    targets: targets.map(formatPinned),
    platforms,
    allPlatforms,
    choose: choose && ((choices) => choose(choices, signal)),
  };
}

/** Reports the source's origin, names and size. */
export function reportSource(source: Source, { options, report }: Job): void {
  const { origin } = source;
  const names = source.access === "save" ? source.image.names : source.names;
  report({
    type: "source",
    origin,
    names,
    ...(source.access === "save" ? describeSaved(source) : describeStored(source)),
    isNamedOtherwise: isNamedOtherwise(names, options.targets.map(formatPinned)),
  });
}

function describeSaved({ image }: Extract<Source, { access: "save" }>) {
  const { platform, diffIds, sizeBytes } = image;
  return { platform, layerCount: diffIds.length, layerBytes: sizeBytes };
}

function describeStored({ content }: Extract<Source, { access: "any" }>) {
  const platforms = platformsOf(content).map((platform) => platform ?? "unknown platform");
  const { layers, bytes } = sizeOf(content);
  return {
    platform: platforms.length === 0 ? undefined : platforms.join(", "),
    layerCount: layers,
    layerBytes: bytes,
  };
}
