/** What a check learns from the first answer of a registry: its kind, its certificate and its clock. */
import { describe, expect, test } from "bun:test";
import { checkRegistry } from "../../src/check/check.ts";
import { PushError } from "../../src/errors.ts";
import { createSelfSigned } from "../support/certificates.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startRawServer } from "../support/raw-server.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { check, failuresOf, ME, openAuthority, optionsOf, stepOf } from "./run-check.ts";

const authority = openAuthority();

/** A check over HTTPS. */
const secure = ({ host }: { readonly host: string }) =>
  ({ host, caFiles: [authority().path], target: { scheme: "https", host, repository: "team/app" } }) as const;

async function selfSigned() {
  await using folder = await temporaryFolder();
  return await createSelfSigned(folder.path);
}

describe("The step Registry of a check", () => {
  const page = "<!doctype html><title>Welcome \u001b[31mhome</title>";
  const html = (status: number) => () =>
    new Response(page, { status, headers: { "content-type": "text/html" } });

  test.each([200, 401, 404])(
    "fails at a website that answers %d with a page, and quotes its title",
    async (status) => {
      await using server = startHttpServer(html(status));
      const checked = await check(server);
      expect(failuresOf(checked)).toEqual([["Registry", "NOT_A_REGISTRY"]]);
      expect(stepOf(checked, "Registry").facts).toMatchObject({ status, title: "Welcome  [31mhome" });
    },
  );

  test.each([
    [403, "DENIED"],
    [503, "REGISTRY_FAILED"],
    [522, "REGISTRY_FAILED"],
  ])(
    "fails at an error page with status %d, such as that of a firewall or of a Worker that is down, as %s",
    async (status, code) => {
      await using server = startHttpServer(html(status));
      expect(failuresOf(await check(server))).toEqual([["Registry", code]]);
    },
  );

  test("passes where a proxy asks for the registry's login with a page", async () => {
    const headers = { "content-type": "text/html", "www-authenticate": 'Basic realm="here"' };
    await using server = startHttpServer(() => new Response(page, { status: 401, headers }));
    expect(failuresOf(await check(server))).toEqual([["Login", "UNAUTHORIZED"]]);
  });

  test("passes at a registry that does not serve /v2/ itself", async () => {
    await using registry = await startTestRegistry({
      credentials: ME,
      intercept: (_, kind) => (kind === "ping" ? new Response("Not Found", { status: 404 }) : undefined),
    });
    const checked = await check(registry);
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "Push").state).toBe("ok");
  });

  test("fails at a server that answers 200 to everything", async () => {
    await using server = startHttpServer(() => new Response("ok"));
    expect(failuresOf(await check(server))).toEqual([["Registry", "NOT_A_REGISTRY"]]);
  });

  test("fails at a server that answers 404 to everything", async () => {
    await using server = startHttpServer(() => new Response("Not Found", { status: 404 }));
    expect(failuresOf(await check(server))).toEqual([["Registry", "NOT_A_REGISTRY"]]);
  });

  test("fails at the login page of Cloudflare Access, and says what to set", async () => {
    const to = "https://team.cloudflareaccess.com/cdn-cgi/access/login/x";
    await using server = startHttpServer(() => new Response("", { status: 302, headers: { location: to } }));
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "UNAUTHORIZED"]]);
    expect(stepOf(checked, "Registry").hint).toContain("CF-Access-Client-Id");
  });

  test("fails at a server that hangs up", async () => {
    await using server = startRawServer("");
    expect(failuresOf(await check(server))).toEqual([["Registry", "CONNECTION_LOST"]]);
  });

  test("fails at a silent server after the stall timeout", async () => {
    await using server = startRawServer(undefined);
    const checked = await check({ ...server, stallTimeoutMs: 200 });
    expect(failuresOf(checked)).toEqual([["Registry", "STALLED"]]);
    // A check has nothing to resume.
    expect(stepOf(checked, "Registry").hint).not.toContain("resume");
  });

  test("fails at a rate limit, and says to run the check again", async () => {
    await using server = startHttpServer(() => new Response("", { status: 429 }));
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "RATE_LIMITED"]]);
    expect(stepOf(checked, "Registry").hint).not.toContain("resume");
  });
});

