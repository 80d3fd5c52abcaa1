import { PushError } from "../errors.ts";

/** Older versions of Bun send the length of the whole file for a slice of it. */
const MINIMUM_BUN = "1.4.5";

/** Refuses a Bun that sends wrong requests. Throws `RUNTIME_TOO_OLD`. */
export function assertRuntime(bunVersion: string): void {
  if (Bun.semver.order(bunVersion.replace(/-.*$/, ""), MINIMUM_BUN) >= 0) return;
  throw new PushError(
    "RUNTIME_TOO_OLD",
    `chunkpush needs Bun ${MINIMUM_BUN} or newer, but this is Bun ${bunVersion}.`,
    {
      hint: 'Run "bun upgrade". Or let npm bring the right one: "npm run -s push -- TARGET" in chunkpush\'s folder.',
    },
  );
}
