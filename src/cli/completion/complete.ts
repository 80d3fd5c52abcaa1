import { settleEnvironment } from "../env-files.ts";
import type { Environment } from "../values.ts";
import { offerFor } from "./candidates.ts";

/** Answers a shell on standard output. A failure has no words: they would stand in the middle of a command line. */
export async function runComplete(args: readonly string[], process: NodeJS.Process): Promise<number> {
  settleEnvironment(process);
  const answer = await complete(args, process.env).catch(() => undefined);
  if (answer === undefined) return 1;
  await Bun.write(Bun.stdout, answer);
  return 0;
}

/**
 * Answers a script of a shell: the kind of the offer, the prefix of paths, and a line for each candidate with its
 * description behind a tab. The arguments are `words`, and the words up to the cursor; or `line`, and the line up to
 * there, which bash would split at every ":" and "=".
 */
async function complete([form, ...rest]: readonly string[], env: Environment): Promise<string> {
  const { words, isQuoted } = form === "line" ? readLine(rest[0] ?? "") : { words: rest, isQuoted: false };
  const { kind, prefix = "", candidates = [] } = await offerFor(words, env);
  // Readline completes a word with quotes itself, if it is a file.
  const lines = (isQuoted ? [] : candidates).map(([value, description]) => `${value}\t${description}`);
  return `${[kind, prefix, ...lines].join("\n")}\n`;
}

/** A word as it is written, perhaps with a quote that is still open. */
const WORD = /(?:[^\s"'\\]|\\.?|'[^']*'?|"(?:[^"\\]|\\.)*(?:"|\\?$))+/gs;

/** Reads the words behind the command's name. Variables and the like stay as they are written. */
function readLine(line: string): { words: string[]; isQuoted: boolean } {
  const found = [...line.matchAll(WORD)];
  const end = found.at(-1);
  const isBegun = end !== undefined && end.index + end[0].length === line.length;
  const written = [...found.slice(1).map(([word]) => word), ...(isBegun ? [] : [""])];
  return { words: written.map(withoutQuotes), isQuoted: /["'\\$`]/.test(written.at(-1) ?? "") };
}

function withoutQuotes(word: string): string {
  return word.replace(
    /\\(.?)|'([^']*)'?|"((?:[^"\\]|\\.)*)(?:"|\\?$)/gs,
    (_, escaped?: string, single?: string, double?: string) =>
      escaped ?? single ?? double?.replace(/\\([$`"\\])/g, "$1") ?? "",
  );
}
