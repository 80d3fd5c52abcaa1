/** The streams of the terminal, for questions. */
export type Terminal = { readonly input: NodeJS.ReadStream; readonly output: NodeJS.WriteStream };

let opened: Promise<Terminal | undefined> | undefined;

/**
 * Opens this process's terminal, even if standard input is a pipe or standard error a file. Undefined if there is
 * none. It stays open for the next question: Bun does not end the read of a destroyed stream, and that read would take
 * the next answer.
 */
export function openTerminal(): Promise<Terminal | undefined> {
  opened ??= openStreams();
  return opened;
}

async function openStreams(): Promise<Terminal | undefined> {
  const { stdin, stderr } = process;
  if (stdin.isTTY && stderr.isTTY) return { input: stdin, output: stderr };
  const { openSync } = await import("node:fs");
  const { ReadStream, WriteStream } = await import("node:tty");
  try {
    return {
      input: stdin.isTTY ? stdin : new ReadStream(openSync("/dev/tty", "r")),
      output: stderr.isTTY ? stderr : new WriteStream(openSync("/dev/tty", "w")),
    };
  } catch {
    return undefined;
  }
}

/**
 * Asks with a signal that is the question's own: after its answer, a question still listens to its signal, and would print a
 * line into the screen of a push that ends. Throws the reason of `signal`.
 */
export async function untilAnswered<T>(
  signal: AbortSignal,
  ask: (own: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const own = new AbortController();
  const end = () => own.abort(signal.reason);
  signal.addEventListener("abort", end);
  try {
    return await ask(own.signal);
  } finally {
    signal.removeEventListener("abort", end);
    signal.throwIfAborted();
  }
}
