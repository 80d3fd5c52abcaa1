/** The table of docs/sources.md, which the tests write and check. */
import { join } from "node:path";
import { manifestsOf, type RegistryContent } from "./registry-content.ts";
import type { SourceForm } from "./source-forms.ts";

const PAGE = join(import.meta.dir, "../../docs/sources.md");
const HEAD = [
  "Program",
  "Version",
  "Form",
  "Index",
  "Digest",
  "Attestations",
  "Annotations",
  "Config",
  "Layers",
];

/** The cells of a row, without the version, which differs from machine to machine. */
export type TableRow = { readonly cells: readonly string[]; readonly version: string };

/** Compares what chunkpush brought with what the program's own push brought. */
export function tableRow(
  { program, form }: SourceForm,
  version: string,
  ours: RegistryContent,
  own: RegistryContent,
): TableRow {
  const tell = (of: (content: RegistryContent) => readonly unknown[], changed: string) => {
    const [here, there] = [manifestsOf(ours).flatMap(of), manifestsOf(own).flatMap(of)];
    if (there.length === 0) return "–";
    if (here.length === 0) return "absent";
    return Bun.deepEquals(here, there) ? "kept" : changed;
  };
  const cells = [
    program,
    form,
    tell(({ children }) => children.map(({ digest }) => digest), "changed"),
    ours.digest === own.digest ? "kept" : "new",
    tell(({ children }) => children.filter(({ isAttestation }) => isAttestation), "changed"),
    tell(
      ({ annotations, layers }) => [annotations, ...layers.map((layer) => layer.annotations)].filter(hasAny),
      "changed",
    ),
    tell(({ config }) => (config === undefined ? [] : [config]), "changed"),
    tell(({ layers }) => layers.map(({ digest }) => digest), "compressed"),
  ];
  return { cells, version };
}

/** Writes the rows in place of those that the page has. */
export async function writeTable(rows: readonly TableRow[]): Promise<void> {
  const lines = rows.map(({ cells: [program = "", ...rest], version }) => line([program, version, ...rest]));
  const table = [line(HEAD), line(HEAD.map(() => "---")), ...lines].join("\n");
  const page = await Bun.file(PAGE).text();
  await Bun.write(
    PAGE,
    page.replace(/^\| Program .*(?:\n\|.*)*/m, () => table),
  );
}

/** The cells of the rows that the page has. */
export async function committedCells(): Promise<string[][]> {
  const [table = ""] = /^\| Program .*(?:\n\|.*)*/m.exec(await Bun.file(PAGE).text()) ?? [];
  return table.split("\n").map((row) => {
    const [program = "", , ...rest] = row
      .split("|")
      .slice(1, -1)
      .map((cell) => cell.trim());
    return [program, ...rest];
  });
}

function hasAny(annotations: Readonly<Record<string, string>>): boolean {
  return Object.keys(annotations).length > 0;
}

function line(cells: readonly string[]): string {
  return `| ${cells.join(" | ")} |`;
}
