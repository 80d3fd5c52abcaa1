import type { Column } from "./matrix-columns.ts";

/** What came out: rows by fault, and in each the cells by column. */
export type Results = ReadonlyMap<string, ReadonlyMap<Column, string>>;

/** The results as a table for people, one for each layout. */
export function formatTable(title: string, columns: readonly Column[], results: Results): string {
  const layouts = Map.groupBy(columns, ({ layout }) => layout);
  return [...layouts].map(([layout, own]) => formatLayout(`${title}, ${layout}`, own, results)).join("\n");
}

function formatLayout(title: string, columns: readonly Column[], results: Results): string {
  const lines = [
    [title, ...columns.map(({ name }) => name)],
    ...[...results].map(([row, cells]) => [row, ...columns.map((column) => cells.get(column) ?? "-")]),
  ];
  const widths = lines[0]?.map((_, i) => Math.max(...lines.map((line) => line[i]?.length ?? 0))) ?? [];
  return lines
    .map(
      (line) =>
        `${line
          .map((cell, i) => cell.padEnd(widths[i] ?? 0))
          .join("  ")
          .trimEnd()}\n`,
    )
    .join("");
}
