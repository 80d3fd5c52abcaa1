/** What a push looks like on terminals of different sizes. */
import { describe, expect, test } from "bun:test";
import { digestOf as digestOfBytes } from "../../src/oci/digest.ts";
import type { BlobState, PushEvent } from "../../src/report/events.ts";
import { layOut } from "../../src/report/layout.ts";
import type { Look } from "../../src/report/paint.ts";
import { applyEvent, newState } from "../../src/report/state.ts";

const MB = 1_000_000;
const HEADING = { targets: ["registry.example.com/my/app:v1"] };
const LOOK: Look = { columns: 80, rows: 24, isColored: false, isUnicode: true };

const digestOf = (i: number) => `${String(i).padStart(2, "0")}cc7784a7b2`.padEnd(12, "0").slice(0, 12);
const titleOf = (i: number) => `layer ${i}/60 sha256:${digestOf(i)}`;

function blob(i: number, state: BlobState): PushEvent {
  return { type: "blob", id: `${i}`, title: titleOf(i), ...state };
}

function uploading(i: number, doneBytes: number, keptBytes: number, totalBytes: number): PushEvent {
  return blob(i, { state: "uploading", doneBytes, keptBytes, chunkBytes: 5 * MB, totalBytes });
}

const REGISTRY: PushEvent = {
  type: "registry",
  isSource: false,
  origin: "https://registry.example.com",
  username: "me",
  credentialsFrom: undefined,
  isExposed: false,
  isUnverified: false,
};

function source(name: string, names: readonly string[], platform = "linux/amd64"): PushEvent {
  return {
    type: "source",
    origin: { kind: "archive", name, date: undefined, sizeBytes: 1 },
    names,
    platform,
    layerCount: 6,
    layerBytes: 246 * MB,
    isNamedOtherwise: false,
  };
}

function planned(count: number): PushEvent {
  const blobs = Array.from({ length: count }, (_, i) => ({ id: `${i + 1}`, title: titleOf(i + 1) }));
  return { type: "planned", blobs: blobs.map((each) => ({ ...each, sourceBytes: 40 * MB })) };
}

/** Each event with the second at which it happens. */
type Timed = readonly [second: number, event: PushEvent];

function screenOf(events: readonly Timed[], second: number, look: Partial<Look> = {}, isOver = false) {
  const state = newState();
  for (const [at, event] of events) applyEvent(state, event, at * 1000);
  return layOut(state, HEADING, { ...LOOK, ...look }, second * 1000, isOver);
}

/** A push in which everything happens that a row can show. */
const BUSY: readonly Timed[] = [
  [0, REGISTRY],
  [0, source("output.tar", ["my/app:v1"])],
  [0, planned(7)],
  [1, blob(1, { state: "done", how: "present", sizeBytes: 1 * MB })],
  [1, blob(2, { state: "done", how: "mounted", sizeBytes: 3 * MB, from: "my/base" })],
  [1, { type: "settled", resumableBytes: 0 }],
  [1, blob(3, { state: "ready", how: "compressed", totalBytes: 16 * MB, sizeBytes: 8 * MB })],
  [1, uploading(3, 5 * MB, 0, 8 * MB)],
  [4, uploading(3, 8 * MB, 5 * MB, 8 * MB)],
  [4.1, blob(3, { state: "done", how: "sent", sizeBytes: 8 * MB, sentBytes: 8 * MB })],
  [4.1, uploading(4, 5 * MB, 0, 18 * MB)],
  [4.1, uploading(5, 18 * MB, 15 * MB, 35 * MB)],
  [6, uploading(4, 10 * MB, 5 * MB, 18 * MB)],
  [
    7,
    {
      type: "retry",
      id: "5",
      title: titleOf(5),
      error: new Error("503"),
      reason: "503",
      offsetBytes: 15 * MB,
      attempt: 1,
      retries: 8,
      delayMs: 4000,
    },
  ],
  [6, blob(6, { state: "compressing", doneBytes: 0, totalBytes: 40 * MB })],
  [7, blob(6, { state: "compressing", doneBytes: 30 * MB, totalBytes: 40 * MB })],
];

