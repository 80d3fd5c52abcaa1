import { PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import type { Progress } from "./progress.ts";
import { askOnce, openTerminal, type Terminal } from "./terminal.ts";
import type { Environment } from "./values.ts";

type Prompts = typeof import("@clack/prompts");
type Place = Terminal & { readonly signal: AbortSignal };

/** Tells whether a person may be asked. CI systems may have a terminal, too, and JSON is for programs. */
export function mayAsk(
  { stderr, env }: Pick<NodeJS.Process, "stderr"> & { readonly env: Environment },
  progress?: Progress,
): boolean {
  return stderr.isTTY === true && !env["CI"] && progress !== "json";
}

/** Longer lists scroll. */
const SHOWN_LINES = 12;

/** Asks which of several images to push. @returns what `chooseOne` returns */
export function chooseImage(choices: readonly string[], signal: AbortSignal): Promise<number | undefined> {
  return chooseOne("Which image do you want to push?", choices, signal);
}

/** Lets a person choose a line, and returns its position. Undefined if nobody can be asked. Throws `INTERRUPTED`. */
export function chooseOne(
  message: string,
  choices: readonly string[],
  signal: AbortSignal,
): Promise<number | undefined> {
  return ask(signal, ({ select }, place) =>
    select({ message: toPrintable(message), options: optionsOf(choices), maxItems: SHOWN_LINES, ...place }),
  );
}

/** Lets a person choose lines, and returns their positions. Undefined if nobody can be asked. Throws `INTERRUPTED`. */
export function chooseSeveral(
  message: string,
  choices: readonly string[],
  signal: AbortSignal,
): Promise<number[] | undefined> {
  return ask(signal, ({ multiselect }, place) =>
    multiselect({
      message: toPrintable(message),
      options: optionsOf(choices),
      maxItems: SHOWN_LINES,
      ...place,
    }),
  );
}

/** Asks a question; Enter means no. Undefined if nobody can be asked. Throws `INTERRUPTED`. */
export function confirm(message: string, signal: AbortSignal): Promise<boolean | undefined> {
  return ask(signal, (prompts, place) =>
    prompts.confirm({ message: toPrintable(message), initialValue: false, ...place }),
  );
}

/**
 * Asks for a line. Undefined if nobody can be asked. Throws `INTERRUPTED`.
 *
 * @param start text to edit, or an example to show
 * @param problemOf explains an invalid answer
 */
export function askLine(
  message: string,
  start: { readonly initialValue: string } | { readonly placeholder: string },
  problemOf: (answer: string) => string | undefined,
  signal: AbortSignal,
): Promise<string | undefined> {
  const validate = (line = "") => problemOf(line);
  return ask(signal, ({ text }, place) =>
    text({ message: toPrintable(message), ...start, validate, ...place }),
  );
}

function optionsOf(choices: readonly string[]): { value: number; label: string }[] {
  return choices.map((choice, value) => ({ value, label: toPrintable(choice) }));
}

/** Asks at the terminal, even if standard input is a pipe. */
async function ask<T>(
  signal: AbortSignal,
  question: (prompts: Prompts, place: Place) => Promise<T | Prompts["CANCEL_SYMBOL"]>,
): Promise<T | undefined> {
  const terminal = await openTerminal();
  if (terminal === undefined) return undefined;
  // Slow to load, and rarely needed.
  const prompts = await import("@clack/prompts");
  const answer = await askOnce(terminal, signal, (own) => question(prompts, { ...terminal, signal: own }));
  if (prompts.isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted: nothing was chosen.");
  return answer;
}
