/** What `check` finds: each step, at servers that behave and at those that do not. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { readdir } from "node:fs/promises";
import { createServer } from "node:net";
import { PROFILES, type Profile, type ProfileName } from "../../dev/registry/profiles.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { type Checked, type CheckOptions, checkRegistry } from "../../src/check/check.ts";
import type { StepName } from "../../src/check/steps.ts";
import { PushError } from "../../src/errors.ts";
import { proxyFrom } from "../../src/registry/http/proxy.ts";
import { type Authority, createAuthority, createSelfSigned } from "../support/certificates.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startRawServer } from "../support/raw-server.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const ME = { username: "me", password: "hush-Xq7-hush-Xq7" };

let folder: TemporaryFolder;
let authority: Authority;
beforeAll(async () => {
  folder = await temporaryFolder();
  authority = await createAuthority(folder.path);
});
afterAll(() => folder[Symbol.asyncDispose]());

type Given = Partial<CheckOptions> & { readonly host: string; readonly repository?: string };

function check({ host, repository = "team/app", ...given }: Given): Promise<Checked> {
  const options: CheckOptions = {
    target: { scheme: undefined, host, ...(repository !== "" && { repository }) },
    headers: {},
    insecure: false,
    chunkBytes: undefined,
    stallTimeoutMs: 5000,
    proxy: proxyFrom(given.environment ?? {}),
    caFiles: [authority.path],
    skipVerify: false,
    clientCertificate: undefined,
    login: Promise.resolve({ credentials: ME }),
    cacheDirectory: folder.path,
    cacheOwners: [],
    uploadBytes: undefined,
    environment: {},
    ...given,
  };
  return checkRegistry(options, { begin: () => {}, end: () => {} }, new AbortController().signal);
}

function stepOf({ steps }: Checked, name: StepName) {
  const found = steps.find(({ step }) => step === name);
  if (found === undefined) throw new Error(`there is no step ${name}`);
  return found;
}

/** The states by the names of the steps. */
function statesOf({ steps }: Checked): Record<string, string> {
  return Object.fromEntries(steps.map(({ step, state }) => [step, state]));
}

/** What fails, and how programs are told. */
function failuresOf({ steps }: Checked) {
  return steps.filter(({ state }) => state === "failed").map(({ step, facts }) => [step, facts?.["code"]]);
}

describe("a registry that works", () => {
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

  test("that takes chunks from 5 MiB on is sent small ones, and resumes", async () => {
    await using registry = await startTestRegistry({
      credentials: ME,
      minChunkBytes: 5_242_880,
      maxChunkBytes: 100_000_000,
    });
    expect(stepOf(await check(registry), "Resume").state).toBe("ok");
    const bodies = registry.recorded("patch").map(({ bodyBytes }) => bodyBytes);
    expect(bodies.reduce((sum, bytes) => sum + bytes, 0)).toBeLessThan(1_200_000);
  });

  test("leaves the folder of the cache as it was", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using cache = await temporaryFolder();
    expect((await check({ ...registry, cacheDirectory: cache.path })).ready).toBe(true);
    expect(await readdir(cache.path)).toEqual([]);
  });

  test("is sent no upload where no repository is named", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const checked = await check({ ...registry, repository: "" });
    expect(checked.ready).toBe(true);
    expect(statesOf(checked)).toMatchObject({ Login: "ok", Push: "skipped", Resume: "skipped", Clock: "ok" });
    expect(registry.requests.map(({ method }) => method)).toEqual(["GET", "GET"]);
  });

  test("with a token server tells its host, and checks the right to push", async () => {
    await using tokens = startTokenServer({ credentials: ME });
    await using registry = await startTestRegistry({ tokens });
    const checked = await check(registry);
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "Registry").text).toContain(new URL(tokens.realm).host);
  });

  test.each(Object.keys(PROFILES) as ProfileName[])("that is like %s is ready", async (profile) => {
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
  });
});

describe("a login", () => {
  test("that is wrong fails the step, and skips what follows", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const login = Promise.resolve({ credentials: { username: "me", password: "wrong" } });
    const checked = await check({ ...registry, login });
    expect(checked.ready).toBe(false);
    expect(failuresOf(checked)).toEqual([["Login", "UNAUTHORIZED"]]);
    expect(statesOf(checked)).toMatchObject({ Push: "skipped", Chunks: "skipped", Resume: "skipped" });
    expect(stepOf(checked, "Login").hint).toBeDefined();
  });

  test("that is missing fails the step where the registry requires one", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    expect(failuresOf(await check({ ...registry, login: Promise.resolve(undefined) }))).toEqual([
      ["Login", "UNAUTHORIZED"],
    ]);
  });

  test("that cannot be read fails the step alone", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const login = Promise.reject(new PushError("CREDENTIAL_HELPER_FAILED", "The helper failed."));
    expect(failuresOf(await check({ ...registry, login }))).toEqual([["Login", "CREDENTIAL_HELPER_FAILED"]]);
  });

  test("without the right to push fails at the push", async () => {
    await using tokens = startTokenServer({ credentials: ME, grant: () => ["pull"] });
    await using registry = await startTestRegistry({ tokens });
    const checked = await check(registry);
    expect(failuresOf(checked)).toEqual([["Push", "UNAUTHORIZED"]]);
  });
});

