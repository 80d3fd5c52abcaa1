import { settleEnvironment } from "../env-files.ts";
import type { Environment } from "../values.ts";
import { offerFor } from "./candidates.ts";

/** Answers a shell on standard output. A failure prints nothing: a message would garble the command line. */
export async function runComplete(args: readonly string[], process: NodeJS.Process): Promise<number> {
  settleEnvironment(process);
  const answer = await complete(args, process.env).catch(() => undefined);
  if (answer === undefined) return 1;
  await Bun.write(Bun.stdout, answer);
  return 0;
}

/**
 * Answers a shell's script: a line with the kind of the offer, a line with the prefix of paths, and a line for each
 * candidate with its description after a tab. The arguments are `words` and the words up to the cursor, or `line` and
 * the line up to the cursor: bash would split words at every ":" and "=".
 */
async function complete([form, ...rest]: readonly string[], env: Environment): Promise<string> {
  const { words, isQuoted } = form === "line" ? readLine(rest[0] ?? "") : { words: rest, isQuoted: false };
  const { kind, prefix = "", candidates = [] } = await offerFor(words, env);
  // Readline completes only files in a quoted word.
  const lines = (isQuoted ? [] : candidates).map(([value, description]) => `${value}\t${description}`);
  return `${[kind, prefix, ...lines].join("\n")}\n`;
}

/** A word as written, perhaps with an open quote. */
const WORD = /(?:[^\s"'\\]|\\.?|'[^']*'?|"(?:[^"\\]|\\.)*(?:"|\\?$))+/gs;

/** Reads the words after the command's name. Variables are not expanded. */
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
