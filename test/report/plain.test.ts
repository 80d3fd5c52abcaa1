import { afterEach, describe, expect, jest, test } from "bun:test";
import type { PushEvent, Task } from "../../src/report/events.ts";
import { plainReport } from "../../src/report/plain.ts";

/** The lines that events give, with whatever depends on the clock replaced. */
function linesOf(...events: PushEvent[]): string[] {
  const lines: string[] = [];
  using plain = plainReport((line) => lines.push(line), false);
  for (const event of events) plain.report(event);
  return lines.map((line) => line.replace(/\d+\.\d s/g, "TIME").replace(/[\d.]+ [kMGT]?B\/s/g, "RATE"));
}

function task(verb: Task["verb"], totalBytes: number, subject = "layer 1/2 sha256:0123456789ab"): Task {
  return { id: `${verb} ${subject}`, verb, subject, totalBytes };
}

const DAY_MS = 86_400_000;

type ImageRead = Extract<PushEvent, { type: "image-read" }>;

function imageRead(facts: Partial<ImageRead>): ImageRead {
  return {
    type: "image-read",
    source: { kind: "folder", name: "x", date: undefined, sizeBytes: undefined },
    names: ["my/app:v1"],
    platform: "linux/amd64",
    layerCount: 2,
    layerBytes: 2_000_000,
    isNamedOtherwise: false,
    ...facts,
  };
}

