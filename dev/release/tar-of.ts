import { Header } from "tar";

const BLOCK_BYTES = 512;

/** A file, or a folder, which has no content. */
export type TarEntry = {
  readonly path: string;
  readonly mode: number;
  readonly content?: Uint8Array;
};

/**
 * Makes a tar archive of root's files, all of 1970: what stays the same has the same digest in every release. Folders
 * that are not listed come before what lies in them.
 */
export function tarOf(entries: readonly TarEntry[]): Uint8Array<ArrayBuffer> {
  const all = new Map<string, TarEntry>();
  for (const entry of entries) {
    const parts = entry.path.split("/");
    for (let i = 1; i < parts.length; i++) {
      const path = parts.slice(0, i).join("/");
      if (!all.has(path)) all.set(path, { path, mode: 0o755 });
    }
    all.set(entry.path, entry);
  }
  const pieces = [...all.values()]
    .sort((a, b) => (a.path < b.path ? -1 : 1))
    .flatMap(({ path, mode, content }) => {
      const size = content?.length ?? 0;
      const header = Buffer.alloc(BLOCK_BYTES);
      new Header({
        ...(content === undefined
          ? { path: `${path}/`, type: "Directory" as const }
          : { path, type: "File" as const }),
        mode,
        size,
        uid: 0,
        gid: 0,
        mtime: new Date(0),
      }).encode(header);
      const padding = Buffer.alloc((BLOCK_BYTES - (size % BLOCK_BYTES)) % BLOCK_BYTES);
      return content === undefined ? [header] : [header, content, padding];
    });
  return new Uint8Array(Buffer.concat([...pieces, Buffer.alloc(2 * BLOCK_BYTES)]));
}
