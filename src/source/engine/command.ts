import { PushError } from "../../errors.ts";
import type { Engine } from "./engine.ts";
import { engineMissing } from "./failures.ts";

/** Runs an engine's command to its end. Throws `ENGINE_MISSING`, `INTERRUPTED`, and the signal's reason. */
export async function runEngine(args: readonly string[], engine: Engine) {
  const child = startEngine(args, engine);
  const [stdout, stderr, exitCode] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    endOf(child, engine),
  ]);
  return { exitCode, stdout, stderr };
}

/** Waits for an engine's command to end, and returns its exit code. Throws `INTERRUPTED`, and the signal's reason. */
export async function endOf(child: Bun.Subprocess, { signal }: Engine): Promise<number> {
  const exitCode = await child.exited;
  signal.throwIfAborted();
  // Ctrl-C reaches the command as well, which may end before us.
  if (exitCode === 130) throw new PushError("INTERRUPTED", "Interrupted.");
  return exitCode;
}

/** Starts an engine's command. Throws `ENGINE_MISSING`. */
export function startEngine(args: readonly string[], { command, environment, signal }: Engine) {
  const path = Bun.which(command, { PATH: environment["PATH"] ?? "" });
  if (path === null) throw engineMissing([command]);
  const {
    // Neither engines nor their plugins need the registry's password.
    REGISTRY_JWT_TOKEN: _,
    CHUNKPUSH_HEADERS: __,
    CHUNKPUSH_CREDENTIAL_COMMAND: ___,
    ...env
  } = environment;
  return Bun.spawn([path, ...args], { env, stdin: "ignore", stdout: "pipe", stderr: "pipe", signal });
}
