import { formatReference } from "../oci/reference.ts";
import { openSource, type Source } from "../source/open.ts";
import type { Job } from "./job.ts";

/** Opens the source. The job disposes of it. Throws what `openSource` throws. */
export async function openPushed(job: Job): Promise<Source> {
  const { options, cache, signal, report } = job;
  const { source, target, engineEnvironment } = options;
  const names = [formatReference(target), `${target.repository}:${target.tag}`];
  let unpacked: number | undefined;
  const reading = { type: "reading", how: "unpack", name: source } as const;
  const opened = await openSource({
    source,
    wanted: names,
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
export function reportSource({ access, origin, image }: Source, { options, report }: Job): void {
  const { target } = options;
  const name = `${target.repository}:${target.tag}`;
  // Engines omit Docker Hub's `library/`.
  const wanted = [formatReference(target), name, name.replace(/^library\//, "")];
  const isEngine = access === "once";
  report({
    type: "source",
    origin,
    names: image.names,
    platform: image.platform,
    layerCount: isEngine ? image.diffIds.length : image.layers.length,
    layerBytes: isEngine ? image.sizeBytes : image.layers.reduce((sum, { content }) => sum + content.size, 0),
    isNamedOtherwise: image.names.length > 0 && !image.names.some((each) => wanted.includes(each)),
  });
}