describe("an event", () => {
  test.each<[string, PushEvent, string[]]>([
    [
      "an image in an archive",
      imageRead({
        source: {
          kind: "archive",
          name: "output.tar",
          date: new Date(Date.now() - 3.5 * DAY_MS),
          sizeBytes: 1_234_567,
        },
        names: ["my/app:v1", "my/app:latest"],
        platform: "linux/arm64/v8",
      }),
      [
        "Source: output.tar (archive, 1.2 MB, written 3 days ago): my/app:v1, my/app:latest, linux/arm64/v8, 2 layers, 2.0 MB",
      ],
    ],
    [
      "an image in a folder whose date is nonsense",
      imageRead({
        source: { kind: "folder", name: ".output-image", date: new Date(NaN), sizeBytes: undefined },
      }),
      ["Source: .output-image (folder): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "an image of the engine",
      imageRead({ source: { kind: "engine", name: "my/app:v1", date: new Date(), sizeBytes: undefined } }),
      [
        "Source: my/app:v1 (image of the Docker engine, built just now): my/app:v1, linux/amd64, 2 layers, 2.0 MB",
      ],
    ],
    [
      "an image of another name",
      imageRead({
        names: ["old/app:v1"],
        platform: undefined,
        layerCount: 1,
        layerBytes: 10,
        isNamedOtherwise: true,
      }),
      [
        "Source: x (folder): old/app:v1, 1 layer, 10 B",
        "Note: the source names this image otherwise than the target. Is it the one you mean?",
      ],
    ],
    [
      "an image without a name",
      imageRead({ names: [], layerCount: 0, layerBytes: 0 }),
      ["Source: x (folder): an image without a name, linux/amd64, 0 layers, 0 B"],
    ],
    [
      "a registry",
      {
        type: "registry-addressed",
        origin: "https://r.example",
        username: "me",
        credentialsFrom: undefined,
        isExposed: false,
        isUnverified: false,
      },
      ["Registry: https://r.example, as me"],
    ],
    [
      "a registry with a login of another program",
      {
        type: "registry-addressed",
        origin: "https://r.example",
        username: "me",
        credentialsFrom: "~/.docker/config.json",
        isExposed: false,
        isUnverified: false,
      },
      ["Registry: https://r.example, as me (from ~/.docker/config.json)"],
    ],
    [
      "a registry for everybody",
      {
        type: "registry-addressed",
        origin: "https://r.example",
        username: undefined,
        credentialsFrom: undefined,
        isExposed: false,
        isUnverified: false,
      },
      ["Registry: https://r.example, without a user"],
    ],
    [
      "a registry that is spoken to in the open",
      {
        type: "registry-addressed",
        origin: "http://r.example",
        username: "me",
        credentialsFrom: undefined,
        isExposed: true,
        isUnverified: false,
      },
      [
        "Registry: http://r.example, as me",
        "Warning: the password goes over plain HTTP, where others can read it.",
      ],
    ],
    ["a missing password", { type: "password-awaited" }, ["Waiting for the password on standard input …"]],
    [
      "a layer from the cache",
      { type: "layer-cached", subject: "layer 1/2 sha256:ab", sizeBytes: 5_500_000 },
      ["  layer 1/2 sha256:ab: cached (5.5 MB)"],
    ],
    [
      "a blob that is there",
      { type: "blob-present", subject: "config sha256:ab", sizeBytes: 999, mountedFrom: undefined },
      ["  config sha256:ab: is there already (999 B)"],
    ],
    [
      "a blob of another repository",
      { type: "blob-present", subject: "config sha256:ab", sizeBytes: 999, mountedFrom: "my/base" },
      ["  config sha256:ab: taken over from my/base (999 B)"],
    ],
    [
      "a layer that another push compresses",
      { type: "other-push-awaited", subject: "layer 1/2 sha256:ab", work: "compress" },
      ["  layer 1/2 sha256:ab: waiting for another push that compresses it"],
    ],
    [
      "a blob that another push uploads",
      { type: "other-push-awaited", subject: "config sha256:ab", work: "upload" },
      ["  config sha256:ab: waiting for another push that uploads it"],
    ],
    ["a cache that is pruned", { type: "cache-awaited" }, ["Waiting until the cache is pruned …"]],
    [
      "a folder without locks",
      { type: "locks-missing", directory: ".cache", reason: "disk I/O error" },
      [
        'Warning: no locks work in the folder ".cache" (disk I/O error): of two pushes at once, each does all the work.',
      ],
    ],
    [
      "a folder that takes no notes",
      { type: "memory-failed", directory: ".cache", reason: "ENOSPC" },
      [
        'Warning: how far uploads are cannot be noted in ".cache" (ENOSPC): if this push breaks off, what was under way starts again.',
      ],
    ],
    [
      "another try",
      { type: "retrying", reason: "It broke.", attempt: 2, retries: 5, delayMs: 75_000 },
      ["  Trying again in 1 min 15 s (2 of 5): It broke."],
    ],
    [
      "another try of a layer",
      {
        type: "retrying",
        subject: "layer 1/2 sha256:ab",
        reason: "It broke.",
        attempt: 1,
        retries: 5,
        delayMs: 75_000,
      },
      ["  layer 1/2 sha256:ab: trying again in 1 min 15 s (1 of 5): It broke."],
    ],
    [
      "a refused body",
      { type: "body-refused", subject: "layer 1/2 sha256:ab", bodyBytes: 50_000_000 },
      ["  layer 1/2 sha256:ab: the registry refused it as it was sent: again, in bodies of 50.0 MB"],
    ],
    [
      "the end",
      { type: "pushed", reference: "r.example/a:b", digest: "sha256:0", sentBytes: 1500, presentBytes: 0 },
      ["Pushed r.example/a:b in TIME: 1.5 kB sent, 0 B were there already"],
    ],
    [
      "a compressed layer",
      { type: "task-finished", task: task("compressing", 10_000_000), resultBytes: 2_500_000 },
      ["  layer 1/2 sha256:0123456789ab: compressed, 10.0 MB → 2.5 MB (TIME, RATE)"],
    ],
    [
      "a checked layer",
      { type: "task-finished", task: task("checking", 1000), resultBytes: 1000 },
      ["  layer 1/2 sha256:0123456789ab: checked, compressed already, 1.0 kB (TIME, RATE)"],
    ],
    [
      "an uploaded layer",
      { type: "task-finished", task: task("uploading", 1000), resultBytes: 1000 },
      ["  layer 1/2 sha256:0123456789ab: uploaded, 1.0 kB (TIME, RATE)"],
    ],
    [
      "a saved image",
      { type: "task-finished", task: task("saving", 1000, "image"), resultBytes: 1000 },
      ["  image: saved from the engine, 1.0 kB (TIME, RATE)"],
    ],
  ])("is a line: %s", (_, event, lines) => {
    expect(linesOf(event)).toEqual(lines);
  });

  test("of progress is none by itself", () => {
    expect(linesOf({ type: "task-progress", task: task("uploading", 10), doneBytes: 5 })).toEqual([]);
  });
});

describe("running work", () => {
  afterEach(() => jest.useRealTimers());

  test.each([
    [true, 2_000],
    [false, 10_000],
  ])("shows from time to time, until it has ended (terminal: %s)", (isTerminal, intervalMs) => {
    jest.useFakeTimers();
    const lines: string[] = [];
    const plain = plainReport((line) => lines.push(line), isTerminal);
    const uploading = task("uploading", 2000);
    plain.report({ type: "task-progress", task: uploading, doneBytes: 0 });
    jest.advanceTimersByTime(intervalMs - 1);
    expect(lines).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toStartWith("  layer 1/2 sha256:0123456789ab: uploading, 0 % of 2.0 kB");

    plain.report({ type: "task-progress", task: uploading, doneBytes: 1500 });
    plain.report({ type: "task-progress", task: task("checking", 0, "layer 2/2"), doneBytes: 0 });
    jest.advanceTimersByTime(intervalMs);
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain("uploading, 75 % of 2.0 kB");
    expect(lines[2]).toContain("layer 2/2: checking, 100 % of 0 B");

    plain.report({ type: "task-finished", task: uploading, resultBytes: 2000 });
    plain.report({ type: "task-finished", task: task("checking", 0, "layer 2/2"), resultBytes: 0 });
    const { length } = lines;
    jest.advanceTimersByTime(3 * intervalMs);
    expect(lines).toHaveLength(length);
    plain[Symbol.dispose]();
  });

  test("shows no more once the report is disposed of", () => {
    jest.useFakeTimers();
    const lines: string[] = [];
    const plain = plainReport((line) => lines.push(line), true);
    plain.report({ type: "task-progress", task: task("uploading", 2000), doneBytes: 0 });
    plain[Symbol.dispose]();
    jest.advanceTimersByTime(60_000);
    expect(lines).toEqual([]);
  });
});
