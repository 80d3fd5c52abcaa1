import { afterEach, describe, expect, jest, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import type { BlobState, BlobTitle, Notice, PushEvent } from "../../src/report/events.ts";
import { type PlainOptions, plainReport } from "../../src/report/plain.ts";

/** The lines that events give, with whatever depends on the clock replaced. */
function linesOf(events: readonly PushEvent[], options: Partial<PlainOptions> = {}): string[] {
  const lines: string[] = [];
  using plain = plainReport((line) => lines.push(line), { isTerminal: false, ...options });
  for (const event of events) plain.report(event);
  return lines.map((line) => line.replace(/\d+\.\d s/g, "TIME").replace(/[\d.]+ [kMGT]?B\/s/g, "RATE"));
}

const LAYER: BlobTitle = { id: "a", title: "layer 1/2 sha256:0123456789ab" };
const SECOND: BlobTitle = { id: "b", title: "layer 2/2" };
const CONFIG: BlobTitle = { id: "config", title: "config sha256:ab" };

function blob(state: BlobState, title = LAYER): PushEvent {
  return { type: "blob", ...title, ...state };
}

function notice(facts: Notice): PushEvent {
  return { type: "notice", ...facts };
}

const DIGEST = digestOf(new Uint8Array());
const DAY_MS = 86_400_000;

type SourceEvent = Extract<PushEvent, { type: "source" }>;

function source(facts: Partial<SourceEvent>): SourceEvent {
  return {
    type: "source",
    origin: { kind: "folder", name: "x", date: undefined, sizeBytes: undefined },
    names: ["my/app:v1"],
    platform: "linux/amd64",
    layerCount: 2,
    layerBytes: 2_000_000,
    isNamedOtherwise: false,
    ...facts,
  };
}

type RegistryEvent = Extract<PushEvent, { type: "registry" }>;

function registry(facts: Partial<RegistryEvent>): RegistryEvent {
  return {
    type: "registry",
    isSource: false,
    origin: "https://r.example",
    username: "me",
    credentialsFrom: undefined,
    isExposed: false,
    isUnverified: false,
    ...facts,
  };
}

const FOUND = {
  path: "output.tar",
  date: new Date(Date.now() - 3.5 * DAY_MS),
  names: ["old/app:v1"],
  target: "r.example/my/app:v1",
};

describe("the plain report", () => {
  test.each<[string, PushEvent, string[]]>([
    [
      "shows an archive with its size, its age and the image in it",
      source({
        origin: {
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
      "leaves the date of a folder out where it is nonsense",
      source({
        origin: { kind: "folder", name: ".output-image", date: new Date(NaN), sizeBytes: undefined },
      }),
      ["Source: .output-image (folder): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "shows an image of the engine with the age of its build",
      source({
        origin: { kind: "engine", name: "x", engine: "the Docker engine", date: new Date(), sizeBytes: 1 },
      }),
      ["Source: x (image of the Docker engine, built just now): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "leaves the age of an image out whose config has no date, which Docker says is the year 1",
      source({
        origin: {
          kind: "engine",
          name: "x",
          engine: "the Docker engine",
          date: new Date("0001-01-01T00:00:00Z"),
          sizeBytes: undefined,
        },
      }),
      ["Source: x (image of the Docker engine): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "shows which engine has an image",
      source({
        origin: { kind: "engine", name: "x", engine: "Podman", date: undefined, sizeBytes: undefined },
      }),
      ["Source: x (image of Podman): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "leaves the size of the layers out where the source does not tell it",
      source({ layerBytes: undefined }),
      ["Source: x (folder): my/app:v1, linux/amd64, 2 layers"],
    ],
    [
      "leaves the age of an image out that claims to be from the future",
      source({
        origin: {
          kind: "engine",
          name: "x",
          engine: "the Docker engine",
          date: new Date(Date.now() + DAY_MS),
          sizeBytes: undefined,
        },
      }),
      ["Source: x (image of the Docker engine): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "warns of a source that has another name than the target",
      notice({ code: "SOURCE_NAMED_OTHERWISE", ...FOUND }),
      ["Warning: output.tar contains old/app:v1, but you are pushing r.example/my/app:v1."],
    ],
    [
      "warns of an old source that has another name than the target, with the command for another image",
      notice({ code: "SOURCE_STALE", ...FOUND, newer: undefined, command: "chunkpush x y" }),
      [
        "Warning: output.tar was written 3 days ago and contains old/app:v1, but you are pushing r.example/my/app:v1. To push another image: chunkpush x y",
      ],
    ],
    [
      "warns of a source that is older than an engine's image, with the command for that",
      notice({
        code: "SOURCE_STALE",
        ...FOUND,
        names: [],
        newer: { name: "my/app:v1", engine: "Podman", date: new Date(Date.now() - DAY_MS) },
        command: "chunkpush x y",
      }),
      [
        "Warning: output.tar was written 3 days ago, but Podman has my/app:v1, built 1 day ago. To push that one: chunkpush x y",
      ],
    ],
    [
      "shows an image that has no name",
      source({ names: [], layerCount: 0, layerBytes: 0 }),
      ["Source: x (folder): an image without a name, linux/amd64, 0 layers, 0 B"],
    ],
    ["shows the registry and the user", registry({}), ["Registry: https://r.example, as me"]],
    [
      "shows where another program's login was found",
      registry({ credentialsFrom: "~/.docker/config.json" }),
      ["Registry: https://r.example, as me (from ~/.docker/config.json)"],
    ],
    [
      "shows that the push has no user",
      registry({ username: undefined }),
      ["Registry: https://r.example, without a user"],
    ],
    [
      "warns of credentials that go over plain HTTP",
      registry({ origin: "http://r.example", isExposed: true }),
      [
        "Registry: http://r.example, as me",
        "Warning: credentials go over plain HTTP, where others can read them.",
      ],
    ],
    [
      "warns of a certificate that is not verified",
      registry({ isUnverified: true }),
      [
        "Registry: https://r.example, as me",
        "Warning: the registry's certificate is not checked: somebody in between can read and change everything.",
      ],
    ],
    [
      "shows that the push waits for a password",
      notice({ code: "PASSWORD_AWAITED" }),
      ["Waiting for the password on standard input …"],
    ],
    [
      "shows that a layer comes from the cache",
      blob({ state: "ready", how: "cached", totalBytes: 5_500_000, sizeBytes: 5_500_000 }),
      ["  layer 1/2 sha256:0123456789ab: cached (5.5 MB)"],
    ],
    [
      "shows that the registry has a blob",
      blob({ state: "done", how: "present", sizeBytes: 999 }, CONFIG),
      ["  config sha256:ab: is there already (999 B)"],
    ],
    [
      "shows from which repository a blob was mounted",
      blob({ state: "done", how: "mounted", sizeBytes: 999, from: "my/base" }, CONFIG),
      ["  config sha256:ab: taken over from my/base (999 B)"],
    ],
    [
      "shows that another push compresses a layer",
      blob({ state: "awaiting-compress" }),
      ["  layer 1/2 sha256:0123456789ab: waiting for another push that compresses it"],
    ],
    [
      "shows that another push uploads a blob",
      blob({ state: "awaiting-upload" }, CONFIG),
      ["  config sha256:ab: waiting for another push that uploads it"],
    ],
    [
      "shows that the cache is pruned",
      notice({ code: "CACHE_AWAITED" }),
      ["Waiting until the cache is pruned …"],
    ],
    [
      "warns of a folder without locks",
      notice({ code: "LOCKS_UNAVAILABLE", directory: ".cache", reason: "disk I/O error" }),
      [
        'Warning: no locks work in the folder ".cache" (disk I/O error): of two pushes at once, each does all the work.',
      ],
    ],
    [
      "warns of a folder that takes no notes",
      notice({ code: "PROGRESS_NOT_SAVED", directory: ".cache", reason: "ENOSPC" }),
      [
        'Warning: how far uploads are cannot be noted in ".cache" (ENOSPC): if this push breaks off, what was under way starts again.',
      ],
    ],
    [
      "warns of another user's files in the cache",
      notice({ code: "CACHE_DISTRUSTED", path: ".cache/0123-ptr", why: "owner" }),
      [
        'Warning: ".cache/0123-ptr" belongs to another user: what others may have put into the cache is not used, but made anew. If you trust it, use chown.',
      ],
    ],
    [
      "warns of a cache that everybody may write to",
      notice({ code: "CACHE_DISTRUSTED", path: ".cache", why: "writable" }),
      [
        'Warning: ".cache" may be written to by everybody: what others may have put into the cache is not used, but made anew. If you trust it, use chmod o-w.',
      ],
    ],
    [
      "notes what an index has beside the image that is pushed",
      notice({
        code: "INDEX_REDUCED",
        platform: "linux/amd64",
        platforms: ["linux/arm64", "linux/arm/v7"],
        attestations: 2,
      }),
      [
        "Note: pushing linux/amd64 alone, so the digest differs from that of the whole index. Left out: linux/arm64, linux/arm/v7, 2 attestations.",
      ],
    ],
    [
      "notes what an index has beside a part of it, or an image without a platform",
      notice({ code: "INDEX_REDUCED", platform: undefined, platforms: [], attestations: 1 }),
      [
        "Note: pushing a part of the image's index, so the digest differs from that of the whole index. Left out: 1 attestation.",
      ],
    ],
    [
      "notes that the registry refuses a manifest, and what is pushed in its place",
      notice({ code: "MANIFEST_REFUSED", digest: DIGEST, reason: "400 MANIFEST_INVALID" }),
      [
        "Note: the registry refuses the manifest sha256:e3b0c44298fc as it is (400 MANIFEST_INVALID). Pushing a new one with the same content, so the digest differs.",
      ],
    ],
    [
      "notes that the image gets another digest than it has in the source",
      notice({ code: "DIGEST_CHANGED", from: DIGEST, to: digestOf("another") }),
      [
        "Note: the digest changes from sha256:e3b0c44298fc in the source to sha256:ae448ac86c4e at the registry.",
      ],
    ],
    [
      "notes how many signatures and the like are not pushed, and why",
      notice({ code: "REFERRERS_LEFT_OUT", count: 2 }),
      [
        "Note: leaving out 2 attached manifests, such as signatures: the source lacks a part of them, or they name a digest that the image no longer has.",
      ],
    ],
    [
      "notes that nothing is known of an image that was to be reused, and why",
      notice({
        code: "CACHE_FROM_MISSING",
        image: "team/app:main",
        reason: "the registry does not have it.",
      }),
      ["Note: no layer of team/app:main (--cache-from) can be reused: the registry does not have it."],
    ],
    [
      "shows a retry of the whole push with its reason",
      {
        type: "retry",
        title: undefined,
        error: new Error("It broke."),
        attempt: 2,
        retries: 5,
        delayMs: 75_000,
      },
      ["  Trying again in 1 min 15 s (2 of 5): It broke."],
    ],
    [
      "shows a retry of a layer with its reason",
      {
        type: "retry",
        title: LAYER.title,
        error: new Error("It broke."),
        attempt: 1,
        retries: 5,
        delayMs: 75_000,
      },
      ["  layer 1/2 sha256:0123456789ab: trying again in 1 min 15 s (1 of 5): It broke."],
    ],
    [
      "says that a stopped push waits for its chunks",
      notice({ code: "STOPPING", keptBytes: 0, totalBytes: 1000 }),
      ["Running chunks may end, within seconds. Press Ctrl-C again to stop at once."],
    ],
    [
      "says what a stopped push has kept",
      notice({ code: "STOPPED", keptBytes: 34_000_000, totalBytes: 120_000_000 }),
      ["Kept 34.0 MB of 120 MB at the registry."],
    ],
    [
      "shows that the registry refused a body, and the size of the next ones",
      notice({ code: "BODY_REFUSED", ...LAYER, bodyBytes: 50_000_000 }),
      [
        "  layer 1/2 sha256:0123456789ab: the registry refused it as it was sent: again, in bodies of 50.0 MB",
      ],
    ],
    [
      "shows what was pushed, and what the registry had",
      {
        type: "pushed",
        reference: "r.example/a:b",
        digest: digestOf(new Uint8Array()),
        sentBytes: 1500,
        presentBytes: 0,
        durationMs: 2300,
      },
      ["Pushed r.example/a:b in TIME: 1.5 kB sent, 0 B were there already"],
    ],
    [
      "shows how small a layer was compressed",
      blob({ state: "ready", how: "compressed", totalBytes: 10_000_000, sizeBytes: 2_500_000 }),
      ["  layer 1/2 sha256:0123456789ab: compressed, 10.0 MB → 2.5 MB (TIME, RATE)"],
    ],
    [
      "shows that a compressed layer was verified",
      blob({ state: "ready", how: "verified", totalBytes: 1000, sizeBytes: 1000 }),
      ["  layer 1/2 sha256:0123456789ab: checked, compressed already, 1.0 kB (TIME, RATE)"],
    ],
    [
      "shows that a layer was uploaded",
      blob({ state: "done", how: "sent", sizeBytes: 1000, sentBytes: 1000 }),
      ["  layer 1/2 sha256:0123456789ab: uploaded, 1.0 kB (TIME, RATE)"],
    ],
    [
      "shows how much of a resumed upload this push sent",
      blob({ state: "done", how: "sent", sizeBytes: 18_000_000, sentBytes: 10_000_000 }),
      ["  layer 1/2 sha256:0123456789ab: uploaded, the last 10.0 MB of 18.0 MB (TIME, RATE)"],
    ],
    [
      "shows that an image was saved from the engine",
      { type: "reading", how: "save", name: "image", doneBytes: 1000, totalBytes: 1000, isDone: true },
      ["  image: saved from the engine, 1.0 kB (TIME, RATE)"],
    ],
    [
      "shows that an archive was unpacked",
      { type: "reading", how: "unpack", name: "x.tar.gz", doneBytes: 1000, totalBytes: 1000, isDone: true },
      ["  x.tar.gz: unpacked (TIME, RATE)"],
    ],
  ])("%s", (_, event, lines) => {
    expect(linesOf([event])).toEqual(lines);
  });

  test.each<[string, Notice, string]>([
    [
      "why an image is not read from the engine's storage",
      { code: "STORAGE_UNREAD", reason: "Only root may read it." },
      "Not reading the image from the engine's storage: Only root may read it.",
    ],
    [
      "that the engine pushes an image",
      { code: "ENGINE_PUSHES" },
      "The engine pushes the image itself, to a registry of chunkpush on this machine.",
    ],
    [
      "why the engine saves an image",
      { code: "ENGINE_SAVES", reason: "the image has no name." },
      "The engine saves the image: the image has no name.",
    ],
  ])("says %s in debugging alone", (_, facts, line) => {
    expect(linesOf([notice(facts)])).toEqual([]);
    expect(linesOf([notice(facts)], { isDebug: true })).toEqual([line]);
  });

  test.each<[string, PushEvent]>([
    ["progress of an upload", blob({ state: "uploading", doneBytes: 5, totalBytes: 10 })],
    [
      "progress of a save",
      { type: "reading", how: "save", name: "image", doneBytes: 5, totalBytes: 10, isDone: false },
    ],
    ["the plan", { type: "planned", blobs: [LAYER, CONFIG] }],
    ["a layer that was read in vain", blob({ state: "unneeded" })],
  ])("has no line of its own for %s", (_, event) => {
    expect(linesOf([event])).toEqual([]);
  });
});

describe("running work", () => {
  afterEach(() => jest.useRealTimers());

  const uploading = (doneBytes: number) => blob({ state: "uploading", doneBytes, totalBytes: 2000 });

  test.each([
    [true, 2_000],
    [false, 10_000],
  ])("shows from time to time until it has ended (terminal: %s)", (isTerminal, intervalMs) => {
    jest.useFakeTimers();
    const lines: string[] = [];
    const plain = plainReport((line) => lines.push(line), { isTerminal });
    plain.report(uploading(0));
    jest.advanceTimersByTime(intervalMs - 1);
    expect(lines).toEqual([]);
    jest.advanceTimersByTime(1);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toStartWith("  layer 1/2 sha256:0123456789ab: uploading, 0 % of 2.0 kB");

    plain.report(uploading(1500));
    plain.report(blob({ state: "verifying", doneBytes: 0, totalBytes: 0 }, SECOND));
    jest.advanceTimersByTime(intervalMs);
    expect(lines).toHaveLength(3);
    expect(lines[1]).toContain("uploading, 75 % of 2.0 kB");
    expect(lines[2]).toContain("layer 2/2: checking, 100 % of 0 B");

    plain.report(blob({ state: "done", how: "sent", sizeBytes: 2000, sentBytes: 2000 }));
    plain.report(blob({ state: "ready", how: "verified", totalBytes: 0, sizeBytes: 0 }, SECOND));
    const { length } = lines;
    jest.advanceTimersByTime(3 * intervalMs);
    expect(lines).toHaveLength(length);
    plain[Symbol.dispose]();
  });

  test("shows no more once it turns out to be unneeded", () => {
    jest.useFakeTimers();
    const lines: string[] = [];
    using plain = plainReport((line) => lines.push(line), { isTerminal: true });
    plain.report(blob({ state: "compressing", doneBytes: 1, totalBytes: 2000 }));
    plain.report(blob({ state: "unneeded" }));
    jest.advanceTimersByTime(60_000);
    expect(lines).toEqual([]);
  });

  test("shows no more once the report is disposed of", () => {
    jest.useFakeTimers();
    const lines: string[] = [];
    const plain = plainReport((line) => lines.push(line), { isTerminal: true });
    plain.report(uploading(0));
    plain[Symbol.dispose]();
    jest.advanceTimersByTime(60_000);
    expect(lines).toEqual([]);
  });

  test("that has sent everything waits for the registry, and says so", () => {
    jest.useFakeTimers();
    const lines: string[] = [];
    using plain = plainReport((line) => lines.push(line), { isTerminal: true });
    plain.report(uploading(2000));
    jest.advanceTimersByTime(2_000);
    expect(lines).toEqual([
      "  layer 1/2 sha256:0123456789ab: all 2.0 kB sent, the registry is putting it together",
    ]);
  });

  test("of which a client has not sent a whole chunk yet says what it waits for", () => {
    jest.useFakeTimers();
    const lines: string[] = [];
    using plain = plainReport((line) => lines.push(line), { isTerminal: true });
    plain.report(blob({ state: "uploading", doneBytes: 0, totalBytes: undefined }));
    jest.advanceTimersByTime(2_000);
    expect(lines).toEqual(["  layer 1/2 sha256:0123456789ab: uploading, waiting for the client's bytes"]);
  });

  test("of unknown length shows its bytes and no percentage", () => {
    jest.useFakeTimers();
    const lines: string[] = [];
    using plain = plainReport((line) => lines.push(line), { isTerminal: true });
    plain.report({
      type: "reading",
      how: "save",
      name: "image",
      doneBytes: 2000,
      totalBytes: undefined,
      isDone: false,
    });
    jest.advanceTimersByTime(2_000);
    expect(lines).toHaveLength(1);
    expect(lines[0]).toStartWith("  image: saving, 2.0 kB, ");
  });
});
