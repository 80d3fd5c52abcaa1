import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { type Environment, RUNTIMES, type Runtime } from "../source/engine/engine.ts";
import { namesIn } from "../source/engine/find-image.ts";

export { TRANSPORTS } from "../source/transport.ts";

/** Lists the names of the engines' images. Leaves out engines that fail or do not answer before the signal. */
export async function imageNames(
  environment: Environment,
  signal: AbortSignal,
  runtimes: readonly Runtime[] = RUNTIMES,
): Promise<string[]> {
  const lists = runtimes.map((runtime) =>
    unlessAborted(namesIn({ runtime, command: runtime, environment, signal }), signal).catch(() => []),
  );
  return (await Promise.all(lists)).flat().map(([name]) => name);
}
