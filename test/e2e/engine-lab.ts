import { test } from "bun:test";
import { dirname, join } from "node:path";
import { RUNS_ALL } from "../support/all-tests.ts";
import type { Place } from "../support/place.ts";

const LAB = join(import.meta.dir, "../../dev/engines/lab");
/** The lab's exit code where it cannot be made. */
const IMPOSSIBLE = 3;

/**
 * Finds the lab. Without one, says in one line why. In CI a lab that could be made, and is not there, is a failed
 * test; a system that cannot have one is not.
 */
export function findLab(): Place | undefined {
  if (!RUNS_ALL) {
    console.log("Engines of today are skipped: npm test -- --all asks them.");
    return undefined;
  }
  if (process.platform !== "linux" || Bun.which("bash") === null) {
    console.log("Engines of today are skipped: they need Linux and bash.");
    return undefined;
  }
  const { exitCode, stdout, stderr } = Bun.spawnSync(["bash", LAB, "work"]);
  if (exitCode === 0) {
    const folder = stdout.toString().trim();
    // Commands get an environment of their own, in which the lab would be looked for elsewhere.
    return { enter: ["env", `CHUNKPUSH_ENGINES=${dirname(folder)}`, "bash", LAB, "run"], folder };
  }
  const reason = stderr.toString().trim();
  if (process.env["CI"] && exitCode !== IMPOSSIBLE) {
    test("needs the lab of engines of today", () => {
      throw new Error(reason);
    });
  } else console.log(reason);
  return undefined;
}
