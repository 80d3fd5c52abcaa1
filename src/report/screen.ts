import { formatElapsed, toPrintable } from "../format.ts";
import {
  type DescribeOptions,
  describePushed,
  describeRequest,
  describeResumed,
  describeWarnings,
} from "./describe.ts";
import { type Heading, layOut } from "./layout.ts";
import type { Look } from "./paint.ts";
import { applyEvent, newState } from "./state.ts";
import { totalsOf } from "./totals.ts";
import type { View } from "./view.ts";

/** Ten frames a second are smooth enough, and cost little. */
const FRAME_MS = 100;

/** Terminals that know it show a frame at once. Others ignore it. */
const [BEGIN_FRAME, END_FRAME] = ["\x1b[?2026h", "\x1b[?2026l"];
/** A line that is too long for a terminal that was just made narrower must not wrap. */
const [NO_WRAP, WRAP] = ["\x1b[?7l", "\x1b[?7h"];
const [HIDE_CURSOR, SHOW_CURSOR] = ["\x1b[?25l", "\x1b[?25h"];
const [ERASE_REST_OF_LINE, ERASE_BELOW] = ["\x1b[K", "\x1b[J"];

/** The part of a terminal that the screen uses. */
export type Terminal = Pick<NodeJS.WriteStream, "columns" | "rows" | "write" | "on" | "off">;

export type ScreenOptions = Heading & Pick<Look, "isColored" | "isUnicode"> & DescribeOptions;

/** A view that is rewritten in place. */
export type Screen = View & {
  /** What shows the cursor again, where the process exits in the middle. Empty if it is not hidden. */
  farewell(): string;
  /** Leaves the terminal to a shell, before the process is stopped. The next frame is drawn below what that prints. */
  leave(): void;
};

/** Shows a push on a terminal, in place: what is under way, and the total. Lines that stay go above it. */
export function openScreen(terminal: Terminal, options: ScreenOptions): Screen {
  const state = newState();
  const startMs = performance.now();
  /** The lines on the screen, below which the cursor is. */
  let shown: readonly string[] = [];
  let isPaused = false;
  let isHidden = false;
  let hasBegun = false;
  let held: string[] = [];

  const lookOf = (): Look => ({
    columns: terminal.columns || 80,
    rows: terminal.rows || 24,
    isColored: options.isColored,
    isUnicode: options.isUnicode,
  });

  /** Replaces what is shown, below lines that stay. */
  function show(lines: readonly string[], above: readonly string[] = []): void {
    const { columns } = lookOf();
    // A terminal that was made narrower has broken the lines anew.
    const height = shown.reduce(
      (sum, line) => sum + Math.max(1, Math.ceil(Bun.stringWidth(line) / columns)),
      0,
    );
    const up = height > 0 ? `\x1b[${height}A\r` : "\r";
    const stay = above.map((line) => `${line}${ERASE_REST_OF_LINE}\n`).join("");
    const frame = lines.map((line) => `${line}${ERASE_REST_OF_LINE}\n`).join("");
    const cursor = isHidden || lines.length === 0 ? "" : HIDE_CURSOR;
    isHidden ||= lines.length > 0;
    terminal.write(`${BEGIN_FRAME}${cursor}${up}${stay}${NO_WRAP}${frame}${WRAP}${ERASE_BELOW}${END_FRAME}`);
    shown = lines;
  }

  function draw(above: readonly string[] = []): void {
    if (isPaused) held.push(...above);
    else if (hasBegun) show(layOut(state, options, lookOf(), performance.now()), above);
    else for (const line of above) terminal.write(`${line}\n`);
  }

  const timer = setInterval(() => {
    if (hasBegun) draw();
  }, FRAME_MS);
  // The timer must not keep the process alive.
  timer.unref();
  const onResize = () => draw();
  terminal.on("resize", onResize);

  return {
    report(event) {
      applyEvent(state, event, performance.now());
      // A prompt may be on the screen before anything is known.
      hasBegun ||= event.type !== "notice";
      if (event.type === "pushed") {
        show(
          [],
          [...layOut(state, options, lookOf(), performance.now(), true), ...describePushed(event, state)],
        );
        hasBegun = false;
        return;
      }
      const above = describeWarnings(event, options).map(toPrintable);
      if (event.type === "request" && options.isDebug)
        above.push(toPrintable(`${formatElapsed(performance.now() - startMs)}  ${describeRequest(event)}`));
      if (event.type === "settled")
        above.push(...[describeResumed(event, totalsOf(state, performance.now())) ?? []].flat());
      if (above.length > 0) draw(above);
    },
    print: (line) => draw([toPrintable(line)]),
    async pauseFor(question) {
      if (shown.length > 0) show([]);
      terminal.write(SHOW_CURSOR);
      isHidden = false;
      isPaused = true;
      try {
        return await question;
      } finally {
        isPaused = false;
        draw(held);
        held = [];
      }
    },
    leave() {
      terminal.write(`${WRAP}${SHOW_CURSOR}`);
      isHidden = false;
      shown = [];
    },
    farewell: () => (isHidden ? SHOW_CURSOR : ""),
    [Symbol.dispose]() {
      clearInterval(timer);
      terminal.off("resize", onResize);
      // Of a push that failed, the screen shows how far it came.
      if (hasBegun && shown.length > 0) show([], layOut(state, options, lookOf(), performance.now(), true));
      if (isHidden) terminal.write(SHOW_CURSOR);
      isHidden = false;
    },
  };
}
