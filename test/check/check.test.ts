/** What a whole check finds, and what it leaves behind. */
import { describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { PROFILES, type Profile, type ProfileName } from "../../dev/registry/profiles.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { checkRegistry } from "../../src/check/check.ts";
import type { OnStep } from "../../src/check/steps.ts";
import { PushError } from "../../src/errors.ts";
import { startHttpServer } from "../support/http-server.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { check, failuresOf, ME, openAuthority, optionsOf, statesOf, stepOf } from "./run-check.ts";

const authority = openAuthority();

describe("A check of a working registry", () => {
  test("passes every step, and keeps no upload", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const checked = await check(registry);
    expect(checked.ready).toBe(true);
    expect(statesOf(checked)).toEqual({
      Name: "ok",
      TCP: "ok",
      TLS: "unused",
      Registry: "ok",
      Login: "ok",
      Push: "ok",
      Chunks: "ok",
      Resume: "ok",
      Clock: "ok",
    });
    expect(stepOf(checked, "Chunks").facts).toMatchObject({ minBytes: 1024, maxBytes: 65_536 });
    expect(registry.requests.at(-1)).toMatchObject({ method: "DELETE", status: 204 });
  });

  test("sends small chunks although the registry asks for 5 MiB, and finds that it resumes", async () => {
    await using registry = await startTestRegistry({
      credentials: ME,
      minChunkBytes: 5_242_880,
      maxChunkBytes: 100_000_000,
    });
    expect(stepOf(await check(registry), "Resume").state).toBe("ok");
    const bodies = registry.recorded("patch").map(({ bodyBytes }) => bodyBytes);
    expect(bodies.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(1_200_000);
  });

  test("leaves the cache folder as it was", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using cache = await temporaryFolder();
    expect((await check({ ...registry, cacheDirectory: cache.path })).ready).toBe(true);
    expect(await readdir(cache.path)).toEqual([]);
  });

  test("begins no upload where no repository is named", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const checked = await check({ ...registry, repository: "" });
    expect(checked.ready).toBe(true);
    expect(statesOf(checked)).toMatchObject({ Login: "ok", Push: "skipped", Resume: "skipped", Clock: "ok" });
    expect(registry.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("names the host of the token server, and checks the right to push", async () => {
    await using tokens = startTokenServer({ credentials: ME });
    await using registry = await startTestRegistry({ tokens });
    const checked = await check(registry);
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "Registry").text).toContain(new URL(tokens.realm).host);
  });

  test.each(Object.keys(PROFILES) as ProfileName[])(
    "finds a registry like %s ready, and whether it resumes",
    async (profile) => {
      await using registry = await startTestRegistry({
        credentials: ME,
        profile,
        chunkHints: false,
        maxBodyBytes: 1_000_000,
      });
      const checked = await check(registry);
      expect(checked.ready).toBe(true);
      const { cut, status, overwrites }: Profile = PROFILES[profile];
      const resumes = cut === "kept" && !status.always && !overwrites;
      expect(stepOf(checked, "Resume").state).toBe(resumes ? "ok" : "limited");
    },
  );
});

describe("A check of a login", () => {
  test("with a wrong password fails at the step Login, and skips the steps that need it", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const login = Promise.resolve({ credentials: { username: "me", password: "wrong" } });
    const checked = await check({ ...registry, login });
    expect(checked.ready).toBe(false);
    expect(failuresOf(checked)).toEqual([["Login", "UNAUTHORIZED"]]);
    expect(statesOf(checked)).toMatchObject({ Push: "skipped", Chunks: "skipped", Resume: "skipped" });
    expect(stepOf(checked, "Login").hint).toBeDefined();
  });

  test("fails at the step Login without credentials where the registry requires them", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    expect(failuresOf(await check({ ...registry, login: Promise.resolve(undefined) }))).toEqual([
      ["Login", "UNAUTHORIZED"],
    ]);
  });

  test("fails at the step Login alone where the credentials cannot be read", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const login = Promise.reject(new PushError("CREDENTIAL_HELPER_FAILED", "The helper failed."));
    expect(failuresOf(await check({ ...registry, login }))).toEqual([["Login", "CREDENTIAL_HELPER_FAILED"]]);
  });

  test("without the right to push fails at the step Push", async () => {
    await using tokens = startTokenServer({ credentials: ME, grant: () => ["pull"] });
    await using registry = await startTestRegistry({ tokens });
    const checked = await check(registry);
    expect(failuresOf(checked)).toEqual([["Push", "UNAUTHORIZED"]]);
  });
});

test("A check of a server that repeats the user's headers and password shows neither", async () => {
  const headers = { "cf-access-client-secret": "a-secret-of-cloudflare-access" };
  const said = Object.values(headers)[0] + ME.password;
  for (const status of [200, 401, 404]) {
    await using server = startHttpServer(
      () =>
        new Response(`<title>${said}</title>`, {
          status,
          headers: { "content-type": "text/html", server: said },
        }),
    );
    expect(JSON.stringify(await check({ ...server, headers }))).not.toContain(
      headers["cf-access-client-secret"],
    );
  }
  await using registry = await startTestRegistry({
    credentials: ME,
    maxChunkBytes: 100_000_000,
    intercept: (_, kind) =>
      kind === "patch"
        ? new Response(`<title>${said}</title>`, {
            status: 413,
            headers: { "content-type": "text/html", server: said },
          })
        : undefined,
  });
  const text = JSON.stringify(await check({ ...registry, headers, uploadBytes: 200_000 }));
  expect(text).toContain("***");
  expect(text).not.toContain("a-secret-of-cloudflare-access");
  expect(text).not.toContain(ME.password);
});

test.each(["Name", "TCP", "TLS"] as const)(
  "A check that is interrupted in its step %s ends there, and the step has no result",
  async (interrupted) => {
    await using registry = await startTestRegistry({ tls: await authority().issue() });
    const interrupt = new AbortController();
    const told: string[] = [];
    const onStep: OnStep = {
      begin(step) {
        told.push(`${step} begins`);
        if (step === interrupted) interrupt.abort(new PushError("INTERRUPTED", "Interrupted."));
      },
      end: ({ step }) => told.push(`${step} ends`),
    };
    const options = optionsOf({ ...registry, target: { scheme: "https", host: registry.host } });
    const error = await rejection(checkRegistry(options, onStep, interrupt.signal));
    expect([error.code, told.at(-1)]).toEqual(["INTERRUPTED", `${interrupted} begins`]);
  },
);