describe("what is no registry", () => {
  const page = "<!doctype html><title>Welcome \u001b[31mhome</title>";
  const html = (status: number) => () =>
    new Response(page, { status, headers: { "content-type": "text/html" } });

  test.each([200, 401, 404])("a website that answers %d with a page fails, by its title", async (status) => {
    await using server = startHttpServer(html(status));
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "NOT_A_REGISTRY"]]);
    expect(stepOf(checked, "Registry").facts).toMatchObject({ status, title: "Welcome  [31mhome" });
  });

  test.each([
    [403, "DENIED"],
    [503, "REGISTRY_FAILED"],
    [522, "REGISTRY_FAILED"],
  ])("a page with %d fails with %s: a firewall's, or that of a Worker that is down", async (status, code) => {
    await using server = startHttpServer(html(status));
    expect(failuresOf(await check(server))).toEqual([["Registry", code]]);
  });

  test("a page with which a proxy in front of a registry asks for the login is no failure", async () => {
    const headers = { "content-type": "text/html", "www-authenticate": 'Basic realm="here"' };
    await using server = startHttpServer(() => new Response(page, { status: 401, headers }));
    expect(failuresOf(await check(server))).toEqual([["Login", "UNAUTHORIZED"]]);
  });

  test("a registry that does not serve /v2/ itself is one", async () => {
    await using registry = await startTestRegistry({
      credentials: ME,
      intercept: (_, kind) => (kind === "ping" ? new Response("Not Found", { status: 404 }) : undefined),
    });
    const checked = await check(registry);
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "Push").state).toBe("ok");
  });

  test("a server that repeats the user's headers and password shows neither", async () => {
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

  test("a server that answers 200 to everything fails", async () => {
    await using server = startHttpServer(() => new Response("ok"));
    expect(failuresOf(await check(server))).toEqual([["Registry", "NOT_A_REGISTRY"]]);
  });

  test("a server that answers 404 to everything fails", async () => {
    await using server = startHttpServer(() => new Response("Not Found", { status: 404 }));
    expect(failuresOf(await check(server))).toEqual([["Registry", "NOT_A_REGISTRY"]]);
  });

  test("the login page of Cloudflare Access fails with what to set", async () => {
    const to = "https://team.cloudflareaccess.com/cdn-cgi/access/login/x";
    await using server = startHttpServer(() => new Response("", { status: 302, headers: { location: to } }));
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "UNAUTHORIZED"]]);
    expect(stepOf(checked, "Registry").hint).toContain("CF-Access-Client-Id");
  });

  test("a server that hangs up fails", async () => {
    await using server = startRawServer("");
    expect(failuresOf(await check(server))).toEqual([["Registry", "CONNECTION_LOST"]]);
  });

  test("a silent server fails within the stall timeout", async () => {
    await using server = startRawServer(undefined);
    expect(failuresOf(await check({ ...server, stallTimeoutMs: 200 }))).toEqual([["Registry", "STALLED"]]);
  });
});

describe("a redirect of /v2/", () => {
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

  test("to a registry that requires a login fails, because credentials do not go there", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using server = redirecting(registry.url);
    const checked = await check(server);
    expect(failuresOf(checked)).toEqual([["Registry", "UNAUTHORIZED"]]);
    expect(stepOf(checked, "Registry").text).toContain(registry.url);
  });

  test("to a website fails as the website itself does", async () => {
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
    await using other = await startTestRegistry({ tls: await createSelfSigned(folder.path) });
    await using server = await startTestRegistry({
      tls: await authority.issue(),
      intercept: async () => Response.redirect(`https://${other.host}/v2/`, 301),
    });
    const checked = await check({ ...server, target: { scheme: "https", host: server.host } });
    expect(failuresOf(checked)).toEqual([["Registry", "TLS_UNTRUSTED"]]);
  });

  test("in a circle, or from HTTPS to plain HTTP, is refused", async () => {
    await using circle = startHttpServer(({ url }) => Response.redirect(url, 301));
    expect(failuresOf(await check(circle))).toEqual([["Registry", "REDIRECT_REFUSED"]]);
    await using secure = await startTestRegistry({
      tls: await authority.issue(),
      intercept: async () => Response.redirect(circle.url, 301),
    });
    const checked = await check({ ...secure, target: { scheme: "https", host: secure.host } });
    expect(failuresOf(checked)).toEqual([["Registry", "REDIRECT_REFUSED"]]);
  });
});

