import { join } from "node:path";

export const ROOT = join(import.meta.dir, "../..");

/** The pages that users read, as paths from the root. */
export const PAGES = ["*.md", "docs/*.md"]
  .flatMap((pattern) => [...new Bun.Glob(pattern).scanSync(ROOT)])
  .map((path) => path.replaceAll("\\", "/"))
  .sort();

export function readPage(path: string): Promise<string> {
  return Bun.file(join(ROOT, path)).text();
}

export type Block = {
  readonly language: string;
  readonly code: string;
  /** Why the tests do not run it, as the comment in front of it says. */
  readonly notRun: string | undefined;
};

/** Reads the fenced blocks of a page. */
export function blocksOf(text: string): Block[] {
  const blocks = text.matchAll(/(?:^ *<!-- not run: (.+) -->\n)?^( *)```(\w*)\n([\s\S]*?)^\2```$/gm);
  return [...blocks].map(([, notRun, indent = "", language = "", code = ""]) => ({
    language,
    code: code.replaceAll(new RegExp(`^${indent}`, "gm"), ""),
    notRun,
  }));
}

/** Returns the page without its blocks and inline code. */
export function proseOf(text: string): string {
  return text.replace(/^( *)```[\s\S]*?^\1```$/gm, "").replace(/`[^`\n]*`/g, "");
}
