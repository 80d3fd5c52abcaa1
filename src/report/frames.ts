/** Synchronized output: terminals that know it draw a frame at once, and others ignore it. */
const [BEGIN_FRAME, END_FRAME] = ["\x1b[?2026h", "\x1b[?2026l"];
/** No line may wrap, even if the terminal has just become narrower. */
const [NO_WRAP, WRAP] = ["\x1b[?7l", "\x1b[?7h"];
const [HIDE_CURSOR, SHOW_CURSOR] = ["\x1b[?25l", "\x1b[?25h"];
const [ERASE_REST_OF_LINE, ERASE_BELOW, HOME] = ["\x1b[K", "\x1b[J", "\x1b[H"];

/** The part of a terminal that the screen uses. */
export type Terminal = Pick<NodeJS.WriteStream, "columns" | "rows" | "write" | "on" | "off">;

/** The last lines of a terminal, which are replaced again and again. */
export type Frames = {
  /** Replaces the last frame. @param above lines that stay above the new one */
  show(lines: readonly string[], above?: readonly string[]): void;
  isShown(): boolean;
  /** Lets everything scroll out of sight. The next frame is drawn at the top. */
  scrollAway(): void;
  /** Leaves the last frame where it is, and shows the cursor. */
  leave(): void;
  /** Returns the escape code that shows the cursor. Empty if the cursor is not hidden. */
  farewell(): string;
};

export function framesOn(terminal: Terminal): Frames {
  /** The number of lines in the frame. The cursor is below them. */
  let shown = 0;
  let isHidden = false;
  return {
    show(lines, above = []) {
      const up = shown > 0 ? `\x1b[${shown}A\r` : "\r";
      // Erase first: after a line as wide as the terminal, the cursor is on its last character.
      const stay = above.length > 0 ? `${ERASE_BELOW}${above.map((line) => `${line}\n`).join("")}` : "";
      const frame = lines.map((line) => `${ERASE_REST_OF_LINE}${line}\n`).join("");
      const cursor = isHidden || lines.length === 0 ? "" : HIDE_CURSOR;
      isHidden ||= lines.length > 0;
      shown = lines.length;
      terminal.write(
        `${BEGIN_FRAME}${cursor}${up}${stay}${NO_WRAP}${frame}${WRAP}${ERASE_BELOW}${END_FRAME}`,
      );
    },
    isShown: () => shown > 0,
    scrollAway() {
      terminal.write(`${"\n".repeat(terminal.rows || 24)}${HOME}`);
      shown = 0;
    },
    leave() {
      if (isHidden) terminal.write(SHOW_CURSOR);
      isHidden = false;
      shown = 0;
    },
    farewell: () => (isHidden ? SHOW_CURSOR : ""),
  };
}
