/** A piece of a line in one style. */
export type Run = {
  /** The column of its first character, from 0. */
  readonly column: number;
  readonly text: string;
  /** CSS classes: `b` bold, `d` dim, `c1` to `c7` the colours of ANSI. */
  readonly style: string;
};

/** What the terminal shows from a moment on. */
export type Frame = {
  readonly atMs: number;
  readonly lines: readonly (readonly Run[])[];
};

type Style = { readonly bold: boolean; readonly dim: boolean; readonly colour: number };
const PLAIN: Style = { bold: false, dim: false, colour: 0 };

/** Begins "Select Graphic Rendition", which ends with an "m". */
const ESCAPE = "\u001b[";

/** Reads a screen as `tmux capture-pane -e -p` prints it. */
export function parseScreen(text: string): Run[][] {
  // tmux carries a style over to the next line.
  let style = PLAIN;
  return text.split("\n").map((line) => {
    const runs: Run[] = [];
    let column = 0;
    for (const part of `${ESCAPE}m${line}`.split(ESCAPE).slice(1)) {
      const [, codes = "", text = ""] = /^([\d;]*)m(.*)$/.exec(part) ?? [];
      // Empty in front of a line's first part only: tmux writes a reset as 0.
      if (codes !== "") style = codes.split(";").map(Number).reduce(withCode, style);
      if (text.trim() !== "") runs.push({ column, text: text.trimEnd(), style: classesOf(style) });
      column += Bun.stringWidth(text);
    }
    return runs;
  });
}

/** Applies one code of "Select Graphic Rendition". Unknown ones change nothing. */
function withCode(style: Style, code: number): Style {
  if (code === 0) return PLAIN;
  if (code === 1) return { ...style, bold: true };
  if (code === 2) return { ...style, dim: true };
  if (code === 22) return { ...style, bold: false, dim: false };
  if (code === 39) return { ...style, colour: 0 };
  if (code === 90) return { ...style, dim: true };
  if (code >= 31 && code <= 37) return { ...style, colour: code - 30 };
  if (code >= 91 && code <= 97) return { ...style, colour: code - 90 };
  return style;
}

function classesOf({ bold, dim, colour }: Style): string {
  return [bold && "b", dim && "d", colour > 0 && `c${colour}`].filter(Boolean).join(" ");
}
