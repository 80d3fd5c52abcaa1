import { alignColumns, formatAge, formatBytes } from "../format.ts";
import { type CacheContents, type CacheFile, totalBytes } from "../store/contents.ts";
import type { Pruned } from "../store/prune.ts";
import { countOf } from "./names.ts";

/** Docker shows digests with this many digits. */
const SHORT_DIGITS = 12;

/** Describes a cache in lines: totals first, then a row for each blob. */
export function describeCache(contents: CacheContents, now: Date): string[] {
  const { directory, blobs, otherUploads, unfinished, strayPointers } = contents;
  const layers = blobs.flatMap(({ pointers }) => pointers.filter(({ kind }) => kind === "pointer"));
  const started = blobs.flatMap(({ uploads }) => uploads);
  const rows = blobs.map(({ name, sizeBytes, usedAt, uploads }) => [
    `sha256:${name.slice(0, SHORT_DIGITS)}`,
    formatBytes(sizeBytes),
    formatAge(usedAt, now),
    uploads.length === 0 ? "" : countOf(uploads.length, "resumable upload"),
  ]);
  return [
    `Cache: ${directory}`,
    blobs.length === 0
      ? "It has no compressed layers."
      : `${countOf(blobs.length, "blob")}${layers.length === 0 ? "" : ` of ${countOf(layers.length, "layer")}`}, ${formatBytes(totalBytes(blobs))}`,
    ...(started.length + otherUploads.length > 0
      ? [
          `${countOf(started.length + otherUploads.length, "resumable upload")}${otherUploads.length > 0 ? `, ${otherUploads.length} of blobs that are not cached` : ""}`,
        ]
      : []),
    ...describeUseless("Incomplete, of running or killed pushes", unfinished),
    ...describeUseless("Dangling pointers", strayPointers),
    ...(rows.length > 0 ? ["", ...alignColumns([["BLOB", "SIZE", "LAST USED", ""], ...rows], [1])] : []),
  ];
}

/** Describes what a prune removed or, in a dry run, would remove. */
export function describePruned(pruned: Pruned, dryRun: boolean): string[] {
  const { directory, blobs, others, freedBytes, keptCount, keptBytes } = pruned;
  const kept = `${countOf(keptCount, "blob")}, ${formatBytes(keptBytes)}`;
  const would = dryRun ? "Would remove" : "Removed";
  return [
    ...alignColumns(
      blobs.map(({ name, sizeBytes }) => [
        `${would} sha256:${name.slice(0, SHORT_DIGITS)}`,
        formatBytes(sizeBytes),
      ]),
      [1],
    ),
    ...(others.length > 0
      ? [`${would} ${countOf(others.length, "other file")}, ${formatBytes(totalBytes(others))}`]
      : []),
    `${dryRun ? "Would free" : "Freed"} ${formatBytes(freedBytes)} in ${directory}; ${dryRun ? "would keep" : "kept"} ${kept}`,
  ];
}

function describeUseless(title: string, files: readonly CacheFile[]): string[] {
  return files.length === 0
    ? []
    : [`${title}: ${countOf(files.length, "file")}, ${formatBytes(totalBytes(files))}`];
}
