/** Other programs, run to their end or started and stopped, each by its own pid. */
import { chmod } from "node:fs/promises";
import { join } from "node:path";

export type CommandResult = { readonly code: number; readonly stdout: string; readonly stderr: string };

export type CommandOptions = {
  readonly cwd?: string;
  /** In place of this process's own, of which only PATH is kept. */
  readonly env?: Readonly<Record<string, string>>;
  /** What is piped in. Undefined: nothing, and the pipe is closed. */
  readonly input?: string | Uint8Array<ArrayBuffer>;
};

/** Runs a command to its end, whatever that is. */
export async function run(command: readonly string[], options: CommandOptions = {}): Promise<CommandResult> {
  const child = Bun.spawn([...command], {
    ...(options.cwd !== undefined && { cwd: options.cwd }),
    env: { PATH: process.env["PATH"] ?? "", ...options.env },
    stdin: options.input === undefined ? "ignore" : new Blob([options.input]),
    stdout: "pipe",
    stderr: "pipe",
  });
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  return { code, stdout, stderr };
}

/** Runs a command that has to succeed. @returns its standard output */
export async function runWell(command: readonly string[], options: CommandOptions = {}): Promise<string> {
  const { code, stdout, stderr } = await run(command, options);
  if (code === 0) return stdout;
  throw new Error(`"${command.join(" ")}" ended with ${code}: ${stderr}${stdout}`);
}

/** A program that serves until it is stopped, its output in a file. */
export type Daemon = {
  readonly pid: number;
  readonly hasExited: () => boolean;
  /** Asks it to end, and waits until it has; after half a minute it is made to. */
  stop(): Promise<void>;
};

const PATIENCE_MS = 30_000;
const SIGNALS = ["SIGINT", "SIGTERM", "SIGHUP"] as const;

export function startDaemon(
  command: readonly string[],
  log: { readonly stdout: string; readonly stderr: string },
  env: Readonly<Record<string, string>> = {},
): Daemon {
  const child = Bun.spawn([...command], {
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdin: "ignore",
    stdout: Bun.file(log.stdout),
    stderr: Bun.file(log.stderr),
  });
  // The last resort, where the test runner ends before it comes to stop().
  const onExit = () => child.kill("SIGTERM");
  const onSignal = () => process.exit(1);
  process.on("exit", onExit);
  for (const signal of SIGNALS) process.on(signal, onSignal);
  return {
    pid: child.pid,
    hasExited: () => child.exitCode !== null || child.signalCode !== null,
    async stop() {
      child.kill("SIGTERM");
      const timer = setTimeout(() => child.kill("SIGKILL"), PATIENCE_MS);
      await child.exited;
      clearTimeout(timer);
      process.off("exit", onExit);
      for (const signal of SIGNALS) process.off(signal, onSignal);
    },
  };
}

/** A folder with the command of an engine, for whoever looks for it on PATH. */
export async function commandFolder(
  folder: string,
  name: string,
  {
    command,
    env,
  }: {
    readonly command: readonly string[];
    readonly env: Readonly<Record<string, string>>;
  },
): Promise<string> {
  const quote = (word: string) => `'${word}'`;
  // By its path: by its name, it would find itself.
  const [program = "", ...args] = command;
  const words = [Bun.which(program) ?? program, ...args].map(quote).join(" ");
  const settings = Object.entries(env).map(([key, value]) => `${key}=${quote(value)}`);
  const path = join(folder, "bin");
  await Bun.write(join(path, name), `#!/bin/sh\nexport ${settings.join(" ")}\nexec ${words} "$@"\n`);
  await chmod(join(path, name), 0o755);
  return path;
}

const TRIES = 300;
const PAUSE_MS = 100;

/** Asks again and again until there is an answer, yet not for ever. */
export async function waitFor<T>(what: string, ask: () => Promise<T | undefined>): Promise<T> {
  for (let tries = 0; tries < TRIES; tries++) {
    const answer = await ask();
    if (answer !== undefined) return answer;
    await Bun.sleep(PAUSE_MS);
  }
  throw new Error(`Waited in vain for ${what}.`);
}
