import type { Frame, Run } from "./screen.ts";

/** Of a character, in pixels. */
const WIDTH = 8;
const HEIGHT = 18;
const PADDING = 16;
const LAST_FRAME_MS = 5000;

/** Follows the reader's theme. The animation is CSS: GitHub runs no script in an image. */
const STYLE = `
  text { font: 13px ui-monospace, SFMono-Regular, Menlo, Consolas, "DejaVu Sans Mono", monospace; fill: #24292f; white-space: pre; }
  .screen { fill: #f6f8fa; stroke: #d0d7de; }
  .b { font-weight: 700; } .d { fill: #6e7781; }
  .c1 { fill: #cf222e; } .c2 { fill: #1a7f37; } .c3 { fill: #9a6700; } .c4 { fill: #0969da; } .c5 { fill: #8250df; } .c6 { fill: #1b7c83; }
  @media (prefers-color-scheme: dark) {
    text { fill: #e6edf3; }
    .screen { fill: #161b22; stroke: #30363d; }
    .d { fill: #8b949e; }
    .c1 { fill: #ff7b72; } .c2 { fill: #3fb950; } .c3 { fill: #d29922; } .c4 { fill: #58a6ff; } .c5 { fill: #bc8cff; } .c6 { fill: #39c5cf; }
  }
  @media (prefers-reduced-motion: reduce) { .film { animation: none; } }`;

export type RecordingSize = { readonly columns: number; readonly rows: number };

/**
 * Draws a recording as one SVG. The frames stand side by side as on a film, which moves behind a window. Without the
 * animation, the last frame shows.
 */
export function drawRecording(
  frames: readonly Frame[],
  { columns, rows }: RecordingSize,
  title: string,
): string {
  const [width, height] = [columns * WIDTH, rows * HEIGHT];
  const lines = new Map<string, string>();
  const film = frames.map((frame, i) => {
    const uses = frame.lines.slice(0, rows).flatMap((runs, row) => {
      if (runs.length === 0) return [];
      const drawn = runs.map(drawRun).join("");
      const id = lines.get(drawn) ?? `l${lines.size}`;
      lines.set(drawn, id);
      return [`<use href="#${id}" x="${i * width}" y="${row * HEIGHT}"/>`];
    });
    return uses.join("");
  });
  const totalMs = (frames.at(-1)?.atMs ?? 0) + LAST_FRAME_MS;
  const steps = frames.map(
    ({ atMs }, i) => `${((atMs / totalMs) * 100).toFixed(2)}% { transform: translateX(${-i * width}px); }`,
  );
  const [outerWidth, outerHeight] = [width + 2 * PADDING, height + 2 * PADDING];
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${outerWidth} ${outerHeight}" width="${outerWidth}" height="${outerHeight}" role="img">`,
    `<title>${escapeXml(title)}</title>`,
    `<style>${STYLE}`,
    `  .film { animation: play ${(totalMs / 1000).toFixed(1)}s step-end infinite; }`,
    `  @keyframes play { ${steps.join(" ")} }`,
    "</style>",
    "<defs>",
    ...[...lines].map(([drawn, id]) => `<text id="${id}" y="13" xml:space="preserve">${drawn}</text>`),
    "</defs>",
    `<rect class="screen" x="0.5" y="0.5" width="${outerWidth - 1}" height="${outerHeight - 1}" rx="8"/>`,
    `<svg x="${PADDING}" y="${PADDING}" width="${width}" height="${height}">`,
    `<g class="film" transform="translate(${-(frames.length - 1) * width} 0)">`,
    ...film,
    "</g></svg></svg>\n",
  ].join("\n");
}

/** Fonts differ in width: each run starts at its own column, and is as wide as it is in a terminal. */
function drawRun({ column, text, style }: Run): string {
  const width = Bun.stringWidth(text) * WIDTH;
  const classes = style === "" ? "" : ` class="${style}"`;
  // Fonts lack the blocks of bars, and others stand in for them.
  const stretch = /^[ -~]*$/.test(text) ? "" : ' lengthAdjust="spacingAndGlyphs"';
  return `<tspan x="${column * WIDTH}" textLength="${width}"${stretch}${classes}>${escapeXml(text)}</tspan>`;
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
