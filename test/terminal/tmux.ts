import { setTimeout as sleep } from "node:timers/promises";

/** A terminal with a shell in it, on a tmux server of its own. */
export type Terminal = AsyncDisposable & {
  /** Types a line. */
  type(line: string): Promise<void>;
  /** Clears the screen, and runs a command, below which its exit code is printed. */
  run(command: string): Promise<void>;
  /** Presses keys, by tmux's names: `C-c`, `Enter`, `Down`. */
  press(...keys: string[]): Promise<void>;
  resize(columns: number, rows: number): Promise<void>;
  /** The lines on the screen, without empty ones at the end. */
  screen(): Promise<string[]>;
  /** Looks at the screen until it has what is wanted. Rejects with the screen after a minute. */
  until(what: string | RegExp): Promise<string[]>;
  isCursorShown(): Promise<boolean>;
  /** Closes the terminal under whatever runs in it. */
  close(): Promise<void>;
};

export type TerminalOptions = {
  readonly columns: number;
  readonly rows: number;
  readonly cwd: string;
  readonly env?: Readonly<Record<string, string>>;
};

/** What the last line of a command is that was typed with `run`. */
export const ENDED = /^ended \d+$/m;

const LOOK_MS = 40;
const PATIENCE_MS = 60_000;

let servers = 0;

export async function openTerminal({ columns, rows, cwd, env }: TerminalOptions): Promise<Terminal> {
  const name = `chunkpush-${process.pid}-${++servers}`;
  const tmux = async (...args: string[]) => {
    const child = Bun.spawn(["tmux", "-L", name, "-f", "/dev/null", ...args], {
      cwd,
      env: { PATH: process.env["PATH"] ?? "", HOME: cwd, LANG: "C.UTF-8", TERM: "xterm-256color", ...env },
      stdout: "pipe",
      stderr: "pipe",
    });
    const [text, complaint, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    if (code !== 0) throw new Error(`tmux ${args.join(" ")}: ${complaint}`);
    return text;
  };
  // The variables of the client are those of the shell.
  await tmux("new-session", "-d", "-x", `${columns}`, "-y", `${rows}`, "env PS1='ready ' bash --norc -i");
  // Lines that the terminal has wrapped are joined.
  const screen = async () =>
    (await tmux("capture-pane", "-p", "-J"))
      .trimEnd()
      .split("\n")
      .map((line) => line.trimEnd());
  const terminal: Terminal = {
    async type(line) {
      await tmux("send-keys", "-l", line);
      await tmux("send-keys", "Enter");
    },
    run: (command) => terminal.type(`clear; ${command}; echo "ended $?"`),
    press: async (...keys) => void (await tmux("send-keys", ...keys)),
    resize: async (width, height) => void (await tmux("resize-window", "-x", `${width}`, "-y", `${height}`)),
    screen,
    async until(what) {
      const until = performance.now() + PATIENCE_MS;
      for (;;) {
        const lines = await screen();
        const text = lines.join("\n");
        if (typeof what === "string" ? text.includes(what) : what.test(text)) return lines;
        if (performance.now() > until) throw new Error(`The screen has no ${what}:\n${text}`);
        await sleep(LOOK_MS);
      }
    },
    isCursorShown: async () => (await tmux("display-message", "-p", "#{cursor_flag}")).trim() === "1",
    close: async () => void (await tmux("kill-server").catch(() => "")),
    [Symbol.asyncDispose]: () => terminal.close(),
  };
  await terminal.until(/^ready/m);
  return terminal;
}
