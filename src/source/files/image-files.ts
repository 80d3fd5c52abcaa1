/** The files of a saved image, in an archive or a folder. They are read in place. */
export type ImageFiles = {
  /** For messages: `archive "output.tar"`. */
  readonly title: string;
  /**
   * Opens a file; undefined if it does not exist. Follows links inside the image only. Throws `ARCHIVE_INVALID` for
   * other links and for anything but a regular file, and `FILE_FAILED`.
   */
  open(path: string): Promise<Blob | undefined>;
};
