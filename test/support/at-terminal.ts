import { expect } from "bun:test";

const AT_TERMINAL = `
import fcntl, json, os, pty, signal, struct, sys, termios
dialog, name = json.loads(sys.argv[1]), sys.argv[2]
child, terminal = pty.fork()
if child == 0:
    fcntl.ioctl(0, termios.TIOCSWINSZ, struct.pack("HHHH", 24, 120, 0, 0))
    os.execvp(sys.argv[3], sys.argv[3:])
seen = b""
while True:
    try:
        piece = os.read(terminal, 65536)
    except OSError:
        break
    if not piece:
        break
    os.write(1, piece)
    seen += piece
    if dialog and dialog[0][0].encode() in seen:
        _, keys = dialog.pop(0)
        seen = b""
        if name:
            os.kill(child, getattr(signal, name))
        else:
            os.write(terminal, keys.encode().decode("unicode_escape").encode("latin-1"))
_, status = os.waitpid(child, 0)
sys.exit(os.waitstatus_to_exitcode(status) & 255)
`;

type AtTerminalOptions = {
  readonly cwd: string;
  readonly env: Readonly<Record<string, string | undefined>>;
  /** What the command prints when it waits for the keys. */
  readonly prompt: string;
  /** What is typed then, with escapes as Python has them. */
  readonly keys?: string | undefined;
  /** The prompts that come afterwards, and what is typed then. */
  readonly followUps?: readonly (readonly [prompt: string, keys: string])[];
  /** The signal that is sent instead. */
  readonly signal?: string | undefined;
};

/** Runs a command at a terminal of its own. Python's own pty.spawn would copy our standard input as well. */
export async function atTerminal(command: readonly string[], options: AtTerminalOptions) {
  const { cwd, env, prompt, keys = "", followUps = [], signal = "" } = options;
  const dialog = JSON.stringify([[prompt, keys], ...followUps]);
  const child = Bun.spawn(["python3", "-c", AT_TERMINAL, dialog, signal, ...command], {
    cwd,
    env: { TERM: "xterm", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const [screen, complaints, code] = await Promise.all([
    child.stdout.text(),
    child.stderr.text(),
    child.exited,
  ]);
  expect(complaints).toBe("");
  return { screen, code };
}
