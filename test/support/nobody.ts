import { requireParts } from "./parts.ts";
import { cliCommand } from "./run-cli.ts";

/** The user and the group that have no rights of their own: root would ignore that it has none. */
export const NOBODY = 65534;

/** A command, to be run by root as nobody. */
export function asNobody(command: readonly string[]): string[] {
  return ["setpriv", "--reuid", `${NOBODY}`, "--regid", `${NOBODY}`, "--clear-groups", ...command];
}

/** Tells whether nobody can be somebody here, and may read this repository and Bun. Says why not. */
export function canRunAsNobody(): boolean {
  if (!requireParts("setpriv")) return false;
  const { success } = Bun.spawnSync(asNobody(cliCommand(["--version"])), { cwd: "/" });
  if (!success) console.log("Tests are skipped, for they need a folder that other users may read.");
  return success;
}
