import { describe } from "bun:test";

/**
 * Tests that need a program which not every machine has: where it is missing they are skipped, and say why. In CI
 * they run all the same, and fail.
 */
export function describeWith(program: string, title: string, tests: () => void): void {
  const isMissing = Bun.which(program) === null;
  describe.skipIf(isMissing && !process.env["CI"])(isMissing ? `${title} (needs ${program})` : title, tests);
}
