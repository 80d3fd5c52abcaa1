import { formatElapsed, toPrintable } from "../format.ts";
import {
  type DescribeOptions,
  describePushed,
  describeRequest,
  describeResumed,
  describeWarnings,
} from "./describe.ts";
import type { PushEvent } from "./events.ts";
import { framesOn, type Terminal } from "./frames.ts";
import { type Heading, layOut } from "./layout.ts";
import { type Look, symbolsOf } from "./paint.ts";
import { applyEvent, newState, type PushState } from "./state.ts";
import { totalsOf } from "./totals.ts";
import type { View } from "./view.ts";

/** Ten frames a second are smooth enough, and cost little. */
const FRAME_MS = 100;

/** No frame is drawn until a terminal has had its size for so long. */
const RESIZE_MS = 300;

export type ScreenOptions = Heading & Pick<Look, "isColored" | "isUnicode"> & DescribeOptions;

/** A view that redraws itself in place. */
export type Screen = View & {
  /** Returns the escape code that shows the cursor, for an exit in the middle. Empty if the cursor is not hidden. */
  farewell(): string;
  /** Leaves the terminal to a shell before the process is stopped. The next frame is drawn below the shell's output. */
  leave(): void;
};

/** Shows the blobs and the total of a push in place, at the end of a terminal. Warnings stay above them. */
export function openScreen(terminal: Terminal, options: ScreenOptions): Screen {
  const state = newState();
  const startMs = performance.now();
  const frames = framesOn(terminal);
  const resizes = watchSize(terminal, (isNarrower) => {
    // The terminal may have wrapped lines of the last frame, so the height of that is unknown.
    if (isNarrower && frames.isShown()) frames.scrollAway();
    draw();
  });
  let isPaused = false;
  let hasBegun = false;
  /** Lines that wait until something can be drawn. */
  let held: string[] = [];

  const layout = (isOver: boolean) => {
    const { columns = 80, rows = 24 } = terminal;
    const look = { ...options, columns: columns || 80, rows: rows || 24 };
    return layOut(state, options, look, performance.now(), isOver);
  };
  function draw(above: readonly string[] = []): void {
    held.push(...above);
    if (isPaused || resizes.isUnsettled()) return;
    if (hasBegun) frames.show(layout(false), held);
    else for (const line of held) terminal.write(`${line}\n`);
    held = [];
  }
  /** Draws the last frame, which stays. */
  function freeze(below: readonly string[]): void {
    resizes.settle();
    frames.show([], [...held, ...layout(true), ...below]);
    held = [];
    hasBegun = false;
  }
  const timer = setInterval(() => hasBegun && draw(), FRAME_MS);
  // The timer must not keep the process alive.
  timer.unref();

  return {
    report(event) {
      applyEvent(state, event, performance.now());
      // A notice may come while a prompt is on the screen.
      hasBegun ||= event.type !== "notice";
      if (event.type === "pushed")
        return freeze(describePushed(event, state, `${symbolsOf(options).done} Pushed`));
      const above = linesAbove(event, state, performance.now() - startMs, options);
      if (above.length > 0) draw(above);
    },
    print: (line) => draw([toPrintable(line)]),
    async pauseFor(question) {
      if (frames.isShown()) frames.show([]);
      frames.leave();
      isPaused = true;
      try {
        return await question;
      } finally {
        isPaused = false;
        draw();
      }
    },
    leave: frames.leave,
    farewell: frames.farewell,
    [Symbol.dispose]() {
      clearInterval(timer);
      // The last frame shows how far a failed push came.
      if (hasBegun && frames.isShown()) freeze([]);
      resizes[Symbol.dispose]();
      frames.leave();
    },
  };
}

/** Waits for the last of many sizes. A dragged window has many, and tmux reports one after it has wrapped the lines. */
function watchSize(terminal: Terminal, onSettled: (isNarrower: boolean) => void) {
  let { columns } = terminal;
  let timer: Timer | undefined;
  const settle = () => {
    if (timer === undefined) return;
    clearTimeout(timer);
    timer = undefined;
    const isNarrower = terminal.columns < columns;
    columns = terminal.columns;
    onSettled(isNarrower);
  };
  const onResize = () => {
    clearTimeout(timer);
    timer = setTimeout(settle, RESIZE_MS);
  };
  terminal.on("resize", onResize);
  return {
    isUnsettled: () => timer !== undefined,
    settle,
    [Symbol.dispose]() {
      terminal.off("resize", onResize);
      settle();
    },
  };
}

/** Returns an event's lines that stay on the screen. */
function linesAbove(
  event: PushEvent,
  state: PushState,
  elapsedMs: number,
  options: DescribeOptions,
): string[] {
  const lines = describeWarnings(event, options);
  if (event.type === "request" && options.isDebug)
    lines.push(`${formatElapsed(elapsedMs)}  ${describeRequest(event)}`);
  if (event.type === "settled")
    lines.push(...[describeResumed(event, totalsOf(state, performance.now())) ?? []].flat());
  return lines.map(toPrintable);
}
