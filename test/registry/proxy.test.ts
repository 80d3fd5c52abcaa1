import { afterAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { proxyFrom } from "../../src/registry/http/proxy.ts";
import { startHttpServer } from "../support/http-server.ts";

const PROXY = "http://proxy.example:3128";
const OTHER = "http://other.example:3128";
const HTTP = "http://registry.example/v2/";
const HTTPS = "https://registry.example/v2/";

describe("the proxy of an address", () => {
  test.each<[Record<string, string>, string, string | undefined]>([
    [{}, HTTPS, undefined],
    [{ HTTPS_PROXY: PROXY }, HTTPS, PROXY],
    [{ HTTPS_PROXY: PROXY }, HTTP, undefined],
    [{ HTTP_PROXY: PROXY }, HTTP, PROXY],
    [{ HTTP_PROXY: PROXY }, HTTPS, undefined],
    [{ https_proxy: PROXY, HTTPS_PROXY: OTHER }, HTTPS, PROXY],
    [{ https_proxy: "", HTTPS_PROXY: PROXY }, HTTPS, PROXY],
    [{ ALL_PROXY: PROXY }, HTTPS, PROXY],
    [{ all_proxy: PROXY, ALL_PROXY: OTHER }, HTTP, PROXY],
    [{ ALL_PROXY: OTHER, HTTP_PROXY: PROXY }, HTTP, PROXY],
    [{ HTTP_PROXY: "proxy.example:3128" }, HTTP, PROXY],
    [{ HTTP_PROXY: "http://me:pass@proxy.example" }, HTTP, "http://me:pass@proxy.example"],
    [{ ALL_PROXY: "socks5://proxy.example:1080" }, HTTP, undefined],
  ])("is chosen by the environment %j for %s: %s", (env, url, expected) => {
    expect(proxyFrom(env)(new URL(url))?.address).toBe(expected);
  });

  test.each([
    "http://localhost:5000/",
    "http://LOCALHOST/",
    "http://registry.localhost/",
    "http://127.0.0.1:5000/",
    "http://127.1/",
    "http://127.8.9.10/",
    "http://[::1]:5000/",
    "http://[::ffff:127.0.0.2]:5000/",
    "https://localhost/",
  ])("is undefined for this machine: %s", (url) => {
    expect(proxyFrom({ HTTP_PROXY: PROXY, HTTPS_PROXY: PROXY })(new URL(url))).toBeUndefined();
  });

  test.each([
    "http://localhost.example/",
    "http://notlocalhost/",
    "http://128.0.0.1/",
    "http://127.0.0.1.nip.io/",
    "http://10.0.0.1/",
    "http://[::2]/",
  ])("is the one of the environment for %s", (url) => {
    expect(proxyFrom({ HTTP_PROXY: PROXY })(new URL(url))?.address).toBe(PROXY);
  });
});

describe("NO_PROXY", () => {
  test.each([
    ["*", "http://a.example/"],
    ["a.example", "http://a.example/"],
    ["A.Example", "http://a.example/"],
    ["example", "http://a.example/"],
    [".example", "http://a.example/"],
    ["*.example", "http://a.example/"],
    [".a.example", "http://a.example/"],
    ["b.example,a.example", "http://a.example/"],
    [" b.example, a.example ", "http://a.example/"],
    ["b.example a.example", "http://a.example/"],
    ["a.example:80", "http://a.example/"],
    ["a.example:443", "https://a.example/"],
    ["a.example:8080", "http://x.a.example:8080/"],
    [".example:8080", "http://a.example:8080/"],
    ["10.1.2.3", "http://10.1.2.3/"],
    ["10.0.0.0/8", "http://10.1.2.3/"],
    ["fd00::1", "http://[fd00::1]/"],
    ["[fd00::1]", "http://[fd00::1]/"],
    ["[fd00::1]:80", "http://[fd00::1]/"],
    ["fd00::/8", "http://[fd12::1]/"],
  ])("of %j excepts %s", (list, url) => {
    expect(proxyFrom({ ALL_PROXY: PROXY, NO_PROXY: list })(new URL(url))).toBeUndefined();
  });

  test.each([
    ["", "http://a.example/"],
    [" , ", "http://a.example/"],
    ["b.example", "http://a.example/"],
    ["ple", "http://a.example/"],
    ["a.example:81", "http://a.example/"],
    ["a.example:443", "http://a.example/"],
    ["*a.example", "http://a.example/"],
    ["a.example", "http://example/"],
    ["10.0.0.0/8", "http://11.1.2.3/"],
    ["10.0.0.0/99", "http://10.1.2.3/"],
    ["10.0.0.0/8", "http://a.example/"],
    ["10.0.0.0/8", "http://[fd00::1]/"],
  ])("of %j does not except %s", (list, url) => {
    expect(proxyFrom({ ALL_PROXY: PROXY, NO_PROXY: list })(new URL(url))?.address).toBe(PROXY);
  });

  test("in lower case is stronger than in upper case", () => {
    const env = { HTTP_PROXY: PROXY, NO_PROXY: "a.example", no_proxy: "b.example" };
    expect(proxyFrom(env)(new URL("http://a.example/"))?.address).toBe(PROXY);
    expect(proxyFrom(env)(new URL("http://b.example/"))).toBeUndefined();
  });
});

describe("a request", () => {
  const asked: string[] = [];
  const proxy = startHttpServer((request) => {
    asked.push(request.url);
    return new Response("by the proxy");
  });
  afterAll(() => proxy[Symbol.asyncDispose]());

  /** Sends a request in a process with proxies in its environment. */
  async function sendFrom(env: Record<string, string>, url: string, handedIn?: string): Promise<string> {
    const script = `
      import { sendOnce } from "./src/registry/http/send-once.ts";
      const url = new URL(${JSON.stringify(url)});
      const registry = { origin: url.origin, stallTimeoutMs: 5000, trust: { ca: [] }, proxy: () => ${JSON.stringify(handedIn)} };
      const call = { signal: new AbortController().signal, onRetry() {} };
      const { text } = await sendOnce(registry, { method: "GET", url }, url, undefined, call);
      process.stdout.write(text);`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      cwd: join(import.meta.dir, "../.."),
      env: { PATH: process.env["PATH"], ...env },
      stdout: "pipe",
    });
    return child.stdout.text();
  }

  test.each(["HTTP_PROXY", "http_proxy", "ALL_PROXY"])(
    "does not go through the environment's %s if none was handed in",
    async (name) => {
      await using server = startHttpServer(() => new Response("directly"));
      asked.length = 0;
      expect(await sendFrom({ [name]: proxy.url }, server.url)).toBe("directly");
      expect(asked).toEqual([]);
    },
  );

  test("goes through the proxy that was handed in, whatever the environment says", async () => {
    asked.length = 0;
    const url = "http://registry.invalid/v2/";
    expect(await sendFrom({ HTTP_PROXY: "http://127.0.0.1:1" }, url, proxy.url)).toBe("by the proxy");
    expect(asked).toEqual([url]);
  });
});
