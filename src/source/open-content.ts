import type { Content } from "../oci/content.ts";
import type { ImageOrigin } from "../oci/image.ts";
import { assertPlatform } from "./assert-platform.ts";
import { attachedTo } from "./attached.ts";
import { lacks, type Missing } from "./files/content.ts";
import type { ImageFiles } from "./files/image-files.ts";
import type { Referrer } from "./files/oci-layout.ts";
import { listImages } from "./list-images.ts";
import { selectImage } from "./select-image.ts";
import { type PlatformChoice, selectPlatform } from "./select-platform.ts";
import { NOTHING_TO_CLOSE, type SourceChoice, type StoredSource } from "./source.ts";

/** Opens the content to push of an archive or folder. Throws the errors of selecting and reading. */
export async function openFiles(
  files: ImageFiles,
  origin: ImageOrigin,
  choice: SourceChoice,
  signal: AbortSignal,
): Promise<StoredSource & AsyncDisposable> {
  const { title } = files;
  const { candidates, referrers } = await listImages(files);
  const candidate = await selectImage(candidates, choice, title);
  const about = { title, origin, names: candidate.names, referrers };
  return openContent(await candidate.read(), about, choice, signal);
}

/** The origin and names of content, and its referrers. */
export type About = Pick<StoredSource, "origin" | "names"> & {
  /** For messages. */
  readonly title: string;
  readonly referrers: readonly Referrer[];
};

/** Selects the platforms to push of content. Throws the errors of that, and `IMAGE_INCOMPLETE` for missing content. */
export async function openContent(
  whole: Content | Missing,
  { title, origin, names, referrers }: About,
  choice: PlatformChoice,
  signal: AbortSignal,
): Promise<StoredSource & AsyncDisposable> {
  if (whole.kind === "missing") throw lacks(title, whole);
  await assertPlatform(whole, choice.platforms, title, signal);
  const { content, leftOut } = selectPlatform(whole, choice, title);
  return {
    access: "any",
    origin,
    content,
    names,
    leftOut,
    referrers: await attachedTo(content, referrers),
    ...NOTHING_TO_CLOSE,
  };
}
