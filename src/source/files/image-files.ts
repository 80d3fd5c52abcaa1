/** The files of a saved image, in an archive or a folder, read where they are. */
export type ImageFiles = {
  /** For messages: `archive "output.tar"`. */
  readonly title: string;
  /**
   * The content of a file, links followed inside the image only; undefined where there is none of that name.
   * Throws `ARCHIVE_INVALID` where the file is not what an image may hold.
   */
  open(path: string): Promise<Blob | undefined>;
};