describe("A running push on the screen", () => {
  test("has a row for each layer and a total on 80 columns", () => {
    expect(screenOf(BUSY, 7)).toEqual([
      "my/app:v1 → registry.example.com/my/app:v1",
      "output.tar · linux/amd64 · 6 layers, 246 MB · logged in as me · chunks ≤ 5.0 MB",
      "",
      "✓ 01cc7784a7b2    1.0 MB  already in the registry",
      "✓ 02cc7784a7b2    3.0 MB  mounted from my/base",
      "✓ 03cc7784a7b2    8.0 MB  3.1 s",
      "↑ 04cc7784a7b2   18.0 MB  ■◧□□                    36 %  2.3 MB/s",
      "↻ 05cc7784a7b2   35.0 MB  ■■■▣□□□                 42 %  retry 1/8 in 4 s (503)",
      "⠋ 06cc7784a7b2   40.0 MB  compressing             75 %  30.0 MB/s",
      "· 07cc7784a7b2   40.0 MB  waiting",
      "",
      " 29 %  ███████░░░░░░░░░░░░░░░░░  29 of ~101 MB  2.4 MB/s  29 s left",
    ]);
  });

  test("has the running layers and a count of the others on 40 columns", () => {
    expect(screenOf(BUSY, 7, { columns: 40 })).toEqual([
      "→ registry.example.com/my/app:v1",
      "✓ 3 layers     12 MB",
      "↑ 04cc7784   18 MB  36 %",
      "↻ 05cc7784   35 MB  42 % retry 1/8",
      "⠋ 06cc7784   40 MB  75 %  compressing",
      "29 %  29/~101 MB  2.4 MB/s  29 s left",
    ]);
  });

  test("has longer bars on 200 columns", () => {
    const lines = screenOf(BUSY, 7, { columns: 200 });
    expect(lines).toHaveLength(12);
    expect(lines.at(-1)).toStartWith(` 29 %  ${"█".repeat(17)}`);
    expect(Math.max(...lines.map((line) => Bun.stringWidth(line)))).toBeLessThanOrEqual(200);
  });

  test("has only ASCII where the terminal has no more", () => {
    const text = screenOf(BUSY, 7, { isUnicode: false }).join("\n");
    expect([...text].filter((character) => character > "~")).toEqual([]);
    expect(text).toContain("##!---");
  });

  test("has the same text with colors and without", () => {
    const colored = screenOf(BUSY, 7, { isColored: true }).map(Bun.stripANSI);
    expect(colored).toEqual(screenOf(BUSY, 7));
    expect(screenOf(BUSY, 7).join()).not.toContain("\x1b");
  });

  test("shows which layers wait for the registry or for another push", () => {
    const lines = screenOf(
      [
        [0, planned(3)],
        [0, uploading(1, 0, 0, 2 * MB)],
        [1, uploading(1, 2 * MB, 2 * MB, 2 * MB)],
        [1, blob(2, { state: "awaiting-upload" })],
        [1, blob(3, { state: "awaiting-compress" })],
      ],
      2,
    ).join("\n");
    expect(lines).toContain("waiting for the registry to finish");
    expect(lines).toContain("another push uploads it");
    expect(lines).toContain("another push compresses it");
  });

  test("keeps the name of a published target until the next one is planned", () => {
    const pushed: PushEvent = {
      type: "pushed",
      reference: "a",
      digest: digestOfBytes(""),
      sentBytes: 0,
      presentBytes: 0,
      durationMs: 1,
    };
    const heading = { targets: ["first.example/a:v1", "second.example/a:v1"] };
    const state = newState();
    const head = () => layOut(state, heading, LOOK, 1000)[0];
    for (const [event, target] of [
      [planned(1), "first"],
      [pushed, "first"],
      [planned(1), "second"],
    ] as const) {
      applyEvent(state, event, 1);
      expect(head()).toBe(`→ ${target}.example/a:v1`);
    }
  });

  test("shows at a stop which chunks are waited for, on two lines if the terminal is narrow", () => {
    const stopping: PushEvent = {
      type: "notice",
      code: "STOPPING",
      keptBytes: 0,
      totalBytes: 1,
      withinMs: 6000,
    };
    expect(screenOf([...BUSY, [7, stopping]], 7).at(-1)).toBe(
      "Finishing 1 chunk, up to 6 s. Ctrl-C again to stop now.",
    );
    expect(screenOf([...BUSY, [7, stopping]], 7, { columns: 40 }).slice(-2)).toEqual([
      "Finishing 1 chunk, up to 6 s.",
      "Ctrl-C again to stop now.",
    ]);
  });

  test("shows before it has a plan where it connects, and why it waits", () => {
    const retry: PushEvent = {
      type: "retry",
      id: undefined,
      title: undefined,
      error: new Error(),
      reason: "connection refused",
      attempt: 1,
      retries: 8,
      delayMs: 3000,
    };
    expect(
      screenOf(
        [
          [0, REGISTRY],
          [0, retry],
        ],
        1,
      ),
    ).toEqual([
      "→ registry.example.com/my/app:v1",
      "logged in as me",
      "",
      "⠋ Connecting to https://registry.example.com",
      "Retry 1/8 in 2 s (connection refused)",
    ]);
  });
});

