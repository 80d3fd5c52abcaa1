import { PushError } from "../../errors.ts";
import { PROGRAM_NAME } from "../../program-name.ts";
import type { ImageFiles } from "./image-files.ts";

/** A kind of file that is no image archive, and advice. */
type Kind = readonly [what: string, hint: string];

const SAVE = "docker save my/app:v1 --output image.tar";
const SAVE_HINT = `An archive of an image comes from: ${SAVE}`;
const UNPACK = "Unpack it first. The image's archive may be inside.";
/** Tells how to push an archive that another program decompresses. */
const piped = (command: string) => `Decompress it on the way: ${command} FILE | ${PROGRAM_NAME} - TARGET`;

/** The first bytes of files that are mistaken for archives, as hex digits. */
const SIGNATURES: readonly (readonly [hex: string, ...Kind])[] = [
  ["1f8b", "compressed twice (gzip in gzip or zstd)", piped("gunzip --stdout")],
  ["28b52ffd", "compressed twice (zstd in gzip or zstd)", piped("unzstd --stdout")],
  ["fd377a585a00", "compressed with xz, which is not supported", piped("unxz --stdout")],
  ["425a68", "compressed with bzip2, which is not supported", piped("bunzip2 --stdout")],
  ["04224d18", "compressed with lz4, which is not supported", piped("lz4 --decompress --stdout")],
  ["504b0304", "a ZIP file", UNPACK],
  ["377abcaf271c", "a 7-Zip file", UNPACK],
  ["514649fb", "the disk of a virtual machine (qcow2)", SAVE_HINT],
  ["4b444d56", "the disk of a virtual machine (VMDK)", SAVE_HINT],
  ["68737173", "a SquashFS file system", SAVE_HINT],
  ["89504e47", "a picture (PNG)", SAVE_HINT],
  ["ffd8ff", "a picture (JPEG)", SAVE_HINT],
  ["25504446", "a PDF document", SAVE_HINT],
  ["7f454c46", "a program (ELF)", SAVE_HINT],
  ["213c617263683e", "a Debian package or static library", SAVE_HINT],
  ["edabeedb", "an RPM package", SAVE_HINT],
];

/** The beginnings of text files that are mistaken for archives. */
const TEXTS: readonly (readonly [pattern: RegExp, ...Kind])[] = [
  [
    /^\s*<(?:!doctype html|html|head|body)\b/i,
    "a web page",
    "A download may have returned a login or error page instead of the file. Open it in a browser to see.",
  ],
  [/^version https:\/\/git-lfs\./, "a Git LFS pointer", "Fetch the file that it stands for: git lfs pull"],
  [
    // Each round takes one line, in one way: hostile text costs no time.
    /^(?:[^\S\n]*(?:(?:#|ARG[^\S\n])[^\n]*)?\n)*[^\S\n]*FROM\s+\S/i,
    "a Dockerfile",
    "Build the image first, and push it by its name: docker build --tag my/app:v1 .",
  ],
  [/^\s*[[{]/, "a JSON document", SAVE_HINT],
  [/^#!/, "a script", SAVE_HINT],
];

/** All current tar programs write "ustar" at this offset. */
const MAGIC_AT = 257;

/** A master boot record ends with these bytes. */
const BOOT_RECORD = "55aa";
const BOOT_RECORD_AT = 510;

/**
 * Creates the error for a file that is no tar archive, which names the file's kind. Undefined for an unknown kind.
 *
 * @param head the first 512 bytes, or all if the file is shorter
 */
export function otherFile(title: string, head: Uint8Array): PushError | undefined {
  const [what, hint] = kindOf(Buffer.from(head)) ?? [];
  if (what === undefined || hint === undefined) return undefined;
  return new PushError("SOURCE_NOT_IMAGE", `Cannot read the ${title}: it is ${what}.`, { hint });
}

function kindOf(head: Buffer): Kind | undefined {
  // A damaged archive.
  if (head.toString("latin1", MAGIC_AT).startsWith("ustar")) return undefined;
  const hex = head.toString("hex");
  const signature = SIGNATURES.find(([start]) => hex.startsWith(start));
  if (signature !== undefined) return [signature[1], signature[2]];
  if (hex.slice(2 * BOOT_RECORD_AT).startsWith(BOOT_RECORD)) return ["a disk image", SAVE_HINT];
  const text = head.toString("utf8");
  const known = TEXTS.find(([pattern]) => pattern.test(text));
  if (known !== undefined) return [known[1], known[2]];
  // An archive that is cut short in its first name is text, too.
  return /^[\t\n\r\x20-\x7e\u00a0-\ufffc]{16,}$/.test(text) ? ["a text file", SAVE_HINT] : undefined;
}

const ROOT_ENTRY =
  /^(?:\.\/)?(?:\.dockerenv$|(?:bin|boot|dev|etc|lib|lib64|proc|root|sbin|sys|usr|var)(?:\/|$))/;

/** Detects an archive of a root file system by its members. Its devices and absolute links are invalid in images. */
export function rootWatch(title: string) {
  let isRoot = false;
  return {
    see(path: string): void {
      isRoot ||= ROOT_ENTRY.test(path);
    },
    /** Replaces an error about a member if the archive is a root file system. */
    explain(error: unknown): unknown {
      return isRoot && error instanceof PushError && error.code === "ARCHIVE_INVALID"
        ? rootFilesystem(title, error)
        : error;
    },
  };
}

function rootFilesystem(title: string, cause?: unknown): PushError {
  return new PushError(
    "SOURCE_NOT_IMAGE",
    `Cannot read the ${title}: it is a root file system, as docker export writes it, and not an image.`,
    {
      hint: `Save the image instead of the container: ${SAVE}. To make an image of the container, use docker commit.`,
      cause,
    },
  );
}

const ROOT_FILES = [".dockerenv", "etc/passwd", "etc/hosts", "etc/os-release", "usr/lib/os-release"];

/** Creates the error for an archive or folder without an image, which names its kind if that is known. */
export async function withoutImage(files: ImageFiles): Promise<PushError> {
  const { title } = files;
  // A link may point outside. It then counts as missing.
  const has = async (path: string) => (await files.open(path).catch(() => undefined)) !== undefined;
  if (await has("oci-layout")) {
    return new PushError("IMAGE_INCOMPLETE", `Cannot read the ${title}: "index.json" is missing.`, {
      hint: "It is an OCI layout that was not written to its end: save the image again.",
    });
  }
  if (await has("Dockerfile")) {
    return new PushError(
      "SOURCE_NOT_IMAGE",
      `Cannot read the ${title}: it has a Dockerfile, but no image yet.`,
      {
        hint: "Build the image first, and push it by its name: docker build --tag my/app:v1 FOLDER",
      },
    );
  }
  for (const path of ROOT_FILES) if (await has(path)) return rootFilesystem(title);
  return new PushError(
    "SOURCE_NOT_IMAGE",
    `Cannot read the ${title}: it has neither manifest.json nor index.json, so it is not an image.`,
    { hint: SAVE_HINT },
  );
}
