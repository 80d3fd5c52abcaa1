import { imagesOf, sizeOf } from "../oci/content.ts";
import { isNamedOtherwise } from "../oci/image-name.ts";
import { formatReference } from "../oci/reference.ts";
import { openSource, type Source } from "../source/open.ts";
import type { Job } from "./job.ts";

/** Opens the source. The job disposes of it. Throws what `openSource` throws. */
export async function openPushed(job: Job): Promise<Source> {
  const { options, cache, signal, report } = job;
  const { source, target, engineEnvironment, image, platforms, allPlatforms, choose } = options;
  let unpacked: number | undefined;
  const reading = { type: "reading", how: "unpack", name: source } as const;
  const opened = await openSource({
    source,
    image,
    targets: [formatReference(target)],
    platforms,
    allPlatforms,
    choose,
    temporaryDirectory: cache.directory,
    engineEnvironment,
    signal,
    onUnpacking(doneBytes, totalBytes) {
      unpacked = totalBytes;
      report({ ...reading, doneBytes, totalBytes, isDone: false });
    },
  });
  if (unpacked !== undefined) report({ ...reading, doneBytes: unpacked, totalBytes: unpacked, isDone: true });
  return job.use(opened);
}

/** Reports the source's origin, names and size. */
export function reportSource(source: Source, { options, report }: Job): void {
  const { origin } = source;
  const names = source.access === "once" ? source.image.names : source.names;
  report({
    type: "source",
    origin,
    names,
    ...(source.access === "once" ? describeSaved(source) : describeStored(source)),
    isNamedOtherwise: isNamedOtherwise(names, [formatReference(options.target)]),
  });
}

function describeSaved({ image }: Extract<Source, { access: "once" }>) {
  const { platform, diffIds, sizeBytes } = image;
  return { platform, layerCount: diffIds.length, layerBytes: sizeBytes };
}

function describeStored({ content }: Extract<Source, { access: "any" }>) {
  const platforms = imagesOf(content).map(({ platform }) => platform ?? "unknown platform");
  const { layers, bytes } = sizeOf(content);
  return {
    platform: platforms.length === 0 ? undefined : platforms.join(", "),
    layerCount: layers,
    layerBytes: bytes,
  };
}