describe("A push of 60 layers on the screen", () => {
  const many: Timed[] = [
    [0, REGISTRY],
    [0, source("output.tar", ["my/app:v1"])],
    [0, planned(60)],
    ...Array.from(
      { length: 50 },
      (_, i): Timed => [1, blob(i + 1, { state: "done", how: "present", sizeBytes: MB })],
    ),
    [1, uploading(51, 0, 0, 20 * MB)],
    [1, uploading(52, 0, 0, 20 * MB)],
  ];

  test("has rows for the running layers and some waiting ones, and counts the others", () => {
    expect(screenOf(many, 3, { rows: 12 })).toEqual([
      "my/app:v1 → registry.example.com/my/app:v1",
      "output.tar · linux/amd64 · 6 layers, 246 MB · logged in as me · chunks ≤ 5.0 MB",
      "",
      "✓ 50 done (50 MB), 5 waiting (200 MB)",
      "↑ 51cc7784a7b2   20.0 MB  ◧□□□                     0 %",
      "↑ 52cc7784a7b2   20.0 MB  ◧□□□                     0 %",
      "· 53cc7784a7b2   40.0 MB  waiting",
      "· 54cc7784a7b2   40.0 MB  waiting",
      "· 55cc7784a7b2   40.0 MB  waiting",
      "",
      "  0 %  ░░░░░░░░░░░░░░░░░░░░░░░░  0 B of ~200 MB",
    ]);
  });

  test.each([
    [200, 50],
    [80, 24],
    [80, 10],
    [60, 5],
    [59, 24],
    [40, 12],
    [20, 5],
    [10, 3],
    [1, 1],
  ])("fits %d columns and %d rows, with a row to spare", (columns, rows) => {
    for (const isOver of [false, true]) {
      const lines = screenOf([...many, ...BUSY.slice(3)], 7, { columns, rows, isColored: true }, isOver);
      expect(lines.length).toBeLessThanOrEqual(Math.max(1, rows - 1));
      for (const line of lines) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
    }
  });

  test("has only the total where there is room for no more", () => {
    expect(screenOf(many, 3, { rows: 2 })).toEqual(["  0 %  ░░░░░░░░░░░░░░░░░░░░░░░░  0 B of ~200 MB"]);
  });
});

describe("Names from outside on the screen", () => {
  const HOSTILE = [
    "\x1b]0;owned\x07\x1b[2J",
    "\u202egpj.exe",
    "日本語の名前".repeat(20),
    "::error::x",
    "👩‍👩‍👧‍👦".repeat(40),
  ];

  test.each(HOSTILE)("cannot control the terminal or break its lines: %j", (name) => {
    const events: Timed[] = [
      [0, { ...REGISTRY, username: name } as PushEvent],
      [0, source(name, [name], name)],
      [0, blob(1, { state: "done", how: "mounted", sizeBytes: MB, from: name })],
      [0, { type: "reading", how: "unpack", name, doneBytes: 1, totalBytes: 2, isDone: false }],
      [0, { type: "blob", id: "x", title: name, state: "verifying", doneBytes: 1, totalBytes: 2 }],
    ];
    for (const columns of [20, 40, 80, 200]) {
      const lines = screenOf(events, 1, { columns });
      expect(lines.length).toBeGreaterThan(1);
      for (const line of lines) {
        expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
        expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]/u);
        expect(line).not.toMatch(/^\s*::/);
      }
    }
  });
});
