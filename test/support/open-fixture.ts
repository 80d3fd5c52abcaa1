/** What a test has written, opened and read as a push does. */
import { join } from "node:path";
import type { Content } from "../../src/oci/content.ts";
import { parseDigest } from "../../src/oci/digest.ts";
import type { Image } from "../../src/oci/image.ts";
import { openArchiveFiles } from "../../src/source/files/archive.ts";
import { contentReader, type Missing } from "../../src/source/files/content.ts";
import { openFolderFiles } from "../../src/source/files/folder.ts";
import type { ImageFiles } from "../../src/source/files/image-files.ts";
import type { FixtureBlob } from "./image-fixture.ts";
import { archiveBytes, type FixtureFiles, writeFolder } from "./image-forms.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export const FORMS = ["archive", "folder"] as const;

/** The files opened as they would be from the disk, in an archive or in a folder. */
export async function openFixture(
  form: (typeof FORMS)[number],
  files: FixtureFiles,
): Promise<AsyncDisposable & { readonly files: ImageFiles }> {
  const folder = await temporaryFolder();
  const path = join(folder.path, "fixture");
  if (form === "archive") await Bun.write(path, archiveBytes(files));
  else await writeFolder(path, files);
  const title = `${form} "fixture"`;
  return {
    files: await (form === "archive" ? openArchiveFiles(path, title) : openFolderFiles(path, title)),
    [Symbol.asyncDispose]: () => folder[Symbol.asyncDispose](),
  };
}

/** The files as those of an archive or folder are opened. */
export function inMemory(files: FixtureFiles): ImageFiles {
  const contents = new Map(
    Object.entries(files).map(([name, content]) => [name, new Blob([new Uint8Array(Buffer.from(content))])]),
  );
  return { title: "image", open: async (name) => contents.get(name) };
}

/** Reads a manifest of files, and whatever belongs to it. */
export async function readTree(files: FixtureFiles, { digest }: Pick<FixtureBlob, "digest">) {
  const content = await contentReader(inMemory(files)).read(parseDigest(digest, "a test"));
  if (content.kind === "missing") throw new Error(`The fixture lacks ${content.path}.`);
  return content;
}

/** What was read, which is one image. */
export function onlyImage(content: Content | Missing | undefined): Image {
  if (content?.kind === "image") return content;
  throw new Error(`There is ${content === undefined ? "nothing" : JSON.stringify(content)} and no image.`);
}
