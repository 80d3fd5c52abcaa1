/** The streams of the terminal, to ask a question there. */
export type Terminal = Disposable & {
  readonly input: NodeJS.ReadStream;
  readonly output: NodeJS.WriteStream;
};

/**
 * Opens the terminal that this process runs at, even where standard input is a pipe or standard error a file. Undefined if
 * there is none.
 */
export async function openTerminal(): Promise<Terminal | undefined> {
  const { stdin, stderr } = process;
  if (stdin.isTTY && stderr.isTTY) return { input: stdin, output: stderr, [Symbol.dispose]() {} };
  const { openSync } = await import("node:fs");
  const { ReadStream, WriteStream } = await import("node:tty");
  try {
    const input = stdin.isTTY ? stdin : new ReadStream(openSync("/dev/tty", "r"));
    const output = stderr.isTTY ? stderr : new WriteStream(openSync("/dev/tty", "w"));
    return {
      input,
      output,
      [Symbol.dispose]() {
        if (input !== stdin) input.destroy();
        if (output !== stderr) output.destroy();
      },
    };
  } catch {
    return undefined;
  }
}