describe("a host", () => {
  test("without an address in the DNS fails by name", async () => {
    const checked = await check({ host: "registry.invalid" });
    expect(failuresOf(checked)).toEqual([["Name", "HOST_UNKNOWN"]]);
    expect(checked.steps.filter(({ state }) => state === "skipped")).toHaveLength(8);
  });

  test("where nothing listens fails at TCP", async () => {
    const server = startHttpServer(() => new Response());
    await server[Symbol.asyncDispose]();
    expect(failuresOf(await check(server))).toEqual([["TCP", "CONNECTION_REFUSED"]]);
  });
});

describe("TLS", () => {
  const scheme = "https";

  test("shows issuer, end and names of a certificate that is trusted", async () => {
    await using registry = await startTestRegistry({ credentials: ME, tls: await authority.issue() });
    const checked = await check({
      ...registry,
      target: { scheme, host: registry.host, repository: "team/app" },
    });
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "TLS")).toMatchObject({
      state: "ok",
      facts: { issuer: "Authority of the tests", names: ["127.0.0.1"], validTo: expect.any(String) },
    });
  });

  test.each([
    ["for another name", { altName: "DNS:other.example" }, "other.example"],
    ["that has expired", { endDate: "20200201000000Z" }, "expired on 2020-02-01"],
  ])("fails with a certificate %s, and shows it", async (_, options, said) => {
    await using registry = await startTestRegistry({ tls: await authority.issue(options) });
    const checked = await check({ host: registry.host, target: { scheme, host: registry.host } });
    expect(failuresOf(checked)).toEqual([["TLS", "TLS_UNTRUSTED"]]);
    expect(stepOf(checked, "TLS").text).toContain(said);
  });

  test("fails with a certificate of an unknown authority, and names it", async () => {
    await using registry = await startTestRegistry({ tls: await createSelfSigned(folder.path) });
    const checked = await check({ host: registry.host, target: { scheme, host: registry.host } });
    expect(failuresOf(checked)).toEqual([["TLS", "TLS_UNTRUSTED"]]);
    expect(stepOf(checked, "TLS").facts).toMatchObject({ issuer: "self" });
  });

  test("is not verified where the user says so", async () => {
    await using registry = await startTestRegistry({ tls: await createSelfSigned(folder.path) });
    const target = { scheme, host: registry.host } as const;
    const checked = await check({ host: registry.host, target, skipVerify: true });
    expect(checked.ready).toBe(true);
    expect(stepOf(checked, "TLS").text).toStartWith("not verified");
  });

  test("fails at a server that speaks plain HTTP", async () => {
    await using registry = await startTestRegistry();
    const checked = await check({ host: registry.host, target: { scheme, host: registry.host } });
    expect(failuresOf(checked)).toEqual([["TLS", "TLS_UNSUPPORTED"]]);
  });

  test("that a server requires fails a check in plain HTTP", async () => {
    await using registry = await startTestRegistry({ tls: await authority.issue() });
    expect((await check(registry)).ready).toBe(false);
  });
});

