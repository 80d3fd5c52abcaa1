import { mkdir, stat } from "node:fs/promises";
import { homedir } from "node:os";
import { isAbsolute, join } from "node:path";
import * as v from "valibot";
import { checkJson } from "../oci/json-schema.ts";
import { formatTarget, parseReference, type Reference } from "../oci/reference.ts";
import { PRIVATE_FOLDER, readOwnFile } from "../store/own-file.ts";
import { replaceFile } from "../store/temporary-file.ts";
import { ownersUnderSudo } from "./owners.ts";
import type { Environment } from "./values.ts";

const FILE = "targets.json";
const MAX_TARGETS = 20;
const MAX_BYTES = 64 * 1024;

/** Reads the targets of the last pushes, the last one first. None if there is no file of this user's, or not a sound one. */
export function readLastTargets(env: Environment): Reference[] {
  const bytes = readOwnFile(
    { directory: stateFolder(env).folder, owners: ownersUnderSudo(env) },
    FILE,
    MAX_BYTES,
  );
  if (bytes === undefined) return [];
  try {
    const checked = checkJson(v.array(v.string()), JSON.parse(new TextDecoder().decode(bytes)));
    const texts = "output" in checked ? checked.output.slice(0, MAX_TARGETS) : [];
    return texts.flatMap((text) => parsed(text) ?? []);
  } catch {
    return [];
  }
}

/** Keeps the targets of a push for the next one. They have neither user names nor passwords. Throws the system's error. */
export async function rememberTargets(targets: readonly Reference[], env: Environment): Promise<void> {
  const { base, folder } = stateFolder(env);
  // Under sudo, a folder of the user who called is left alone: root would follow its links.
  const self = process.geteuid?.();
  const owner = self === undefined ? self : (await stat(base).catch(() => stat(homedir()))).uid;
  if (owner !== self) return;
  const before = readLastTargets(env).map(formatTarget);
  const named = targets.flatMap((each) =>
    each.tag === undefined ? [] : [formatTarget({ ...each, digest: undefined })],
  );
  const all = [...new Set([...named, ...before])].slice(0, MAX_TARGETS);
  if (all.join() === before.join()) return;
  await mkdir(folder, { recursive: true, mode: PRIVATE_FOLDER });
  await replaceFile(folder, FILE, `${JSON.stringify(all, null, 2)}\n`);
}

function parsed(text: string): Reference | undefined {
  try {
    return parseReference(text);
  } catch {
    return undefined;
  }
}

/**
 * Returns the folder for our state, and the existing folder above it that has the state of all programs.
 * https://specifications.freedesktop.org/basedir-spec
 */
function stateFolder(env: Environment): { readonly base: string; readonly folder: string } {
  const home = homedir();
  const place = (base: string, ...names: string[]) => ({ base, folder: join(base, ...names, "chunkpush") });
  const { XDG_STATE_HOME: xdg = "", LOCALAPPDATA: local = "" } = env;
  if (isAbsolute(xdg)) return place(xdg);
  if (process.platform === "darwin") return place(home, "Library", "Application Support");
  if (process.platform === "win32" && isAbsolute(local)) return place(local);
  return place(home, ".local", "state");
}
