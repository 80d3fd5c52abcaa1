import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join, posix } from "node:path";
import { PAGES, proseOf, ROOT, readPage } from "./pages.ts";

/** The anchors that GitHub gives a page's headings. */
function anchorsOf(text: string): string[] {
  const headings = text.replace(/^```[\s\S]*?^```/gm, "").matchAll(/^#{1,6} (.+)$/gm);
  return [...headings].map(([, heading = ""]) =>
    heading
      .replace(/\[([^\]]*)\]\([^)]*\)/g, "$1")
      .toLowerCase()
      .replace(/[^\p{L}\p{N}_ -]/gu, "")
      .replaceAll(" ", "-"),
  );
}

/** Returns the relative links of a page that lead nowhere. */
async function brokenLinks(page: string): Promise<string[]> {
  const links = proseOf(await readPage(page)).matchAll(/\]\(([^)\s]+)\)/g);
  const broken: string[] = [];
  for (const [, link = ""] of links) {
    if (/^[a-z]+:/.test(link)) continue;
    const [path = "", anchor] = link.split("#");
    const file = path === "" ? page : posix.join(posix.dirname(page), path);
    if (!existsSync(join(ROOT, file))) broken.push(link);
    else if (anchor !== undefined && !anchorsOf(await readPage(file)).includes(anchor)) broken.push(link);
  }
  return broken;
}

describe("every relative link and anchor leads somewhere", () => {
  test.each(PAGES)("in %s", async (page) => {
    expect(await brokenLinks(page)).toEqual([]);
  });
});

test("docs/README.md leads to every page of docs", async () => {
  const index = await readPage("docs/README.md");
  const missing = PAGES.filter((page) => page.startsWith("docs/") && page !== "docs/README.md").filter(
    (page) => !index.includes(`](${page.slice("docs/".length)})`),
  );
  expect(missing).toEqual([]);
});

test("README.md is a front door of 600 to 900 words", async () => {
  const words = (await readPage("README.md")).split(/\s+/).filter((word) => /[\p{L}\p{N}]/u.test(word));
  expect(words.length).toBeGreaterThanOrEqual(600);
  expect(words.length).toBeLessThanOrEqual(900);
});

describe("a picture of the docs", () => {
  const pictures = [...new Bun.Glob("docs/*.svg").scanSync(ROOT)];

  test.each(pictures)("%s runs no script, loads nothing and has a title", async (path) => {
    const text = await Bun.file(join(ROOT, path)).text();
    expect(text).not.toMatch(/<script|<foreignObject|<image|@import|url\(|\son\w+=|href="(?!#)/i);
    expect(text).toMatch(/<title[ >]/);
    expect(text.length).toBeLessThan(200_000);
  });
});
