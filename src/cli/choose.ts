import { PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";

/** Asks at the terminal which of several images is meant, and returns its position. Throws `INTERRUPTED`. */
export async function chooseImage(choices: readonly string[], signal: AbortSignal): Promise<number> {
  // Slow to load, and needed by few.
  const { isCancel, select } = await import("@clack/prompts");
  const answer = await select({
    message: "Which image do you want to push?",
    options: choices.map((choice, value) => ({ value, label: toPrintable(choice) })),
    output: process.stderr,
    signal,
  });
  signal.throwIfAborted();
  if (isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted: no image was chosen.");
  return answer;
}
