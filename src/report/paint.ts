/** The size and abilities of a terminal. */
export type Look = {
  readonly columns: number;
  readonly rows: number;
  readonly isColored: boolean;
  /** False: only ASCII. */
  readonly isUnicode: boolean;
};

const COLORS = { green: 32, yellow: 33, cyan: 36, bold: 1, dim: 2 } as const;

export type Color = keyof typeof COLORS;

/** Colors a text. Its width stays the same. */
export function paint(text: string, color: Color, { isColored }: Look): string {
  return isColored && text !== "" ? `\x1b[${COLORS[color]}m${text}\x1b[0m` : text;
}

const SYMBOLS = {
  unicode: { done: "✓", up: "↑", retry: "↻", waiting: "·", arrow: "→", dot: "·", cut: "…" },
  ascii: { done: "+", up: "^", retry: "*", waiting: ".", arrow: "->", dot: "|", cut: "~" },
} as const;

export function symbolsOf({ isUnicode }: Pick<Look, "isUnicode">) {
  return isUnicode ? SYMBOLS.unicode : SYMBOLS.ascii;
}

const SPINNER = ["⠋", "⠙", "⠹", "⠸", "⠼", "⠴", "⠦", "⠧", "⠇", "⠏"];
const ASCII_SPINNER = ["-", "\\", "|", "/"];
const SPINNER_MS = 100;

export function spinner(nowMs: number, { isUnicode }: Look): string {
  const frames = isUnicode ? SPINNER : ASCII_SPINNER;
  return frames[Math.floor(nowMs / SPINNER_MS) % frames.length] as string;
}

/** Cuts a text without colors to a width in cells. Wide characters take two. */
export function clip(text: string, width: number, look: Look): string {
  if (Bun.stringWidth(text) <= width) return text;
  const { cut } = symbolsOf(look);
  let short = "";
  let cells = 1;
  for (const character of text) {
    cells += Bun.stringWidth(character);
    if (cells > width) break;
    short += character;
  }
  return width > 0 ? short + cut : "";
}

/** Pads a text with spaces to a width in cells. */
export function pad(text: string, width: number): string {
  return text + " ".repeat(Math.max(0, width - Bun.stringWidth(text)));
}

/** Joins parts from the left, as many as fit into a width. Empty parts are left out. */
export function fit(parts: readonly string[], width: number, gap = "  "): string {
  let line = "";
  for (const part of parts) {
    if (part === "") continue;
    const longer = line === "" ? part : `${line}${gap}${part}`;
    if (Bun.stringWidth(longer) > width) break;
    line = longer;
  }
  return line;
}

const EIGHTHS = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"];

/** Draws a bar. @param share from 0 to 1 */
export function smoothBar(share: number, width: number, { isUnicode }: Look): string {
  const eighths = Math.round(Math.min(1, Math.max(0, share)) * width * 8);
  const full = Math.floor(eighths / 8);
  if (!isUnicode) return "#".repeat(full).padEnd(width, "-");
  return ("█".repeat(full) + (EIGHTHS[eighths % 8] as string)).padEnd(width, "░");
}

export type Chunks = {
  readonly doneBytes: number;
  readonly keptBytes: number;
  readonly chunkBytes: number;
  readonly totalBytes: number;
  readonly isRetried: boolean;
};

/**
 * Draws a blob with a cell for each chunk, or for several chunks if there are more than cells. A cell is confirmed,
 * under way, waiting for a retry, or not begun.
 */
export function chunkBar(chunks: Chunks, width: number, look: Look): string {
  const { doneBytes, keptBytes, chunkBytes, totalBytes, isRetried } = chunks;
  const cells = Math.max(1, Math.min(width, Math.ceil(totalBytes / Math.max(1, chunkBytes))));
  const cellBytes = totalBytes / cells;
  // The last chunk has a whole cell even if it is smaller.
  const full =
    keptBytes >= totalBytes ? cells : Math.min(cells - 1, Math.floor(keptBytes / cellBytes + 1e-6));
  const begun = isRetried ? full + 1 : Math.max(full + 1, Math.ceil(doneBytes / cellBytes - 1e-6));
  const [filled, half, again, empty] = look.isUnicode ? ["■", "◧", "▣", "□"] : ["#", "=", "!", "-"];
  const running = Math.min(cells, begun) - full;
  return [
    paint((filled as string).repeat(full), "cyan", look),
    paint(((isRetried ? again : half) as string).repeat(running), isRetried ? "yellow" : "cyan", look),
    paint((empty as string).repeat(cells - full - running), "dim", look),
  ].join("");
}
