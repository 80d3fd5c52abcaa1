import { describe, expect, test } from "bun:test";
import { drawRecording } from "../../dev/recording/draw.ts";
import { parseScreen } from "../../dev/recording/screen.ts";

describe("a recorded screen", () => {
  test("is read into runs at their columns, with the styles that tmux writes", () => {
    expect(parseScreen("\u001b[32m✓\u001b[39m done \u001b[1m9 MB\u001b[0m\n\n  plain")).toEqual([
      [
        { column: 0, text: "✓", style: "c2" },
        { column: 1, text: " done", style: "" },
        { column: 7, text: "9 MB", style: "b" },
      ],
      [],
      [{ column: 0, text: "  plain", style: "" }],
    ]);
  });

  test("keeps a style that goes on in the next line", () => {
    expect(parseScreen("\u001b[2ma\nb\u001b[0m")[1]).toEqual([{ column: 0, text: "b", style: "d" }]);
  });
});

describe("a drawn recording", () => {
  const frames = [
    { atMs: 0, lines: parseScreen("$ one <&>") },
    { atMs: 1000, lines: parseScreen("$ one <&>\ntwo") },
  ];
  const svg = drawRecording(frames, { columns: 20, rows: 4 }, 'A "push"');

  test("shows its last frame where nothing moves", () => {
    expect(svg).toContain('transform="translate(-160 0)"');
    expect(svg).toContain("prefers-reduced-motion: reduce");
  });

  test("has each line once, whatever the number of frames", () => {
    expect(svg.match(/<text /g)).toHaveLength(2);
    expect(svg.match(/<use /g)).toHaveLength(3);
  });

  test("escapes what is XML", () => {
    expect(svg).toContain("$ one &#60;&#38;&#62;");
    expect(svg).toContain("A &#34;push&#34;");
  });
});
