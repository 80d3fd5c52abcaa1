import { afterEach, describe, expect, jest, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import type { BlobState, BlobTitle, Notice, PushEvent } from "../../src/report/events.ts";
import { type PlainOptions, plainView } from "../../src/report/plain.ts";

const OPTIONS: PlainOptions = { isTerminal: false, isDebug: false };

/** The lines that events give, with whatever depends on the clock replaced. */
function linesOf(events: readonly PushEvent[], options: Partial<PlainOptions> = {}): string[] {
  const lines: string[] = [];
  using plain = plainView((line) => lines.push(line), { ...OPTIONS, ...options });
  for (const event of events) plain.report(event);
  return lines.map((line) => line.replace(/^ *\d+\.\ds/, "ELAPSED").replace(/\b\d+\.\d s\b/g, "TIME"));
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

describe("The plain view", () => {
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
      "leaves out a folder's date that means nothing",
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
      "leaves out the age of an image without a date, which Docker reports as the year 1",
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
      "shows which engine has the image",
      source({
        origin: { kind: "engine", name: "x", engine: "Podman", date: undefined, sizeBytes: undefined },
      }),
      ["Source: x (image of Podman): my/app:v1, linux/amd64, 2 layers, 2.0 MB"],
    ],
    [
      "leaves out the size of the layers where it is unknown",
      source({ layerBytes: undefined }),
      ["Source: x (folder): my/app:v1, linux/amd64, 2 layers"],
    ],
    [
      "leaves out the age of an image from the future",
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
      ["Source: x (folder): untagged image, linux/amd64, 0 layers, 0 B"],
    ],
    ["shows the registry and the user", registry({}), ["Registry: https://r.example, logged in as me"]],
    [
      "shows where another program's login was found",
      registry({ credentialsFrom: "~/.docker/config.json" }),
      ["Registry: https://r.example, logged in as me (from ~/.docker/config.json)"],
    ],
    [
      "shows that the push has no user",
      registry({ username: undefined }),
      ["Registry: https://r.example, anonymous"],
    ],
    [
      "warns of credentials that go over plain HTTP",
      registry({ origin: "http://r.example", isExposed: true }),
      [
        "Warning: credentials are sent over plain HTTP, where they can be intercepted.",
        "Registry: http://r.example, logged in as me",
      ],
    ],
    [
      "warns of a certificate that is not verified",
      registry({ isUnverified: true }),
      [
        "Warning: the registry's certificate is not verified: traffic can be intercepted and changed.",
        "Registry: https://r.example, logged in as me",
      ],
    ],
    [
      "shows that the push waits for a password",
      notice({ code: "PASSWORD_AWAITED" }),
      ["Waiting for the password on standard input …"],
    ],
    [
      "shows that another push compresses a layer",
      blob({ state: "awaiting-compress" }),
      ["ELAPSED  0123456789ab: waiting for another push that compresses it"],
    ],
    [
      "shows that another push uploads a blob",
      blob({ state: "awaiting-upload" }, CONFIG),
      ["ELAPSED  config sha256:ab: waiting for another push that uploads it"],
    ],
    [
      "shows that the push waits for a prune of the cache",
      notice({ code: "CACHE_AWAITED" }),
      ["Waiting for another process that prunes the cache …"],
    ],
    [
      "warns of a folder without locks",
      notice({ code: "LOCKS_UNAVAILABLE", directory: ".cache", reason: "disk I/O error" }),
      [
        'Warning: file locking is unavailable in ".cache" (disk I/O error): two pushes at once repeat each other\'s work.',
      ],
    ],
    [
      "warns of a folder in which progress cannot be saved",
      notice({ code: "PROGRESS_NOT_SAVED", directory: ".cache", reason: "ENOSPC" }),
      ['Warning: cannot save upload progress in ".cache" (ENOSPC): an interrupted upload starts over.'],
    ],
    [
      "warns of another user's files in the cache",
      notice({ code: "CACHE_DISTRUSTED", path: ".cache/0123-ptr", why: "owner" }),
      [
        'Warning: ".cache/0123-ptr" belongs to another user, so it is not used, and its layers are compressed again. If you trust it, use chown.',
      ],
    ],
    [
      "warns of a cache that everybody may write to",
      notice({ code: "CACHE_DISTRUSTED", path: ".cache", why: "writable" }),
      [
        'Warning: ".cache" is writable by everybody, so it is not used, and its layers are compressed again. If you trust it, use chmod o-w.',
      ],
    ],
    [
      "notes which platforms and attestations of an index are left out",
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
      "notes the same where a part of an index is pushed, or an image without a platform",
      notice({ code: "INDEX_REDUCED", platform: undefined, platforms: [], attestations: 1 }),
      [
        "Note: pushing a part of the image's index, so the digest differs from that of the whole index. Left out: 1 attestation.",
      ],
    ],
    [
      "notes that the registry refuses a manifest, and that a new one is pushed",
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
      "notes how many referrers such as signatures are not pushed, and why",
      notice({ code: "REFERRERS_LEFT_OUT", count: 2 }),
      [
        "Note: leaving out 2 attached manifests, such as signatures: the source lacks a part of them, or they name a digest that the image no longer has.",
      ],
    ],
    [
      "notes that the layers of an image cannot be reused, and why",
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
        id: undefined,
        title: undefined,
        reason: "failed",
        error: new Error("It broke."),
        attempt: 2,
        retries: 5,
        delayMs: 75_000,
      },
      ["ELAPSED  retry 2/5 in 1 min 15 s: It broke."],
    ],
    [
      "shows a retry of a layer with its reason",
      {
        type: "retry",
        ...LAYER,
        reason: "503",
        offsetBytes: 16_800_000,
        error: new Error("It broke."),
        attempt: 1,
        retries: 5,
        delayMs: 75_000,
      },
      ["ELAPSED  retry 1/5 in 1 min 15 s: 0123456789ab at 16.8 MB: 503"],
    ],
    [
      "shows that a stopped push waits for its chunks",
      notice({ code: "STOPPING", keptBytes: 0, totalBytes: 1000 }),
      ["Stopping. Ctrl-C again to stop now."],
    ],
    [
      "shows that the registry refused a body, and the size of the next ones",
      notice({ code: "BODY_REFUSED", ...LAYER, bodyBytes: 50_000_000 }),
      ["layer 1/2 sha256:0123456789ab: request too large; retrying in chunks of 50.0 MB"],
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
      ["Pushed r.example/a:b in TIME: 1.5 kB sent"],
    ],
    [
      "shows that an image was saved from the engine",
      { type: "reading", how: "save", name: "image", doneBytes: 1000, totalBytes: 1000, isDone: true },
      ["ELAPSED  image: saved from the engine, 1.0 kB"],
    ],
    [
      "shows that an archive was unpacked",
      { type: "reading", how: "unpack", name: "x.tar.gz", doneBytes: 1000, totalBytes: 1000, isDone: true },
      ["ELAPSED  x.tar.gz: unpacked, 1.0 kB"],
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
  ])("prints only when debugging %s", (_, facts, line) => {
    expect(linesOf([notice(facts)])).toEqual([]);
    expect(linesOf([notice(facts)], { isDebug: true })).toEqual([line]);
  });

  test.each<[string, PushEvent]>([
    [
      "progress of an upload",
      blob({ state: "uploading", doneBytes: 5, keptBytes: 0, chunkBytes: 9, totalBytes: 10 }),
    ],
    [
      "progress of a save",
      { type: "reading", how: "save", name: "image", doneBytes: 5, totalBytes: 10, isDone: false },
    ],
    ["the plan", { type: "planned", blobs: [LAYER, CONFIG] }],
    ["a layer that was read in vain", blob({ state: "unneeded" })],
  ])("prints no line for %s", (_, event) => {
    expect(linesOf([event])).toEqual([]);
  });
});

