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
 * Asks a question that ends at Ctrl-D as it does at Ctrl-C. By itself, clack stops reading there, waits for ever, and the
 * terminal shows what is typed.
 */
export async function endable<T>(
  { input }: Terminal,
  signal: AbortSignal,
  question: (signal: AbortSignal) => Promise<T>,
): Promise<T> {
  const end = new AbortController();
  const onKey = (_: unknown, { ctrl, name }: { ctrl?: boolean; name?: string }) => {
    if (ctrl && name === "d") end.abort();
  };
  input.on("keypress", onKey);
  try {
    return await question(AbortSignal.any([signal, end.signal]));
  } finally {
    input.off("keypress", onKey);
  }
}
