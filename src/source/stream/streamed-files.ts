import { rootWatch } from "../files/not-image.ts";
import {
  assertNoneInside,
  findFile,
  memberName,
  memberOf,
  type TarMember,
  twoMembers,
} from "../tar/members.ts";
import type { StreamedFile } from "../tar/stream.ts";
import { readTarStream } from "../tar/stream.ts";

/** The result of taking a streamed file. Equal files have equal digests. */
export type Taken = { readonly digest: string };

/** Finds the result for a file by its path. Follows links inside the archive. Throws `ARCHIVE_INVALID`. */
export type TakenFiles<T> = (path: string) => T | undefined;

/**
 * Reads an archive as it streams, to its end. Throws `ARCHIVE_INVALID`, as for archives that are read in place, and the
 * errors of `take`.
 *
 * @param take reads a file, whose bytes can be read once
 */
export async function takeFiles<T extends Taken>(
  archive: AsyncIterable<Uint8Array<ArrayBuffer>>,
  title: string,
  take: (file: StreamedFile) => Promise<T>,
): Promise<TakenFiles<T>> {
  const members = new Map<string, TarMember>();
  /** The results by the offsets of the files. */
  const taken = new Map<number, T>();
  const root = rootWatch(title);
  try {
    for await (const entry of readTarStream(archive, title)) {
      root.see(entry.path);
      const name = memberName(entry, title);
      const member = memberOf(entry, name, members, title);
      if (member === undefined) continue;
      if (entry.kind === "file") taken.set(entry.offset, await take({ ...entry, path: name }));
      const earlier = members.get(name);
      if (earlier !== undefined && !isSame(earlier, member, taken)) throw twoMembers(name, title);
      members.set(name, member);
    }
    assertNoneInside(members, title);
  } catch (error) {
    throw root.explain(error);
  }
  return (path) => {
    const file = findFile(members, path, title);
    return file && taken.get(file.offset);
  };
}

function isSame(a: TarMember, b: TarMember, taken: ReadonlyMap<number, Taken>): boolean {
  if (a.kind === "link" || b.kind === "link") return Bun.deepEquals(a, b);
  return taken.get(a.offset)?.digest === taken.get(b.offset)?.digest;
}