/** The lines of a proxy or, in debugging, of a push. */
describe.each([
  ["a push in debugging", { isDebug: true }, "ELAPSED  "],
  ["a proxy", { isProxy: true }, "  "],
])("Each blob of %s", (_, options, start) => {
  const name = LAYER.title;
  test.each<[string, BlobState, string]>([
    ["was cached", { state: "ready", how: "cached", totalBytes: 5.5e6, sizeBytes: 5.5e6 }, "cached, 5.5 MB"],
    [
      "was compressed",
      { state: "ready", how: "compressed", totalBytes: 10e6, sizeBytes: 2.5e6 },
      "compressed, 10.0 MB → 2.5 MB",
    ],
    [
      "was verified",
      { state: "ready", how: "verified", totalBytes: 1e3, sizeBytes: 1e3 },
      "verified, 1.0 kB",
    ],
    ["was present", { state: "done", how: "present", sizeBytes: 999 }, "already in the registry, 999 B"],
    [
      "was mounted",
      { state: "done", how: "mounted", sizeBytes: 999, from: "my/base" },
      "mounted from my/base, 999 B",
    ],
    ["was sent", { state: "done", how: "sent", sizeBytes: 1e3, sentBytes: 1e3 }, "uploaded in TIME, 1.0 kB"],
    [
      "was resumed",
      { state: "done", how: "sent", sizeBytes: 18e6, sentBytes: 10e6 },
      "uploaded in TIME  resumed at 8.0 MB; sent 10 MB, 18.0 MB",
    ],
  ])("has a line in the plain view when it %s", (_, state, words) => {
    expect(linesOf([blob(state)], options)).toEqual([`${start}${name}: ${words}`]);
    expect(linesOf([blob(state)])).toEqual([]);
  });
});

