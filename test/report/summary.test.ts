import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import type { BlobState, PushEvent } from "../../src/report/events.ts";
import { markdownSummary } from "../../src/report/summary.ts";

const DIGEST = digestOf("");

function summaryOf(events: readonly PushEvent[]): string {
  const summary = markdownSummary();
  for (const event of events) summary.report(event);
  return summary.text().replace(/\d\\\.\d s/g, "TIME");
}

function blob(id: string, state: BlobState, title = `layer ${id}`): PushEvent {
  return { type: "blob", id, title, ...state };
}

function planned(...ids: string[]): PushEvent {
  return { type: "planned", blobs: ids.map((id) => ({ id, title: `layer ${id}` })) };
}

function pushed(reference = "r.example/my/app:v1"): PushEvent {
  return { type: "pushed", reference, digest: DIGEST, sentBytes: 12e6, presentBytes: 1e3, durationMs: 4e3 };
}

function rowsOf(text: string): string[] {
  return text.split("\n").filter((line) => line.startsWith("| ") && !/^\| (?:Blob|---)/.test(line));
}

describe("The summary of a push in GitHub Actions", () => {
  test("has a heading, the reference with its digest, the totals and a table of the blobs", () => {
    const text = summaryOf([
      planned("a", "b", "c", "d", "e"),
      blob("b", { state: "compressing", doneBytes: 0, totalBytes: 40e6 }),
      blob("a", { state: "done", how: "present", sizeBytes: 999 }),
      blob("b", { state: "ready", how: "compressed", totalBytes: 40e6, sizeBytes: 12e6 }),
      blob("b", { state: "uploading", doneBytes: 0, keptBytes: 0, chunkBytes: 5e6, totalBytes: 12e6 }),
      blob("b", { state: "done", how: "sent", sizeBytes: 12e6, sentBytes: 12e6 }),
      blob("c", { state: "ready", how: "cached", totalBytes: 18e6, sizeBytes: 18e6 }),
      blob("c", { state: "done", how: "sent", sizeBytes: 18e6, sentBytes: 10e6 }),
      blob("d", { state: "done", how: "mounted", sizeBytes: undefined, from: "my/base" }),
      blob("e", { state: "unneeded" }),
      pushed(),
    ]);
    expect(text).toBe(`### Pushed r\\.example\\/my\\/app\\:v1

\`r.example/my/app:v1@${DIGEST}\`

12.0 MB sent, 1.0 kB already in the registry, in 4.0 s.

| Blob | Size | Content | Registry | Sent | Time |
| --- | ---: | --- | --- | ---: | ---: |
| layer a | 999 B |  | already in the registry |  |  |
| layer b | 12\\.0 MB | compressed from 40\\.0 MB | uploaded | 12\\.0 MB | TIME |
| layer c | 18\\.0 MB | cached | resumed at 8\\.0 MB | 10\\.0 MB |  |
| layer d |  |  | mounted from my\\/base |  |  |
`);
  });

  test("has a table for each target", () => {
    const text = summaryOf([
      blob("a", { state: "done", how: "sent", sizeBytes: 5, sentBytes: 5 }),
      pushed(),
      blob("a", { state: "done", how: "present", sizeBytes: 5 }),
      pushed("other.example/app:v1"),
    ]);
    expect(text.match(/^### .*$/gm)).toEqual([
      "### Pushed r\\.example\\/my\\/app\\:v1",
      "### Pushed other\\.example\\/app\\:v1",
    ]);
    expect(rowsOf(text)).toEqual([
      "| layer a | 5 B |  | uploaded | 5 B |  |",
      "| layer a | 5 B |  | already in the registry |  |  |",
    ]);
  });

  test("has a sentence instead of an empty table for another tag of the same repository", () => {
    const first = blob("a", { state: "done", how: "sent", sizeBytes: 5, sentBytes: 5 });
    const text = summaryOf([planned("a"), first, pushed(), planned("a"), pushed("r.example/my/app:latest")]);
    expect(text.match(/^\| Blob/gm)).toHaveLength(1);
    expect(text).toEndWith(`@${DIGEST}\`\n\nIts blobs went up with the target above.\n`);
  });

  test("leaves out amounts of zero bytes", () => {
    const done = blob("a", { state: "done", how: "present", sizeBytes: 5 });
    const facts = { type: "pushed", reference: "r.example/a:v1", digest: DIGEST, durationMs: 4e3 } as const;
    const textOf = (sentBytes: number, presentBytes: number) =>
      summaryOf([done, { ...facts, sentBytes, presentBytes }]).split("\n")[4];
    expect([textOf(5, 0), textOf(0, 5)]).toEqual([
      "5 B sent, in 4.0 s.",
      "5 B already in the registry, in 4.0 s.",
    ]);
  });

  test("lists a streamed layer once, and leaves out the layers of other images", () => {
    const text = summaryOf([
      blob("path", { state: "done", how: "sent", sizeBytes: 5, sentBytes: 5 }, "a layer"),
      blob("other", { state: "done", how: "sent", sizeBytes: 7, sentBytes: 7 }, "a layer"),
      planned("a"),
      blob("a", { state: "identified", as: "path" }),
      pushed(),
    ]);
    expect(rowsOf(text)).toEqual(["| layer a | 5 B |  | uploaded | 5 B |  |"]);
  });

  test("escapes names from the source, so that they make no markup, link, cell or line", () => {
    const title = "x | <img src=//e.example> `y` [z](//e) **b**\n# h\\| @me \u202e";
    const [row, ...others] = rowsOf(
      summaryOf([blob("a", { state: "done", how: "present", sizeBytes: 5 }, title), pushed()]),
    );
    expect(row?.startsWith("| x \\| \\<img src\\=\\/\\/e\\.example\\> \\`y\\` \\[z\\]\\(\\/\\/e\\) ")).toBe(
      true,
    );
    expect(row).toContain("\\\\x0a\\# h\\\\\\| \\@me \\\\u\\{202e\\} | 5 B |");
    expect(others).toEqual([]);
  });

  test("stays below GitHub's limit of 1 MiB with the largest number of layers and the longest names", () => {
    const ids = Array.from({ length: 10_000 }, (_, i) => String(i));
    const title = "\u202e".repeat(1000);
    const events = ids.map((id) => blob(id, { state: "done", how: "present", sizeBytes: 5 }, title));
    const text = summaryOf([...events, pushed(), ...events, pushed()]);
    expect(rowsOf(text)).toHaveLength(200);
    expect(text).toContain("9800 more blobs are not listed.");
    expect(Buffer.byteLength(text)).toBeLessThan(1024 * 1024);
  });
});
