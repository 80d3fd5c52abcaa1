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

/** Asks at the terminal for a yes, and takes Enter for a no. Throws `INTERRUPTED`. */
export async function confirm(message: string, signal: AbortSignal): Promise<boolean> {
  const prompts = await import("@clack/prompts");
  const answer = await prompts.confirm({
    message: toPrintable(message),
    initialValue: false,
    output: process.stderr,
    signal,
  });
  signal.throwIfAborted();
  if (prompts.isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted.");
  return answer;
}