describe("A log of a push", () => {
  afterEach(() => jest.useRealTimers());

  const uploading = (doneBytes: number, keptBytes = doneBytes) =>
    blob({ state: "uploading", doneBytes, keptBytes, chunkBytes: 1e6, totalBytes: 2e6 });

  function watch(options: Partial<PlainOptions> = {}) {
    jest.useFakeTimers();
    const lines: string[] = [];
    return { lines, plain: plainView((line) => lines.push(line), { ...OPTIONS, ...options }) };
  }

  test.each([
    [true, 2_000],
    [false, 10_000],
  ])("has a total at each interval until the push has ended (terminal: %s)", (isTerminal, intervalMs) => {
    const { lines, plain } = watch({ isTerminal });
    plain.report({
      type: "planned",
      blobs: [
        { ...LAYER, sizeBytes: 2e6 },
        { ...SECOND, sourceBytes: 4e6 },
      ],
    });
    plain.report({ type: "settled", resumableBytes: 0 });
    plain.report(uploading(0));
    const { length } = lines;
    jest.advanceTimersByTime(intervalMs - 1);
    expect(lines).toHaveLength(length);
    jest.advanceTimersByTime(1);
    expect(lines.at(-1)).toMatch(/^ *\d+\.\ds {2}0 % {2}0 B\/~4\.0 MB$/);
    plain.report(uploading(1e6));
    jest.advanceTimersByTime(intervalMs);
    expect(lines).toHaveLength(length + 2);
    expect(lines.at(-1)).toContain("25 %  1.0/~4.0 MB");
    plain.report({
      type: "pushed",
      reference: "r/a:b",
      digest: DIGEST,
      sentBytes: 1,
      presentBytes: 0,
      durationMs: 1,
    });
    const ended = lines.length;
    jest.advanceTimersByTime(10 * intervalMs);
    expect(lines).toHaveLength(ended);
    plain[Symbol.dispose]();
  });

  test("has a line with the reused bytes and those to send once every blob is known", () => {
    const blobs = [
      { ...LAYER, sizeBytes: 2e6 },
      { ...SECOND, sizeBytes: 3e6 },
    ];
    expect(
      linesOf([
        { type: "planned", blobs },
        blob({ state: "done", how: "present", sizeBytes: 3e6 }, SECOND),
        { type: "settled", resumableBytes: 0 },
      ]),
    ).toEqual(["ELAPSED  3.0 MB reused, 2.0 MB to send in 1 blob"]);
  });

  test("has lines with the bytes that the registry has, and where each upload resumes", () => {
    const blobs = [{ ...LAYER, sizeBytes: 2e6 }];
    expect(
      linesOf([{ type: "planned", blobs }, { type: "settled", resumableBytes: 500e3 }, uploading(500e3)]),
    ).toEqual([
      "ELAPSED  Resumed: 500 kB of 2.0 MB already in the registry, 1.5 MB to send.",
      "ELAPSED  0123456789ab: resumed at 500 kB",
    ]);
  });

  test("has a line at a stop with the number of chunks to wait for, and the longest wait", () => {
    expect(
      linesOf([
        uploading(1e6, 0),
        notice({ code: "STOPPING", keptBytes: 0, totalBytes: 2e6, withinMs: 6000 }),
      ]),
    ).toEqual(["Finishing 1 chunk, up to 6 s. Ctrl-C again to stop now."]);
  });

  test("has a line for each request only when debugging", () => {
    const request = {
      type: "request",
      method: "PATCH",
      url: "https://r.example/v2/a/blobs/uploads/1?_state=…",
      status: 202,
      failure: undefined,
      durationMs: 1200,
      bodyBytes: 5e6,
    } as const;
    expect(linesOf([request])).toEqual([]);
    expect(linesOf([request], { isDebug: true })).toEqual([
      "ELAPSED  PATCH https://r.example/v2/a/blobs/uploads/1?_state=… 202, 5.0 MB in TIME",
    ]);
  });

  test("has a line for each running blob while the total is unknown", () => {
    const { lines, plain } = watch({ isProxy: true });
    plain.report(uploading(1e6, 0));
    plain.report(
      blob(
        { state: "uploading", doneBytes: 0, keptBytes: 0, chunkBytes: 1e6, totalBytes: undefined },
        SECOND,
      ),
    );
    plain.report({
      type: "reading",
      how: "save",
      name: "x",
      doneBytes: 5,
      totalBytes: undefined,
      isDone: false,
    });
    jest.advanceTimersByTime(10_000);
    expect(lines[0]).toStartWith("  layer 1/2 sha256:0123456789ab: uploading, 50 % of 2.0 MB, ");
    expect(lines[1]).toBe("  layer 2/2: waiting for the client's bytes");
    expect(lines[2]).toStartWith("  x: saving from the engine, 5 B, ");
    plain.report(uploading(2e6));
    jest.advanceTimersByTime(10_000);
    expect(lines[3]).toBe("  layer 1/2 sha256:0123456789ab: waiting for the registry to finish");
    plain[Symbol.dispose]();
    const { length } = lines;
    jest.advanceTimersByTime(60_000);
    expect(lines).toHaveLength(length);
  });

  test("lists ten running uploads, and counts the others", () => {
    const { lines, plain } = watch({ isProxy: true });
    for (let i = 0; i < 30; i++)
      plain.report(
        blob({ state: "verifying", doneBytes: 1, totalBytes: 2 }, { id: `${i}`, title: `blob ${i}` }),
      );
    jest.advanceTimersByTime(10_000);
    expect(lines).toHaveLength(11);
    expect(lines.at(-1)).toBe("  and 20 more");
    plain[Symbol.dispose]();
  });

  test("holds all lines back while a question is on the screen", async () => {
    const { lines, plain } = watch();
    const question = Promise.withResolvers<number>();
    const answer = plain.pauseFor(question.promise);
    plain.report(registry({}));
    expect(lines).toEqual([]);
    question.resolve(7);
    expect(await answer).toBe(7);
    expect(lines).toHaveLength(1);
    plain[Symbol.dispose]();
  });

  test("escapes control characters in everything that it quotes", () => {
    const lines = linesOf([source({ names: ["\x1b[2J\u202eevil"], platform: "::error::x" })]);
    for (const character of ["\x1b", "\u202e"]) expect(lines.join()).not.toContain(character);
  });
});
