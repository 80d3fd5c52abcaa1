import type { PushCommand, Targetless } from "./invocation.ts";

/** Asks for a missing target. The code for it is loaded only then. Throws the errors of `chooseTarget`. */
export async function withTarget(
  parsed: PushCommand | Targetless,
  process: NodeJS.Process,
  stop: AbortSignal,
  ...words: readonly string[]
): Promise<PushCommand> {
  if ("targets" in parsed) return parsed;
  const { chooseTarget } = await import("./choose-target.ts");
  return chooseTarget(parsed, process, stop, words);
}
