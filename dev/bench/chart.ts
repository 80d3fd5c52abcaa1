import type { Summary } from "./summary.ts";

const WIDTH = 760;
const LABEL_WIDTH = 190;
const BAR_WIDTH = 420;
const ROW = 22;
const TITLE_ROW = 34;
const MARGIN = 12;

/** Mid tones that can be read on white and on near-black; text follows the reader's theme where the viewer says it. */
const STYLE = `
  text { font: 13px system-ui, sans-serif; fill: #57606a; }
  .title { font-weight: 600; fill: #24292f; }
  .own { fill: #2f81f7; }
  .other { fill: #8c959f; }
  @media (prefers-color-scheme: dark) {
    text { fill: #9198a1; }
    .title { fill: #e6edf3; }
    .other { fill: #6e7681; }
  }`;

/** A bar for every contender's time, case by case, each case to its own scale. */
export function drawChart(summaries: readonly Summary[], caption: string): string {
  const shapes: string[] = [];
  let y = MARGIN;
  for (const { title, lines } of summaries) {
    const timed = lines.flatMap(({ wallMs, ...line }) => (wallMs === undefined ? [] : [{ ...line, wallMs }]));
    if (timed.length === 0) continue;
    const longest = Math.max(...timed.map(({ wallMs }) => wallMs));
    shapes.push(`<text class="title" x="${MARGIN}" y="${y + 20}">${escapeXml(title)}</text>`);
    y += TITLE_ROW;
    for (const { name, wallMs, wallRatio } of timed) {
      const width = Math.max(1, Math.round((wallMs / longest) * BAR_WIDTH));
      const kind = name.startsWith("chunkpush") ? "own" : "other";
      const seconds = `${(wallMs / 1000).toFixed(wallMs < 1000 ? 2 : 1)} s`;
      const ratio = wallRatio === undefined || wallRatio === 1 ? "" : ` (× ${wallRatio.toFixed(2)})`;
      shapes.push(
        `<text x="${LABEL_WIDTH}" y="${y + 14}" text-anchor="end">${escapeXml(name)}</text>`,
        `<rect class="${kind}" x="${LABEL_WIDTH + 8}" y="${y + 2}" width="${width}" height="${ROW - 6}" rx="2"/>`,
        `<text x="${LABEL_WIDTH + 16 + width}" y="${y + 14}">${seconds}${ratio}</text>`,
      );
      y += ROW;
    }
  }
  shapes.push(`<text x="${MARGIN}" y="${y + 26}">${escapeXml(caption)}. ×: of the first bar</text>`);
  const height = y + 26 + MARGIN;
  return [
    `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${WIDTH} ${height}" width="${WIDTH}" height="${height}" role="img">`,
    `<title>${escapeXml(caption)}</title>`,
    `<style>${STYLE}\n</style>`,
    ...shapes,
    "</svg>\n",
  ].join("\n");
}

function escapeXml(text: string): string {
  return text.replace(/[&<>"]/g, (character) => `&#${character.charCodeAt(0)};`);
}
