/**
 * Ad-hoc code signatures of Mach-O executables: hashes of their pages, without a developer's identity. macOS verifies
 * each page when it loads it, and ends a program with a wrong one. The fields are described in
 * https://github.com/apple-oss-distributions/xnu/blob/main/osfmk/kern/cs_blobs.h
 */
import { createHash } from "node:crypto";

const HEADER_BYTES = 32;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const SUPER_BLOB = 0xfade0cc0;
/** The size of a SuperBlob's header with one blob. */
const SUPER_BLOB_BYTES = 20;
const CODE_DIRECTORY = 0xfade0c02;
/** The version of code directories whose last field is the segment of the code. */
const VERSION = 0x20400;
const DIRECTORY_BYTES = 88;
const ADHOC_LINKER_SIGNED = 0x20002;
const MAIN_BINARY = 1n;
const SHA_256 = 2;
const HASH_BYTES = 32;
const PAGE_BITS = 12;
const IDENTIFIER = Buffer.from("chunkpush\0");

/**
 * Replaces the signature. `bun build --compile` signs only for arm64: an x64 executable keeps the signature of the Bun
 * that it is made from, whose pages differ.
 */
export function sign(file: Buffer): Buffer {
  const { command, start } = signatureOf(file);
  const [text, linkEdit] = [segment(file, "__TEXT"), segment(file, "__LINKEDIT")];
  const count = Math.ceil(start / 2 ** PAGE_BITS);
  const hashes = DIRECTORY_BYTES + IDENTIFIER.length;
  const directory = Buffer.alloc(hashes + count * HASH_BYTES);
  const size = directory.length;
  directory.set(
    words(CODE_DIRECTORY, size, VERSION, ADHOC_LINKER_SIGNED, hashes, DIRECTORY_BYTES, 0, count, start),
  );
  directory.set([HASH_BYTES, SHA_256, 0, PAGE_BITS], 36);
  directory.writeBigUInt64BE(file.readBigUInt64LE(text + 40), 64);
  directory.writeBigUInt64BE(file.readBigUInt64LE(text + 48), 72);
  directory.writeBigUInt64BE(MAIN_BINARY, 80);
  directory.set(IDENTIFIER, DIRECTORY_BYTES);

  const superBlob = words(SUPER_BLOB, SUPER_BLOB_BYTES + size, 1, 0, SUPER_BLOB_BYTES);
  const signed = Buffer.concat([file.subarray(0, start), superBlob, directory]);
  signed.writeUInt32LE(signed.length - start, command + 12);
  // The segment of the signature is the file's last. It may take more memory than it has bytes.
  signed.writeBigUInt64LE(BigInt(signed.length) - signed.readBigUInt64LE(linkEdit + 40), linkEdit + 48);
  // The first pages contain the commands that have just been changed, so hash them last.
  pageHashes(signed, start, 2 ** PAGE_BITS).copy(signed, start + superBlob.length + hashes);
  return signed;
}

/** Verifies the signature. Throws if there is none, or if it does not match the file. */
export function checkSignature(file: Buffer): void {
  const signature = file.subarray(signatureOf(file).start);
  if (signature.readUInt32BE(0) !== SUPER_BLOB) throw new Error("the signature is no SuperBlob");
  const blobs = Array.from({ length: signature.readUInt32BE(8) }, (_, i) =>
    signature.subarray(signature.readUInt32BE(16 + i * 8)),
  );
  const directory = blobs.find((blob) => blob.readUInt32BE(0) === CODE_DIRECTORY);
  if (!directory) throw new Error("the signature has no code directory");
  if (directory.readUInt8(37) !== SHA_256) throw new Error("the signature's hashes are not SHA-256");
  const limit = directory.readUInt32BE(32);
  if (limit !== file.length - signature.length)
    throw new Error(`the signature is that of ${limit} bytes instead of ${file.length - signature.length}`);
  const hashes = pageHashes(file, limit, 2 ** directory.readUInt8(39));
  const start = directory.readUInt32BE(16);
  if (!hashes.equals(directory.subarray(start, start + directory.readUInt32BE(28) * HASH_BYTES)))
    throw new Error("the signature is that of other bytes");
}

function pageHashes(file: Buffer, limit: number, pageBytes: number): Buffer {
  const hashes: Buffer[] = [];
  for (let start = 0; start < limit; start += pageBytes) {
    const page = file.subarray(start, Math.min(start + pageBytes, limit));
    hashes.push(createHash("sha256").update(page).digest());
  }
  return Buffer.concat(hashes);
}

/** Finds the signature and its load command. */
function signatureOf(file: Buffer): { readonly command: number; readonly start: number } {
  const command = commands(file, LC_CODE_SIGNATURE)[0];
  if (command === undefined) throw new Error("not signed");
  return { command, start: file.readUInt32LE(command + 8) };
}

/** Finds the load command of a segment. */
function segment(file: Buffer, name: string): number {
  const found = commands(file, LC_SEGMENT_64).find(
    (command) => file.toString("latin1", command + 8, command + 24).replace(/\0+$/, "") === name,
  );
  if (found === undefined) throw new Error(`no segment ${name}`);
  return found;
}

/** Encodes 32-bit numbers, in big endian. */
function words(...values: readonly number[]): Buffer {
  const bytes = Buffer.alloc(values.length * 4);
  for (const [i, value] of values.entries()) bytes.writeUInt32BE(value, i * 4);
  return bytes;
}

/** Finds the load commands of a type. */
function commands(file: Buffer, type: number): number[] {
  const found: number[] = [];
  let command = HEADER_BYTES;
  for (let i = 0; i < file.readUInt32LE(16); i++) {
    if (file.readUInt32LE(command) === type) found.push(command);
    command += file.readUInt32LE(command + 4);
  }
  return found;
}
