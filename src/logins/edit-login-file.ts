import { lchown, lstat, mkdir, open, readlink, realpath, rename, stat } from "node:fs/promises";
import { dirname, resolve } from "node:path";
import { fileError, PushError } from "../errors.ts";
import { distrustOf, PRIVATE_FILE, PRIVATE_FOLDER } from "../store/own-file.ts";
import { temporaryFile } from "../store/temporary-file.ts";
import { OTHERWISE, readLoginFile } from "./login-file.ts";

/** The saved logins of a file, by their keys. */
export type LoginEntries = Map<string, unknown>;

/**
 * Changes the entries of a login file, which keeps everything else that it has. Makes the file, and its folder, for this
 * user alone if they are missing. Replaces the file at once. Throws `LOGIN_INVALID` and `FILE_FAILED`.
 *
 * @param path from `fileBehind`
 */
export async function editLoginFile(
  path: string,
  name: string,
  edit: (entries: LoginEntries) => void,
): Promise<void> {
  try {
    const text = (await readLoginFile(path, name, "change"))?.text.trim() || "{}";
    const content = parseExactly(text);
    const entries = new Map(Object.entries(content["auths"] ?? {}));
    edit(entries);
    await replaceLogins(path, JSON.stringify({ ...content, auths: Object.fromEntries(entries) }, null, "\t"));
  } catch (cause) {
    throw fileError(cause, `save the logins in ${name}`, OTHERWISE.change);
  }
}

/** Parses a JSON object. Numbers keep all their digits when they are written again. */
function parseExactly(text: string): Record<string, object | null | undefined> {
  return JSON.parse(text, (_, value: unknown, context?: { source?: string }) =>
    typeof value === "number" && context?.source !== undefined ? rawJSON(context.source) : value,
  );
}

/** The standard library's types do not have it yet. */
const { rawJSON } = JSON as unknown as { rawJSON(text: string): unknown };

/**
 * Follows links, as Docker does, unless another user can change where they lead. The file may be missing. Throws
 * `FILE_FAILED` for what is no file, such as `/dev/null`, which a rename would replace.
 */
export async function fileBehind(path: string, name: string): Promise<string> {
  try {
    return await followOwnLinks(path, name);
  } catch (cause) {
    throw fileError(cause, `save the logins in ${name}`, OTHERWISE.change);
  }
}

async function followOwnLinks(path: string, name: string): Promise<string> {
  const link = await lstat(path).catch(() => undefined);
  if (link === undefined) return path;
  const file = link.isSymbolicLink() ? await targetOf(path) : path;
  const status = await stat(file).catch(() => undefined);
  // A link's own mode says nothing.
  const isOthers = async () =>
    distrustOf(link) === "owner" ||
    [await stat(dirname(path)), await stat(dirname(file))].some((folder) => distrustOf(folder) !== undefined);
  const problem =
    status !== undefined && !status.isFile()
      ? "it is not a regular file"
      : link.isSymbolicLink() && (await isOthers())
        ? "it is a link that another user can change"
        : undefined;
  if (problem === undefined) return file;
  throw new PushError("FILE_FAILED", `Cannot save the logins in ${name}: ${problem}.`, {
    hint: "Name another file with --authfile.",
  });
}

async function targetOf(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== "ENOENT") throw error;
    return resolve(dirname(path), await readlink(path));
  }
}

/** Replaces a file. Root leaves it, and new folders, to the user whose they are: `sudo` takes no user's logins away. */
async function replaceLogins(path: string, text: string): Promise<void> {
  const folder = dirname(path);
  const made = await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
  const owner = process.geteuid?.() === 0 ? await ownerOf(path, made) : undefined;
  if (owner !== undefined && made !== undefined) {
    // From the innermost: its folders are still root's alone. A link is not followed.
    for (let each = folder; each !== dirname(made); each = dirname(each))
      await lchown(each, owner.uid, owner.gid);
  }
  await using file = temporaryFile(folder, "logins");
  const handle = await open(file.path, "wx", PRIVATE_FILE);
  try {
    await handle.writeFile(text);
    if (owner !== undefined) await handle.chown(owner.uid, owner.gid);
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(file.path, path);
}

/** The owner of a file; of a new one, or where others may have put it, that of the nearest folder that was there before. */
async function ownerOf(path: string, made: string | undefined) {
  const folder = await stat(dirname(made ?? path));
  const isOpen = (folder.mode & 0o022) !== 0;
  return isOpen ? folder : await lstat(path).catch(() => folder);
}
