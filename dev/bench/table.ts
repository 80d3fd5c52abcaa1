import type { Line, Summary } from "./summary.ts";

type Column = { readonly title: string; readonly cell: (line: Line) => string };

const NOTHING = "–";

const COLUMNS: readonly Column[] = [
  { title: "wall s", cell: ({ wallMs }) => fixed(wallMs && wallMs / 1000, 2) },
  { title: "× first", cell: ({ wallRatio }) => fixed(wallRatio, 2) },
  { title: "CPU s", cell: ({ cpuMs }) => fixed(cpuMs && cpuMs / 1000, 1) },
  { title: "registry's", cell: ({ registryCpuMs }) => fixed(registryCpuMs && registryCpuMs / 1000, 1) },
  { title: "RSS MB", cell: ({ peakRssBytes, daemonRssBytes }) => withDaemon(peakRssBytes, daemonRssBytes) },
  { title: "sent MB", cell: ({ sentBytes }) => megabytes(sentBytes, 1) },
  { title: "× first", cell: ({ bytesRatio }) => fixed(bytesRatio, 3) },
  { title: "written MB", cell: ({ writtenBytes }) => megabytes(writtenBytes) },
];

/** A Markdown table that can be read as it is. */
export function formatTable(summaries: readonly Summary[]): string {
  const rows = summaries.flatMap(({ title, lines }) =>
    lines.map((line) => [title, line.name, ...COLUMNS.map(({ cell }) => cell(line))]),
  );
  const head = ["case", "with", ...COLUMNS.map(({ title }) => title)];
  const widths = head.map((title, i) => Math.max(...[head, ...rows].map((row) => (row[i] ?? title).length)));
  const isText = (i: number) => i < 2;
  const pad = (text: string, i: number) =>
    isText(i) ? text.padEnd(widths[i] ?? 0) : text.padStart(widths[i] ?? 0);
  const line = (row: readonly string[]) => `| ${row.map(pad).join(" | ")} |`;
  const rule = `|${widths.map((width, i) => (isText(i) ? "-".repeat(width + 2) : `${"-".repeat(width + 1)}:`)).join("|")}|`;
  const remarks = summaries.flatMap(({ title, lines }) =>
    lines.flatMap(({ name, remark }) => (remark === undefined ? [] : [`${title}, ${name}: ${remark}`])),
  );
  return [line(head), rule, ...rows.map(line), ...(remarks.length > 0 ? ["", ...remarks] : [])].join("\n");
}

function fixed(value: number | undefined, digits: number): string {
  return value === undefined ? NOTHING : value.toFixed(digits);
}

function megabytes(bytes: number | undefined, digits = 0): string {
  return fixed(bytes && bytes / 1e6, digits);
}

function withDaemon(client: number | undefined, daemon: number | undefined): string {
  return daemon === undefined ? megabytes(client) : `${megabytes(client)} + ${megabytes(daemon)}`;
}