describe("A redirect of /v2/ in a check", () => {
  const headers = { "cf-access-client-secret": "a-secret-of-cloudflare-access" };

  /** A server that redirects every request to the same path of another one. */
  const redirecting = (to: string) =>
    startHttpServer(({ url }) => Response.redirect(`${to}${new URL(url).pathname}`, 307));

  test("is followed without credentials, and the step says where it leads", async () => {
    const asked: Headers[] = [];
    await using registry = await startTestRegistry({
      intercept(request) {
        asked.push(request.headers);
        return undefined;
      },
    });
    await using server = redirecting(registry.url);
    const checked = await check({ ...server, headers });
    expect(failuresOf(checked)).toEqual([]);
    const led = `${registry.url}/v2/`;
    expect(stepOf(checked, "Registry")).toMatchObject({
      text: expect.stringContaining(led),
      facts: { redirectedTo: led },
    });
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.filter((each) => each.has("authorization") || each.has("cf-access-client-secret"))).toEqual(
      [],
    );
  });

  test("to a registry that requires a login fails, because no credentials are sent there", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using server = redirecting(registry.url);
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "UNAUTHORIZED"]]);
    expect(stepOf(checked, "Registry").text).toContain(registry.url);
  });

  test("to a website fails with the host of that website", async () => {
    await using website = startHttpServer(
      () => new Response("<title>Hello</title>", { headers: { "content-type": "text/html" } }),
    );
    await using server = redirecting(website.url);
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "NOT_A_REGISTRY"]]);
    expect(stepOf(checked, "Registry").text).toContain(website.host);
  });

  test("to a server that cannot be reached fails, and the step says where it leads", async () => {
    const gone = startHttpServer(() => new Response());
    await gone[Symbol.asyncDispose]();
    await using server = redirecting(gone.url);
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "CONNECTION_REFUSED"]]);
    expect(stepOf(checked, "Registry").facts).toMatchObject({ redirectedTo: `${gone.url}/v2/` });
  });

  test("to a server with an unknown certificate is no failure of the registry's own TLS", async () => {
    await using other = await startTestRegistry({ tls: await selfSigned() });
    await using server = await startTestRegistry({
      tls: await authority().issue(),
      intercept: async () => Response.redirect(`https://${other.host}/v2/`, 301),
    });
    const checked = await check(secure(server));
    expect(failuresOf(checked)).toEqual([["Registry", "TLS_UNTRUSTED"]]);
  });

  test("in a circle, or from HTTPS to plain HTTP, is refused", async () => {
    await using circle = startHttpServer(({ url }) => Response.redirect(url, 301));
    expect(failuresOf(await check(circle))).toEqual([["Registry", "REDIRECT_REFUSED"]]);
    await using server = await startTestRegistry({
      tls: await authority().issue(),
      intercept: async () => Response.redirect(circle.url, 301),
    });
    const checked = await check(secure(server));
    expect(failuresOf(checked)).toEqual([["Registry", "REDIRECT_REFUSED"]]);
  });

  test("to a silent server does not keep an interrupt from ending the check", async () => {
    const interrupt = new AbortController();
    await using silent = startHttpServer(() => {
      interrupt.abort(new PushError("INTERRUPTED", "Interrupted."));
      return new Promise<never>(() => {});
    });
    await using server = redirecting(silent.url);
    const onStep = { begin: () => {}, end: () => {} };
    const error = await rejection(checkRegistry(optionsOf(server), onStep, interrupt.signal));
    expect(error.code).toBe("INTERRUPTED");
  });
});

describe("The step TLS of a check", () => {
  test("shows issuer, end and names of a trusted certificate", async () => {
    await using registry = await startTestRegistry({ credentials: ME, tls: await authority().issue() });
    const checked = await check(secure(registry));
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "TLS")).toMatchObject({
      state: "ok",
      facts: { issuer: "Authority of the tests", names: ["127.0.0.1"], validTo: expect.any(String) },
    });
  });

  test.each([
    ["for another name", { altName: "DNS:other.example" }, "other.example"],
    ["that has expired", { endDate: "20200201000000Z" }, "expired on 2020-02-01"],
  ])("fails with a certificate %s, and says so", async (_, options, said) => {
    await using registry = await startTestRegistry({ tls: await authority().issue(options) });
    const checked = await check(secure(registry));
    expect(failuresOf(checked)).toEqual([["TLS", "TLS_UNTRUSTED"]]);
    expect(stepOf(checked, "TLS").text).toContain(said);
  });

  test("fails with a certificate of an unknown authority, and names it", async () => {
    await using registry = await startTestRegistry({ tls: await selfSigned() });
    const checked = await check(secure(registry));
    expect(failuresOf(checked)).toEqual([["TLS", "TLS_UNTRUSTED"]]);
    expect(stepOf(checked, "TLS").facts).toMatchObject({ issuer: "self" });
  });

  test("passes an untrusted certificate with the user's consent, and says so", async () => {
    await using registry = await startTestRegistry({ tls: await selfSigned() });
    const checked = await check({ ...secure(registry), skipVerify: true });
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "TLS").text).toStartWith("not verified");
  });

  test("fails at a server that speaks plain HTTP", async () => {
    await using registry = await startTestRegistry();
    const checked = await check(secure(registry));
    expect(failuresOf(checked)).toEqual([["TLS", "TLS_UNSUPPORTED"]]);
  });

  test("is not reached in plain HTTP at a server that requires TLS, and the check fails", async () => {
    await using registry = await startTestRegistry({ tls: await authority().issue() });
    expect((await check(registry)).ready).toBe(false);
  });
});

describe("The step Clock of a check", () => {
  test.each([
    [-3_600_000, 3600],
    [3_600_000, -3600],
  ])("tells how far the clocks differ where the registry's is %d ms off", async (differsMs, skewSeconds) => {
    const date = () => new Date(Date.now() + differsMs).toUTCString();
    await using server = startHttpServer(
      () =>
        new Response("{}", { status: 401, headers: { date: date(), "content-type": "application/json" } }),
    );
    const { state, facts } = stepOf(await check({ ...server, repository: "" }), "Clock");
    expect(state).toBe("limited");
    expect(Math.abs((facts?.["skewSeconds"] as number) - skewSeconds)).toBeLessThan(5);
  });
});
