import type { PushCommand, Targetless } from "./invocation.ts";

/** Completes a push that names no target. Few do, and the others start faster without. Throws what `chooseTarget` throws. */
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
