import { describe } from "bun:test";

/**
 * Tests that need a program which not every machine has: where it is missing they are skipped, and say why. In CI
 * they run all the same, and fail.
 */
export function describeWith(program: string, title: string, tests: () => void): void {
  const isMissing = Bun.which(program) === null;
  describe.skipIf(isMissing && !process.env["CI"])(isMissing ? `${title} (needs ${program})` : title, tests);
}

/** Windows has neither modes nor pipes with names, and lets not everybody make links. */
export function posixOnly(): boolean {
  return process.platform !== "win32";
}

/** Tells whether files can be given to another user here. Says why not. */
export function canChown(): boolean {
  if (process.geteuid?.() === 0) return true;
  console.log("Tests are skipped, for only root can give files to another user.");
  return false;
}

/** Tells whether `tar` is GNU's. BSD's writes other forms, and lists members in other words. */
export function hasGnuTar(): boolean {
  if (process.env["CI"]) return true;
  return Bun.which("tar") !== null && Bun.spawnSync(["tar", "--version"]).stdout.includes("GNU tar");
}

/** Tells whether a program is there that a part of a test needs. Says why not. In CI, that part runs all the same. */
export function hasProgram(program: string): boolean {
  if (process.env["CI"] || Bun.which(program) !== null) return true;
  console.log(`A part of a test is skipped, for it needs ${program}.`);
  return false;
}
