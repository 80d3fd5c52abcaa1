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
 * Asks a question with a signal of its own, which aborts with `signal` and at Ctrl-D. By itself, clack stops reading at
 * Ctrl-D and waits for ever. After the answer it still listens to its signal, and would write a line break into the
 * screen of a push that is interrupted. Throws the reason of `signal`.
 */
export async function askOnce<T>(
  { input }: Terminal,
  signal: AbortSignal,
  question: (own: AbortSignal) => Promise<T>,
): Promise<T> {
  signal.throwIfAborted();
  const own = new AbortController();
  const end = () => own.abort(signal.reason);
  const onKey = (_: unknown, { ctrl, name }: { ctrl?: boolean; name?: string }) => {
    if (ctrl && name === "d") end();
  };
  signal.addEventListener("abort", end);
  input.on("keypress", onKey);
  try {
    return await question(own.signal);
  } finally {
    input.off("keypress", onKey);
    signal.removeEventListener("abort", end);
    signal.throwIfAborted();
  }
}