describe("a proxy", () => {
  /** A proxy that connects everybody to one port of this machine. */
  async function startTunnel(port: number | undefined) {
    const asked: string[] = [];
    const server = createServer((client) => {
      client.on("error", () => {});
      client.once("data", async (head) => {
        asked.push(head.toString("latin1"));
        if (port === undefined) {
          client.end("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n");
          return;
        }
        const { connect } = await import("node:net");
        const to = connect(port, "127.0.0.1", () => {
          client.write("HTTP/1.1 200 OK\r\n\r\n");
          client.pipe(to).pipe(client);
        });
        to.on("error", () => client.destroy());
      });
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const { port: own } = server.address() as { port: number };
    return {
      asked,
      address: `http://me:secret-of-the-proxy@127.0.0.1:${own}`,
      [Symbol.dispose]: () => server.close(),
    };
  }

  test("is named by its variable without its password, and the registry is reached through it", async () => {
    const tls = await authority.issue({ altName: "DNS:registry.example" });
    await using registry = await startTestRegistry({ credentials: ME, tls });
    using tunnel = await startTunnel(Number(registry.host.split(":")[1]));
    const environment = { HTTPS_PROXY: tunnel.address };
    const checked = await check({ host: "registry.example", environment });
    expect(failuresOf(checked)).toEqual([]);
    expect(statesOf(checked)).toMatchObject({ Name: "unused", Proxy: "ok", TCP: "ok", TLS: "ok" });
    expect(stepOf(checked, "TLS").facts).toMatchObject({ issuer: "Authority of the tests" });
    expect(stepOf(checked, "Proxy").text).toMatch(/^HTTPS_PROXY=http:\/\/\*\*\*@127\.0\.0\.1:\d+$/);
    expect(JSON.stringify(checked)).not.toContain("secret-of-the-proxy");
  });

  test("may have a password with a bare percent sign", async () => {
    const tls = await authority.issue({ altName: "DNS:registry.example" });
    await using registry = await startTestRegistry({ credentials: ME, tls });
    using tunnel = await startTunnel(Number(registry.host.split(":")[1]));
    const environment = { HTTPS_PROXY: tunnel.address.replace("secret", "100%") };
    const checked = await check({ host: "registry.example", environment });
    expect(failuresOf(checked)).toEqual([]);
    expect(stepOf(checked, "TLS").facts).toMatchObject({ issuer: "Authority of the tests" });
    const login = Buffer.from("me:100%-of-the-proxy").toString("base64");
    expect(tunnel.asked.join("").toLowerCase()).toContain(
      `proxy-authorization: basic ${login.toLowerCase()}`,
    );
  });

  test("that refuses fails, and its password is not shown", async () => {
    using tunnel = await startTunnel(undefined);
    const checked = await check({ host: "registry.example", environment: { HTTPS_PROXY: tunnel.address } });
    expect(checked.ready).toBe(false);
    expect(JSON.stringify(checked)).not.toContain("secret-of-the-proxy");
  });

  test.each([
    ["http://127.0.0.1:1", "TCP"],
    ["http://proxy host:3128", "Proxy"],
    ["http://me:secret-of-the-proxy@:99999", "Proxy"],
  ])("%s fails at %s", async (value, step) => {
    const checked = await check({ host: "registry.example", environment: { https_proxy: value } });
    expect(failuresOf(checked).map(([name]) => name)).toEqual([step]);
    expect(JSON.stringify(checked)).not.toContain("secret-of-the-proxy");
  });

  test.each([
    [{ HTTPS_PROXY: "http://127.0.0.1:1", NO_PROXY: ".invalid" }, "registry.invalid"],
    [{ ALL_PROXY: "socks5://127.0.0.1:1" }, "registry.invalid"],
    [{ ALL_PROXY: "http://127.0.0.1:1" }, "localhost:1"],
  ])("%j is not used for %s, and the step says why", async (environment, host) => {
    expect(stepOf(await check({ host, environment }), "Proxy")).toMatchObject({ state: "unused" });
  });
});

describe("the largest body", () => {
  test("that passes is found, and who refuses the next", async () => {
    await using registry = await startTestRegistry({
      credentials: ME,
      maxChunkBytes: 100_000_000,
      maxBodyBytes: 700_000,
    });
    const checked = await check({ ...registry, uploadBytes: 20_000_000 });
    const { facts } = stepOf(checked, "Body");
    expect(facts).toMatchObject({ status: 413, server: "cloudflare", title: "413 Request Entity Too Large" });
    const { passedBytes, refusedBytes } = facts as { passedBytes: number; refusedBytes: number };
    expect(passedBytes).toBeLessThanOrEqual(700_000);
    expect(refusedBytes).toBeGreaterThan(700_000);
    expect(refusedBytes / passedBytes).toBeLessThan(1.03);
    expect(checked.ready).toBe(true);
    const cancelled = registry.requests.filter(({ method, status }) => method === "DELETE" && status === 204);
    expect(cancelled).toHaveLength(registry.recorded("start-upload").length);
  });

  test("is the whole size where nothing refuses it", async () => {
    await using registry = await startTestRegistry({ credentials: ME, maxChunkBytes: 100_000_000 });
    const checked = await check({ ...registry, uploadBytes: 3_000_000 });
    expect(stepOf(checked, "Body").facts).toMatchObject({ passedBytes: 3_000_000 });
  });

  test("is no larger than what the registry announces", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const checked = await check({ ...registry, uploadBytes: 3_000_000 });
    expect(stepOf(checked, "Body").facts).toMatchObject({ passedBytes: 65_536 });
  });
});

describe("the clock", () => {
  test.each([
    [-3_600_000, 3600],
    [3_600_000, -3600],
  ])("is compared with the registry's, which differs by %d ms", async (differsMs, skewSeconds) => {
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
