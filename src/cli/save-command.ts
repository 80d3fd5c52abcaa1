import { lstat, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { fileError, PushError } from "../errors.ts";
import { formatBytes, formatDuration, toPrintable } from "../format.ts";
import { digestOf, hexOf } from "../oci/digest.ts";
import { commandLine, PROGRAM_NAME } from "../program-name.ts";
import { imageNames } from "../push/known-sources.ts";
import {
  fileExists,
  findSavable,
  OTHER_FOLDER,
  type SavableImage,
  saveArchive,
} from "../push/save-archive.ts";
import { chooseSeveral, confirm, mayAsk } from "./choose.ts";
import { defineCommand, interruptedAs } from "./command.ts";
import { parseSaveCommand, type SaveCommand, saveProgram } from "./save-program.ts";
import type { Environment } from "./values.ts";

export const SAVE = defineCommand({
  program: saveProgram,
  parse: parseSaveCommand,
  async run(command, { process, stop, warn }) {
    warn();
    await runSave(command, process, stop).catch(interruptedAs("the image was not saved", stop));
    return 0;
  },
});

/** Engines that list their images for longer are left out. */
const LIST_MS = 2000;

/** How often progress is printed. */
const INTERVAL_MS = { terminal: 250, log: 10_000 };

/** Leaves room for a suffix within the 255 bytes of a file's name. */
const MAX_NAME = 200;

type Streams = Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment };

/** Saves images. Standard output gets the path of each archive. Throws what finding and saving throws, and `USAGE`. */
async function runSave(
  command: SaveCommand,
  { stdout, stderr, env }: Streams,
  stop: AbortSignal,
): Promise<void> {
  const { directory, force, runtime } = command;
  const isAsked = mayAsk({ stderr, env });
  const names = command.images.length > 0 ? command.images : await chooseNames(command, env, isAsked, stop);
  const options = { environment: env, runtime, signal: stop };
  const found = await Promise.all(names.map((name) => findSavable(name, options)));
  const images = [...new Map(found.map((image) => [image.name, image])).values()];
  await mkdir(directory, { recursive: true }).catch((cause: unknown) => {
    throw fileError(cause, `make the folder "${directory}"`, OTHER_FOLDER);
  });
  const paths = archiveNames(images.map(({ name }) => name)).map((name) => join(directory, name));
  const replaced = new Set<string>();
  const skipped = new Set<string>();
  for (const path of paths) {
    const there = await whatIsAt(path);
    if (there === "folder")
      throw new PushError("FILE_FAILED", `Cannot write "${path}": it is a folder.`, {
        hint: `Remove it, or ${OTHER_FOLDER}.`,
      });
    if (force || there === undefined) continue;
    const answer = isAsked ? await confirm(`"${path}" already exists. Replace it?`, stop) : undefined;
    if (answer === undefined) throw fileExists(path);
    (answer ? replaced : skipped).add(path);
  }
  for (const [i, image] of images.entries()) {
    const path = paths[i] ?? "";
    if (skipped.has(path)) continue;
    await saveShown(image, path, force || replaced.has(path), stderr);
    stdout.write(`${toPrintable(path)}\n`);
    if (isAsked && images.length === 1) stderr.write(`${toPrintable(`Push it: ${commandLine(path)}`)}\n`);
  }
}

/** Lets a person choose images. Throws `USAGE` where nobody can be asked, and `IMAGE_NOT_FOUND` if there are none. */
async function chooseNames(
  { runtime }: SaveCommand,
  env: Environment,
  isAsked: boolean,
  stop: AbortSignal,
): Promise<string[]> {
  const unnamed = new PushError("USAGE", "No image was named.", {
    hint: `Name the images to save: ${PROGRAM_NAME} save my/app:v1`,
  });
  if (!isAsked) throw unnamed;
  const limit = AbortSignal.any([stop, AbortSignal.timeout(LIST_MS)]);
  const listed = await imageNames(env, limit, runtime && [runtime]);
  stop.throwIfAborted();
  if (listed.length === 0)
    throw new PushError("IMAGE_NOT_FOUND", "No image with a name was found in docker, podman or nerdctl.");
  const names = [...new Set(listed)].toSorted();
  const chosen = await chooseSeveral("Which images do you want to save?", names, stop);
  if (chosen === undefined) throw unnamed;
  return chosen.flatMap((i) => names[i] ?? []);
}

/** Engines write these in front of names that have no registry. */
const NO_REGISTRY = /^(?:localhost|docker\.io(?:\/library)?)\//;

/** Names a file for each image: letters, digits and `_.-` alone, and no two that some file system takes for one. */
export function archiveNames(images: readonly string[]): string[] {
  const stems = images.map((image) =>
    image
      .replace(NO_REGISTRY, "")
      .replace(/[^A-Za-z0-9._-]+/g, "_")
      .replace(/^[.-]+/, "_"),
  );
  return stems.map((stem, i) => {
    const isAlone = stems.filter((each) => each.toLowerCase() === stem.toLowerCase()).length === 1;
    if (isAlone && stem.length <= MAX_NAME) return `${stem}.tar`;
    return `${stem.slice(0, MAX_NAME)}-${hexOf(digestOf(images[i] ?? "")).slice(0, 8)}.tar`;
  });
}

/** Undefined: nothing has this path. */
async function whatIsAt(path: string): Promise<"file" | "folder" | undefined> {
  return lstat(path).then(
    (stats) => (stats.isDirectory() ? "folder" : "file"),
    ({ code }: NodeJS.ErrnoException) => (code === "ENOENT" ? undefined : "file"),
  );
}

/** Saves an image, and shows how far it is: on a terminal in one line. */
async function saveShown(
  image: SavableImage,
  path: string,
  force: boolean,
  stderr: NodeJS.WriteStream,
): Promise<void> {
  const startMs = performance.now();
  let doneBytes = 0;
  const facts = () => {
    const elapsedMs = performance.now() - startMs;
    const rate = `${formatBytes((doneBytes / Math.max(elapsedMs, 1)) * 1000)}/s`;
    return { elapsed: formatDuration(elapsedMs), rate };
  };
  const isTerminal = stderr.isTTY === true;
  const clear = isTerminal ? "\r\x1b[K" : "";
  const show = () => {
    const line = toPrintable(`Saving ${image.name}: ${formatBytes(doneBytes)}, ${facts().rate}`);
    stderr.write(isTerminal ? `${clear}${line.slice(0, stderr.columns - 1)}` : `${line}\n`);
  };
  if (isTerminal) show();
  const timer = setInterval(show, isTerminal ? INTERVAL_MS.terminal : INTERVAL_MS.log);
  try {
    await saveArchive(image, path, {
      force,
      onProgress: (bytes) => {
        doneBytes = bytes;
      },
    });
  } finally {
    clearInterval(timer);
    stderr.write(clear);
  }
  const { elapsed, rate } = facts();
  stderr.write(`${toPrintable(`Saved ${image.name}: ${formatBytes(doneBytes)} in ${elapsed} (${rate})`)}\n`);
}
