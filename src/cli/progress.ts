import { writeSync } from "node:fs";
import { PushError } from "../errors.ts";
import { workflowCommand } from "../report/github.ts";
import type { View } from "../report/view.ts";
import { type Environment, invalidValue, setting } from "./values.ts";

/** The ways to show progress. `auto` draws in place on a terminal, and prints lines elsewhere. */
export const PROGRESS = ["auto", "tty", "plain", "json", "quiet"] as const;

export type Progress = (typeof PROGRESS)[number];

/** Reads `--progress` and `--quiet`. Throws `USAGE`. */
export function progressOf(flags: { progress?: string; quiet?: true }, env: Environment): Progress {
  const { name, text } = setting("--progress", flags.progress, "CHUNKPUSH_PROGRESS", env);
  const found = PROGRESS.find((each) => each === text);
  if (text !== undefined && found === undefined) throw invalidValue({ name, text }, PROGRESS.join(", "));
  if (flags.quiet && flags.progress !== undefined && found !== "quiet")
    throw new PushError("USAGE", `--quiet and --progress ${text} were both given.`, {
      hint: "Leave one of them out.",
    });
  return flags.quiet ? "quiet" : (found ?? "auto");
}

/** Tells whether the arguments ask for JSON, even if they are invalid otherwise. */
export function wantsJson(args: readonly string[], env: Environment): boolean {
  const at = args.findLastIndex((arg) => arg === "--progress" || arg.startsWith("--progress="));
  if (args.includes("-q") || args.includes("--quiet")) return false;
  if (at < 0) return env["CHUNKPUSH_PROGRESS"] === "json";
  return args[at] === "--progress=json" || (args[at] === "--progress" && args[at + 1] === "json");
}

export type ViewOptions = {
  readonly targets: readonly string[];
  readonly isDebug: boolean;
};

type Streams = Pick<NodeJS.Process, "stderr"> & { readonly env: Environment };

/** Opens the view of a push, which writes to standard error. */
export async function openView(
  progress: Progress,
  { stderr, env }: Streams,
  options: ViewOptions,
): Promise<View> {
  const write = (line: string) => stderr.write(`${line}\n`);
  const isTerminal = stderr.isTTY === true;
  if (progress === "json") return (await import("../report/json.ts")).jsonView(write, options.isDebug);
  if (isTerminal && (progress === "tty" || (progress === "auto" && canRewrite(env)))) {
    const { openScreen } = await import("../report/screen.ts");
    const screen = openScreen(stderr, {
      ...options,
      isColored: !env["NO_COLOR"] && env["TERM"] !== "dumb",
      isUnicode: isUnicode(env),
    });
    // A second Ctrl-C exits at once.
    const onExit = () => writeSync(stderr.fd, screen.farewell());
    process.on("exit", onExit);
    // Ctrl-Z: a handler replaces the default action, so it has to stop the process.
    process.on("SIGTSTP", () => {
      screen.leave();
      process.kill(process.pid, "SIGSTOP");
    });
    return screen;
  }
  const { plainView } = await import("../report/plain.ts");
  const inActions = env["GITHUB_ACTIONS"] === "true";
  if (progress !== "quiet") {
    const view = plainView(write, { ...options, isTerminal });
    return inActions ? grouped(view, write, options.targets) : view;
  }
  // A wait for a password is shown as well.
  const writeWarning = (line: string) => /^(?:Warning:|Waiting for )/.test(line) && write(line);
  return plainView(writeWarning, { ...options, isDebug: false, isTerminal });
}

/** Folds the lines of each target into a group of GitHub Actions. Its result is printed below the group. */
function grouped(view: View, write: (line: string) => unknown, targets: readonly string[]): View {
  let published = 0;
  let isOpen = false;
  const close = () => {
    if (isOpen) write(workflowCommand("endgroup"));
    isOpen = false;
  };
  return {
    ...view,
    report(event) {
      const isPushed = event.type === "pushed";
      if (isPushed) close();
      else if (!isOpen && event.type !== "notice" && published < targets.length) {
        write(workflowCommand("group", `Push ${targets[published] ?? ""}`));
        isOpen = true;
      }
      if (isPushed) published++;
      view.report(event);
    },
    [Symbol.dispose]() {
      close();
      view[Symbol.dispose]();
    },
  };
}

/** Tells whether to redraw in place. CI systems may have a terminal, but log everything that is written to it. */
function canRewrite(env: Environment): boolean {
  return env["TERM"] !== "dumb" && !env["CI"];
}

/** Tells whether the terminal shows more than ASCII. Most do, even without a locale, as in containers. */
function isUnicode(env: Environment): boolean {
  const locale = env["LC_ALL"] || env["LC_CTYPE"] || env["LANG"];
  return env["TERM"] !== "linux" && (!locale || /utf-?8/i.test(locale));
}
