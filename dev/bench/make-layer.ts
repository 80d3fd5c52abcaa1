import { Header } from "tar";
import { FILLERS, type FileKind } from "./content.ts";
import { type Random, seededRandom } from "./random.ts";

const BLOCK_BYTES = 512;
/** The two empty blocks that end a tar archive. */
const END_BYTES = 2 * BLOCK_BYTES;
/** Larger files are filled piece by piece, so that memory does not depend on their size. */
const PIECE_BYTES = 4 * 1024 * 1024;

/** What a layer has in it: how much of its bytes is in files of each kind, together 1. */
export type LayerMix = Readonly<Record<FileKind, number>>;

/** Typical sizes: most files are small, most bytes are in large ones. */
const FILE_BYTES: Readonly<Record<FileKind, readonly [smallest: number, largest: number]>> = {
  program: [8_000, 24_000_000],
  source: [400, 300_000],
  prose: [500, 600_000],
  packed: [20_000, 12_000_000],
};

/**
 * The bytes of a layer's tar archive, piece by piece; each is good until the next one is asked for.
 *
 * @param layerBytes a multiple of 512, which is kept exactly
 */
export function* makeLayer(
  seed: string,
  layerBytes: number,
  mix: LayerMix,
): Generator<Uint8Array<ArrayBuffer>> {
  const random = seededRandom(seed);
  const piece = new Uint8Array(PIECE_BYTES);
  const made = { program: 0, source: 0, prose: 0, packed: 0 };
  let left = layerBytes - END_BYTES;
  for (let number = 1; left >= 2 * BLOCK_BYTES; number++) {
    const kind = kindThatIsDue(made, mix);
    // In a small layer, one large file would be more than its kind's whole part.
    const bytes = Math.min(
      fileBytes(random, kind),
      Math.ceil((layerBytes * mix[kind]) / 4),
      left - BLOCK_BYTES,
    );
    made[kind] += bytes;
    yield tarHeader(`opt/${kind}/${number % 97}/${number}`, bytes);
    for (let done = 0; done < bytes; ) {
      const part = piece.subarray(0, Math.min(PIECE_BYTES, bytes - done));
      FILLERS[kind](part, random);
      yield part;
      done += part.length;
    }
    const padding = paddingOf(bytes);
    yield padding;
    left -= BLOCK_BYTES + bytes + padding.length;
  }
  yield new Uint8Array(left + END_BYTES);
}

/** The kind of which there is too little so far. */
function kindThatIsDue(made: Readonly<Record<FileKind, number>>, mix: LayerMix): FileKind {
  const kinds: readonly FileKind[] = ["program", "source", "prose", "packed"];
  const wanted = kinds.filter((kind) => mix[kind] > 0);
  return wanted.reduce((a, b) => (made[b] / mix[b] < made[a] / mix[a] ? b : a));
}

function fileBytes(random: Random, kind: FileKind): number {
  const [smallest, largest] = FILE_BYTES[kind];
  return Math.floor(smallest * (largest / smallest) ** (random.fraction() ** 1.5));
}

/** A file's header, as engines write them: ustar, or base 256 for sizes that ustar cannot say. */
export function tarHeader(path: string, bytes: number): Uint8Array<ArrayBuffer> {
  const header = Buffer.alloc(BLOCK_BYTES);
  const fields = { path, size: bytes, mode: 0o644, uid: 0, gid: 0, mtime: new Date(0) };
  new Header({ ...fields, type: "File" }).encode(header);
  return header;
}

export function paddingOf(bytes: number): Uint8Array<ArrayBuffer> {
  return new Uint8Array((BLOCK_BYTES - (bytes % BLOCK_BYTES)) % BLOCK_BYTES);
}

export function tarEnd(): Uint8Array<ArrayBuffer> {
  return new Uint8Array(END_BYTES);
}
