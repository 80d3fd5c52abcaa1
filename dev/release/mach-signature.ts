/**
 * Code signatures of Mach-O executables that no developer has signed ("ad hoc"): the hash of each page. macOS compares
 * the pages when it loads them, and ends a program where one differs. Fields are those of
 * https://github.com/apple-oss-distributions/xnu/blob/main/osfmk/kern/cs_blobs.h
 */
import { createHash } from "node:crypto";

const HEADER_BYTES = 32;
const LC_SEGMENT_64 = 0x19;
const LC_CODE_SIGNATURE = 0x1d;
const SUPER_BLOB = 0xfade0cc0;
const CODE_DIRECTORY = 0xfade0c02;
/** Whose code directory has the segment of the code, and no field after it. */
const VERSION = 0x20400;
const DIRECTORY_BYTES = 88;
const ADHOC_LINKER_SIGNED = 0x20002;
const MAIN_BINARY = 1n;
const SHA_256 = 2;
const HASH_BYTES = 32;
const PAGE_BITS = 12;
const IDENTIFIER = Buffer.from("chunkpush\0");

/**
 * Replaces the signature. `bun build --compile` signs for arm64 alone: an x64 executable keeps the signature of the Bun
 * that it is made from, whose pages are others.
 */
export function sign(file: Buffer): Buffer {
  const { command, start } = signatureOf(file);
  const [text, linkEdit] = [segment(file, "__TEXT"), segment(file, "__LINKEDIT")];
  const count = Math.ceil(start / 2 ** PAGE_BITS);
  const hashes = DIRECTORY_BYTES + IDENTIFIER.length;
  const directory = Buffer.alloc(hashes + count * HASH_BYTES);
  const fields = [CODE_DIRECTORY, directory.length, VERSION, ADHOC_LINKER_SIGNED, hashes, DIRECTORY_BYTES, 0];
  for (const [i, value] of [...fields, count, start].entries()) directory.writeUInt32BE(value, i * 4);
  directory.set([HASH_BYTES, SHA_256, 0, PAGE_BITS], 36);
  directory.writeBigUInt64BE(file.readBigUInt64LE(text + 40), 64);
  directory.writeBigUInt64BE(file.readBigUInt64LE(text + 48), 72);
  directory.writeBigUInt64BE(MAIN_BINARY, 80);
  directory.set(IDENTIFIER, DIRECTORY_BYTES);

  const superBlob = Buffer.alloc(20);
  for (const [i, value] of [
    SUPER_BLOB,
    superBlob.length + directory.length,
    1,
    0,
    superBlob.length,
  ].entries())
    superBlob.writeUInt32BE(value, i * 4);
  const signed = Buffer.concat([file.subarray(0, start), superBlob, directory]);
  signed.writeUInt32LE(signed.length - start, command + 12);
  // The segment of the signature is the file's last. It may take more memory than it has bytes.
  signed.writeBigUInt64LE(BigInt(signed.length) - signed.readBigUInt64LE(linkEdit + 40), linkEdit + 48);
  // The first pages hold the commands that were just changed: they are hashed last.
  pageHashes(signed, start, 2 ** PAGE_BITS).copy(signed, start + superBlob.length + hashes);
  return signed;
}

/** Throws where there is no signature, or where it is that of other bytes. */
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

/** Where the signature starts, and where the load command is that says so. */
function signatureOf(file: Buffer): { readonly command: number; readonly start: number } {
  const command = commands(file, LC_CODE_SIGNATURE)[0];
  if (command === undefined) throw new Error("not signed");
  return { command, start: file.readUInt32LE(command + 8) };
}

/** Where the load command of a segment is. */
function segment(file: Buffer, name: string): number {
  const found = commands(file, LC_SEGMENT_64).find(
    (command) => file.toString("latin1", command + 8, command + 24).replace(/\0+$/, "") === name,
  );
  if (found === undefined) throw new Error(`no segment ${name}`);
  return found;
}

function commands(file: Buffer, type: number): number[] {
  const found: number[] = [];
  let command = HEADER_BYTES;
  for (let i = 0; i < file.readUInt32LE(16); i++) {
    if (file.readUInt32LE(command) === type) found.push(command);
    command += file.readUInt32LE(command + 4);
  }
  return found;
}
