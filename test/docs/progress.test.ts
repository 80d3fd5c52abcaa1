/** docs/progress.md has the whole schema of the events as JSON. Its samples are complete by their types. */
import { expect, test } from "bun:test";
import { PushError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import type { BlobState, Notice, PushEvent } from "../../src/report/events.ts";
import { jsonError, jsonView, jsonWarning } from "../../src/report/json.ts";
import { readPage } from "./pages.ts";

/** An object in which no field is left out. */
type Complete<T> = T extends unknown ? { [K in keyof T]-?: Exclude<T[K], undefined> | undefined } : never;

const DIGEST = digestOf("");

const EVENTS: {
  [T in Exclude<PushEvent["type"], "blob" | "notice">]: Complete<Extract<PushEvent, { type: T }>>;
} = {
  registry: {
    type: "registry",
    isSource: false,
    origin: "",
    username: undefined,
    credentialsFrom: undefined,
    isExposed: false,
    isUnverified: false,
  },
  source: {
    type: "source",
    origin: { kind: "engine", name: "", engine: "", date: undefined, sizeBytes: undefined },
    names: [],
    platform: undefined,
    layerCount: 0,
    layerBytes: undefined,
    isNamedOtherwise: false,
  },
  reading: { type: "reading", how: "unpack", name: "", doneBytes: 0, totalBytes: undefined, isDone: false },
  planned: { type: "planned", blobs: [{ id: "", title: "", sizeBytes: 1, sourceBytes: 1 }] },
  settled: { type: "settled", resumableBytes: 0 },
  retry: {
    type: "retry",
    id: undefined,
    title: undefined,
    error: new Error("It broke."),
    reason: "",
    offsetBytes: 0,
    attempt: 1,
    retries: 1,
    delayMs: 1,
  },
  pushed: {
    type: "pushed",
    reference: "",
    digest: DIGEST,
    sentBytes: 0,
    presentBytes: 0,
    requests: { bodies: 0, largestBytes: 0, retries: 0 },
    durationMs: 0,
  },
  request: {
    type: "request",
    method: "",
    url: "",
    status: undefined,
    failure: undefined,
    durationMs: 0,
    bodyBytes: 0,
  },
};

const STATES: Record<BlobState["state"], readonly Complete<BlobState>[]> = {
  "awaiting-compress": [{ state: "awaiting-compress" }],
  "awaiting-upload": [{ state: "awaiting-upload" }],
  unneeded: [{ state: "unneeded" }],
  identified: [{ state: "identified", as: "" }],
  compressing: [{ state: "compressing", doneBytes: 0, totalBytes: undefined }],
  verifying: [{ state: "verifying", doneBytes: 0, totalBytes: undefined }],
  uploading: [{ state: "uploading", doneBytes: 0, keptBytes: 0, chunkBytes: 0, totalBytes: undefined }],
  ready: [{ state: "ready", how: "cached", totalBytes: 0, sizeBytes: 0 }],
  done: [
    { state: "done", how: "present", sizeBytes: 0 },
    { state: "done", how: "mounted", sizeBytes: undefined, from: "" },
    { state: "done", how: "sent", sizeBytes: 0, sentBytes: 0 },
  ],
};

const CODES: Record<Notice["code"], true> = {
  PASSWORD_AWAITED: true,
  PASSWORD_EXPOSED: true,
  CACHE_AWAITED: true,
  LOCKS_UNAVAILABLE: true,
  PROGRESS_NOT_SAVED: true,
  CACHE_DISTRUSTED: true,
  INDEX_REDUCED: true,
  SOURCE_NAMED_OTHERWISE: true,
  SOURCE_STALE: true,
  MANIFEST_REFUSED: true,
  CACHE_FROM_MISSING: true,
  DIGEST_CHANGED: true,
  REFERRERS_LEFT_OUT: true,
  STORAGE_UNREAD: true,
  ENGINE_PUSHES: true,
  ENGINE_SAVES: true,
  BODY_REFUSED: true,
  STOPPING: true,
  STOPPED: true,
};

const page = await readPage("docs/progress.md");
const rows = [...page.matchAll(/^\| (`.+?`) \| .*? \| (.*) \|$/gm)];

/** The fields that the row of a name has, those in brackets included. */
function documented(name: string): string[] {
  const row = rows.find(([, names = ""]) => names.includes(`\`${name}\``));
  return [...(row?.[2] ?? "").matchAll(/`([a-zA-Z]+)`/g)].map(([, field = ""]) => field).toSorted();
}

/** All names of fields in a line of JSON, but those that every line has, and values that the page lists. */
function fieldsOf(line: string): string[] {
  const names: string[] = [];
  JSON.parse(line, (key, value) => {
    if (!/^(?:v|time|type|state|\d*)$/.test(key)) names.push(key);
    return value;
  });
  return [...new Set(names)].toSorted();
}

function told(event: PushEvent): string {
  const lines: string[] = [];
  using view = jsonView((line) => lines.push(line), true);
  view.report(event);
  return lines[0] ?? "";
}

/** Values of `how`, which stand beside the fields. */
const VALUES = ["unpack", "read", "save", "cached", "compressed", "verified", "present", "mounted", "sent"];

const withoutValues = (fields: readonly string[]) => fields.filter((field) => !VALUES.includes(field));

test("docs/progress.md has every type of event with every field, and no other", () => {
  for (const [type, event] of Object.entries(EVENTS))
    expect([type, withoutValues(documented(type))]).toEqual([type, fieldsOf(told(event as PushEvent))]);
  expect(documented("warning")).toEqual(fieldsOf(jsonWarning("x")));
  expect(documented("error")).toEqual(fieldsOf(jsonError(new PushError("USAGE", "x"), 2)));
});

test("docs/progress.md has every state of a blob with every field, and no other", () => {
  for (const [state, samples] of Object.entries(STATES)) {
    const fields = samples.flatMap((each) =>
      fieldsOf(told({ type: "blob", id: "", title: "", ...each } as PushEvent)),
    );
    const own = new Set(fields.filter((field) => field !== "id" && field !== "title"));
    expect([state, withoutValues(documented(state))]).toEqual([state, [...own].toSorted()]);
  }
});

test("docs/progress.md has every code of a notice, and no other", () => {
  const [, codes = ""] = /The codes of a `notice` are ([^.]*)\./.exec(page) ?? [];
  expect([...codes.matchAll(/`(\w+)`/g)].map(([, code = ""]) => code)).toEqual(Object.keys(CODES));
});

test("A line of JSON has nothing that steers a terminal or a CI system, whatever it quotes", () => {
  const name = "\x1b[2J\x7f\u202e\u2028##[error]\n::error::";
  const line = told({ ...EVENTS.reading, name } as PushEvent);
  expect(line).not.toMatch(/[\p{Cc}\p{Cf}\p{Zl}\p{Zp}]|##\[/u);
  expect(JSON.parse(line).name).toBe(name);
});

test("An error that is retried is an event with its code and its message", () => {
  const error = new PushError("STALLED", "Nothing came.");
  expect(JSON.parse(told({ ...EVENTS.retry, error } as PushEvent)).error).toEqual({
    code: "STALLED",
    message: "Nothing came.",
  });
});
