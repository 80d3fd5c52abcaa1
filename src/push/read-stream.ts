import { rawBytesOf } from "../layers/unpack.ts";
import { type Content, isWhole } from "../oci/content.ts";
import { asDiffId, blobPath, digestInPath } from "../oci/digest.ts";
import { contentReader, type Missing } from "../source/files/content.ts";
import type { ImageFiles } from "../source/files/image-files.ts";
import { openContent, openFiles } from "../source/open-content.ts";
import type { ArchiveSource, OpenedSource, SavedSource, Source } from "../source/source.ts";
import { unpackArchive } from "../source/stream/unpack-archive.ts";
import { findCachedDocument, storeDocuments } from "../store/documents.ts";
import { saveName } from "../store/file-names.ts";
import { findCachedLayer, findPackedLayer } from "../store/layers.ts";
import { type Job, reportBlob, reportReading } from "./job.ts";
import { choiceOf, reportSource } from "./open-source.ts";
import { takeIn } from "./take-in.ts";
import type { Target } from "./target.ts";

export type { Source };

/**
 * Makes a stream readable in any order: stores its content in the cache, and sends it at once. An engine's image with known
 * raw layers stays a save, of which only the missing layers are read. Throws the errors of reading.
 */
export async function readStream(opened: OpenedSource, target: Target, job: Job): Promise<Source> {
  if (opened.access === "any") return opened;
  if (opened.access === "save")
    return opened.image.isContainerd ? readContainerd(opened, target, job) : opened;
  const { origin } = opened;
  const how = origin.kind === "archive" ? "unpack" : "read";
  const title = origin.kind === "archive" ? `archive "${origin.name}"` : origin.name;
  const archive = unpackArchive(readReported(opened.read, how, origin.name, job), origin.name, {
    directory: job.cache.directory,
    signal: job.signal,
  });
  const source = await openFiles(
    await takeIn(archive, title, target, job),
    origin,
    choiceOf(job),
    job.signal,
  );
  reportSource(source, job);
  return source;
}

/** Reads an archive, and reports the progress. */
async function* readReported(
  read: ArchiveSource["read"],
  how: "unpack" | "read" | "save",
  name: string,
  job: Job,
) {
  const progress = reportReading(how, name, job);
  yield* read(progress.moved);
  progress.end();
}

/**
 * Has an engine with a containerd store save an image, unless the cache has all of it. The image's ID is the digest of its
 * manifest or index. If the cache lacks a part of an index, only a save tells whether the engine has it.
 */
async function readContainerd(
  { image, origin, save }: SavedSource,
  target: Target,
  job: Job,
): Promise<Source> {
  const title = `archive that was saved of "${origin.name}"`;
  const find = () =>
    contentReader(cachedFiles(title, job))
      .read(image.id)
      // Content that is damaged, or was dropped from the cache meanwhile, is saved again.
      .catch((): Missing => ({ kind: "missing", path: blobPath(image.id) }));
  const takeOnce = async () => {
    using _lock = await job.locks.take(saveName(image.id), () =>
      reportBlob(job, { id: "source", title: origin.name }, { state: "awaiting-compress" }),
    );
    reportBlob(job, { id: "source", title: origin.name }, { state: "unneeded" });
    // Another push may have saved the image meanwhile.
    if (isComplete(await find())) return cachedFiles(title, job);
    const files = await takeIn(readReported(save, "save", origin.name, job), title, target, job);
    // With the documents, the next push needs no save.
    await storeDocuments(job.cache, files.documents);
    return files;
  };
  const found = await find();
  const whole = isComplete(found) ? found : await contentReader(await takeOnce()).read(image.id);
  const about = { title, origin, names: image.names, referrers: [] };
  let busy: Promise<unknown> = Promise.resolve();
  let next: Promise<unknown> | undefined;
  return {
    ...(await openContent(whole, about, choiceOf(job), job.signal)),
    // Wait for a running save: it skips the content that it finds in the cache.
    again() {
      next ??= busy.then(() => {
        next = undefined;
        const taking = takeOnce();
        busy = taking.catch(() => undefined);
        return taking;
      });
      return next;
    },
  };
}

function isComplete(content: Content | Missing): boolean {
  return content.kind !== "missing" && isWhole(content);
}

/** Opens the cached content of earlier pushes by its paths in archives. */
function cachedFiles(title: string, { cache, pool }: Job): ImageFiles {
  const open: ImageFiles["open"] = async (path) => {
    const digest = digestInPath(path);
    if (digest === undefined) return undefined;
    const document = await findCachedDocument(cache, digest);
    if (document !== undefined) return new Blob([document]);
    return (await findPackedLayer(cache, digest, pool !== undefined))?.content;
  };
  return {
    title,
    open,
    async openLayer(path) {
      const digest = digestInPath(path);
      const blob = digest && pool && (await findCachedLayer(cache, asDiffId(digest), pool.form));
      return blob && pool ? rawBytesOf(blob.content, pool.form.kind, undefined, path) : open(path);
    },
  };
}
