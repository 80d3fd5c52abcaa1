/** push() as a program calls it: what it is given, what it reports, and what arrives. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { PushError, type PushEvent, type PushOptions, push } from "../../index.ts";
import { digestOf, hexOf } from "../../src/oci/digest.ts";
import { completeOptions, DEFAULTS } from "../../src/push/options.ts";
import { faultAt, unavailable } from "../support/faults.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

/** A layer of so many bytes that do not compress, as a tar. */
const SMALL = seededLayer(500, 1);
const LARGE = seededLayer(20_000, 2);
const OTHER = seededLayer(700, 3);
const IMAGE = dockerArchive([SMALL, LARGE, OTHER, SMALL], ["team/app:v1"]);

/** An archive and a cache, and pushes from there to one registry or another. */
async function workplace() {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const source = join(folder.path, "image.tar");
  const cache = join(folder.path, "cache");
  await Bun.write(source, IMAGE.archive);
  return {
    source,
    cache,
    registry: async (options: Partial<StrictRegistryOptions> = {}) =>
      resources.use(await startTestRegistry(options)),
    async push(registry: TestRegistry, options: Partial<PushOptions> = {}) {
      const events: PushEvent[] = [];
      const pushed = await push({
        retryDelayMs: 10,
        source,
        target: `${registry.host}/team/app:v1`,
        cacheDirectory: cache,
        report: (event) => events.push(event),
        ...options,
      });
      return { pushed, events };
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

type BlobEvent = Extract<PushEvent, { type: "blob" }>;

function blobEvents(events: readonly PushEvent[], id?: string): BlobEvent[] {
  return events.filter(
    (event): event is BlobEvent => event.type === "blob" && (id === undefined || event.id === id),
  );
}

function plannedIds(events: readonly PushEvent[]): string[] {
  return events.flatMap((event) => (event.type === "planned" ? event.blobs.map(({ id }) => id) : []));
}

/** The strings in an event, but for those that are for people. */
function factsOf(value: unknown, key = ""): string[] {
  if (["title", "error", "reason"].includes(key)) return [];
  if (typeof value === "string") return [value];
  if (typeof value !== "object" || value === null) return [];
  return Object.entries(value).flatMap(([name, each]) => factsOf(each, name));
}

describe("the options of a push", () => {
  test("need no more than a source and a target, which is latest without a tag", () => {
    const complete = completeOptions({ source: "x.tar", target: "registry.example/my/app" });
    expect(complete).toMatchObject({
      ...DEFAULTS,
      source: "x.tar",
      target: { host: "registry.example", repository: "my/app", tag: "latest" },
    });
  });

  test("keep their defaults where a value is undefined", () => {
    // As programs give them that pass on settings of their own, without exactOptionalPropertyTypes.
    const unset = Object.fromEntries(Object.keys(DEFAULTS).map((name) => [name, undefined]));
    const complete = completeOptions({ source: "x.tar", target: "registry.example/my/app", ...unset });
    expect(complete).toMatchObject(DEFAULTS);
  });

  test.each([
    { parallel: 0 },
    { parallel: 1.5 },
    { retries: -1 },
    { retryDelayMs: 0 },
    { chunkBytes: 0 },
    { stallTimeoutMs: Number.NaN },
  ])("are refused with a number that no push can work with: %j", (option) => {
    const [name = ""] = Object.keys(option);
    const complete = () => completeOptions({ source: "x.tar", target: "registry.example/my/app", ...option });
    expect(complete).toThrow(name);
  });

  test.each(["my/app:v1", "", "registry.example/My/App"])(
    "with the target %j are refused before anything is opened",
    async (target) => {
      await using place = await workplace();
      const work = push({ source: place.source, target, cacheDirectory: place.cache });
      expect((await rejection(work)).code).toBe("REFERENCE_INVALID");
      expect(await readdir(place.cache).catch(() => "none")).toBe("none");
    },
  );

  test("may ask for the login, once", async () => {
    await using place = await workplace();
    const credentials = { username: "me", password: "s3cret" };
    const registry = await place.registry({ credentials });
    let asked = 0;
    const { events } = await place.push(registry, {
      login: async () => {
        asked++;
        return { credentials, from: "a keyring" };
      },
    });
    expect(asked).toBe(1);
    expect(events.find(({ type }) => type === "registry")).toEqual({
      type: "registry",
      isSource: false,
      origin: registry.url,
      username: "me",
      credentialsFrom: "a keyring",
      isExposed: false,
      isUnverified: false,
    });
    expect(JSON.stringify(events)).not.toContain("s3cret");
  });

  test("that fail to give a login end the push with that failure", async () => {
    await using place = await workplace();
    const registry = await place.registry();
    const failure = new PushError("PASSWORD_MISSING", "There is none.");
    const work = place.push(registry, { login: () => Promise.reject(failure) });
    expect(await rejection(work)).toBe(failure);
    expect(registry.requests).toEqual([]);
  });
});

describe("the events of a push", () => {
  test("tell of each planned blob by its ID, until it is at the registry", async () => {
    await using place = await workplace();
    const registry = await place.registry();
    const { pushed, events } = await place.push(registry);
    const ids = plannedIds(events);
    // Equal layers are one blob.
    expect(ids).toEqual([IMAGE.config, SMALL, LARGE, OTHER].map(digestOf).map(String));
    expect(new Set(blobEvents(events).map(({ id }) => id))).toEqual(new Set(ids));
    for (const id of ids) {
      const states = blobEvents(events, id);
      expect(states.filter(({ state }) => state === "done")).toHaveLength(1);
      expect(states.at(-1)).toMatchObject({ state: "done", how: "sent" });
      expect(new Set(states.map(({ title }) => title)).size).toBe(1);
    }
    const text = (await registry.pullManifest("team/app", "v1")) ?? "";
    const { reference, digest } = {
      reference: `${registry.host}/team/app:v1`,
      digest: digestOf(Buffer.from(text)),
    };
    expect(pushed).toMatchObject({ reference, digest, presentBytes: 0 });
    expect(events.at(-1)).toMatchObject({ type: "pushed", ...pushed });
    const sent = blobEvents(events).map((event) =>
      event.state === "done" && event.how === "sent" ? event.sentBytes : 0,
    );
    expect(sent.reduce((sum, bytes) => sum + bytes)).toBe(pushed.sentBytes);
  });

  test("tell of each planned blob that the registry has, when the push is repeated", async () => {
    await using place = await workplace();
    const registry = await place.registry();
    const first = await place.push(registry);
    const { pushed, events } = await place.push(registry);
    for (const id of plannedIds(events)) {
      expect(blobEvents(events, id).at(-1)).toMatchObject({ state: "done", how: "present" });
    }
    expect(pushed).toEqual({
      ...first.pushed,
      sentBytes: 0,
      presentBytes: first.pushed.sentBytes,
    });
  });

  test("count a blob as sent alone, where the registry was mistaken that it had it", async () => {
    await using place = await workplace();
    const other = await place.registry();
    const first = await place.push(other);
    const mistaken = faultAt("head-blob", [1], ({ url }) =>
      fetch(other.url + new URL(url).pathname, { method: "HEAD" }),
    );
    const { pushed } = await place.push(await place.registry({ intercept: mistaken }));
    const { sentBytes, presentBytes, digest } = first.pushed;
    expect(pushed).toMatchObject({ sentBytes, presentBytes, digest });
  });

  test("carry their facts in fields, and words for people in titles alone", async () => {
    await using place = await workplace();
    const events: PushEvent[] = [];
    const report = (event: PushEvent) => events.push(event);
    const registry = await place.registry({ intercept: faultAt("head-blob", [1], unavailable) });
    await place.push(registry, { report });
    await place.push(registry, { report, target: `${registry.host}/team/other:v1` });
    const kinds: string[] = events.map((event) =>
      event.type === "notice" ? event.code : "how" in event ? event.how : event.type,
    );
    for (const kind of ["retry", "compressed", "cached", "sent", "mounted", "pushed"])
      expect(kinds).toContain(kind);
    for (const event of events) for (const fact of factsOf(event)) expect(fact).toMatch(/^\S*$/);
  });
});

describe("a question about a blob that the registry answers with 503", () => {
  const digests = [IMAGE.config, SMALL, LARGE, OTHER].map((bytes) => digestOf(bytes) as string);

  test.each([
    ["the config", 3, digests[0] ?? ""],
    ["the largest layer", 3, digests[2] ?? ""],
    ["the config", 1, digests[0] ?? ""],
    ["the largest layer", 1, digests[2] ?? ""],
  ])(
    "does not hold up the others where it is about %s (parallel: %d)",
    async (_, parallel, slow) => {
      await using place = await workplace();
      const others = digests.filter((digest) => digest !== slow);
      const closed = (): string[] =>
        registry
          .recorded("close-upload")
          .flatMap(({ query }) => decodeURIComponent(/digest=([^&]*)/.exec(query)?.[1] ?? ""));
      // Until all others are at the registry. Pushes that wait for the answer run out of retries.
      const intercept: Intercept = (request, kind) =>
        kind === "head-blob" && request.url.endsWith(slow) && closed().length < others.length
          ? new Response(null, { status: 503 })
          : undefined;
      const registry: TestRegistry = await place.registry({ intercept });
      await place.push(registry, { parallel, retries: 2, retryDelayMs: 1000, compression: { kind: "none" } });
      expect(closed().slice(0, -1).toSorted()).toEqual(others.toSorted());
      expect(closed().at(-1)).toBe(slow);
      const heads = registry.recorded("head-blob").filter(({ path }) => path.endsWith(slow));
      expect(heads[0]?.status).toBe(503);
      expect(heads.at(-1)?.status).toBe(404);
    },
    20_000,
  );
});

describe("a damaged blob in the cache", () => {
  const limits = { "in chunks": {}, "in one request": { maxChunkBytes: 100_000_000 } } as const;
  const places = { first: 0, middle: 9_000, last: -1 } as const;
  const cases = Object.entries(limits).flatMap(([how, limit]) =>
    Object.entries(places).map(([which, at]) => ({ which, how, at, limit })),
  );

  test.each(cases)("with its $which byte wrong is made again and sent whole, $how", async ({ at, limit }) => {
    await using place = await workplace();
    await place.push(await place.registry());
    const pointer = join(place.cache, `${hexOf(digestOf(LARGE))}-ptr`);
    const hex = (await Bun.file(pointer).text()).trim();
    const path = join(place.cache, hex);
    const whole = await Bun.file(path).bytes();
    await Bun.write(path, whole.with(at, (whole.at(at) ?? 0) ^ 1));

    const registry = await place.registry(limit);
    const { events } = await place.push(registry);
    const states = blobEvents(events, digestOf(LARGE));
    const ready = states.flatMap((event) => (event.state === "ready" ? [event.how] : []));
    expect(ready).toEqual(["cached", "compressed"]);
    const done = states.filter(({ state }) => state === "done");
    expect(done).toEqual([states.at(-1) as BlobEvent]);
    expect(done[0]).toMatchObject({ how: "sent", sizeBytes: whole.length, sentBytes: whole.length });

    // The registry refuses to close an upload with wrong bytes. 0 is a request that was broken off.
    const closings = registry.recorded("close-upload");
    expect(closings.filter(({ status }) => status !== 201 && status !== 0)).toEqual([]);
    const ours = closings.filter(({ query, status }) => query.includes(hex) && status === 201);
    expect(ours).toHaveLength(1);
    expect(await registry.pullBlob("team/app", `sha256:${hex}`)).toEqual(whole);
    expect(await Bun.file(path).bytes()).toEqual(whole);
  });
});
