/** Proxies and certificates that keep a request from the registry. */
import { describe, expect, test } from "bun:test";
import { proxyFrom } from "../../src/registry/http/proxy.ts";
import { exchange } from "../../src/registry/http/send.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startRawServer } from "../support/raw-server.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";

/** Asks a registry, in the environment of a user. */
function askIn(env: Record<string, string>, origin: string) {
  const client = clientOf({ url: origin }, { retries: 0 });
  const at = { ...client, registry: { ...client.registry, proxy: proxyFrom(env) } };
  return rejection(exchange(at, { method: "GET", url: new URL(`${origin}/v2/`) }, [200], client));
}

const SECRET = "hush-Xq7";

describe("A proxy that cannot be used", () => {
  test.each<[string, string, string]>([
    ["HTTPS_PROXY", `http://me:${SECRET}@127.0.0.1:1`, "HTTPS_PROXY=http://***@127.0.0.1:1"],
    ["https_proxy", `http://me:p@${SECRET}@127.0.0.1:1`, "https_proxy=http://***@127.0.0.1:1"],
    ["ALL_PROXY", `me:${SECRET}@proxy.invalid:3128`, "ALL_PROXY=http://***@proxy.invalid:3128"],
    ["HTTPS_PROXY", `http://me:${SECRET}@bad host:3128`, "HTTPS_PROXY=http://***@bad host:3128"],
    ["HTTPS_PROXY", "http://127.0.0.1:99999", "HTTPS_PROXY=http://127.0.0.1:99999"],
  ])("is named with its variable and its value, without its password: %s=%s", async (name, value, shown) => {
    const error = await askIn({ [name]: value }, "https://registry.example.com");
    expect(error.code).toBe("PROXY_FAILED");
    expect(error.message).toContain(shown);
    expect(`${error.message} ${error.hint}`).not.toContain(SECRET);
  });

  test.each([403, 407, 502])(
    "is named with its variable where it refuses a tunnel with %d",
    async (status) => {
      await using proxy = await startRawServer(`HTTP/1.1 ${status} No\r\nContent-Length: 0\r\n\r\n`);
      const error = await askIn({ HTTPS_PROXY: `http://${proxy.host}` }, "https://registry.example.com");
      expect(error.code).toBe("PROXY_FAILED");
      expect(error.message).toContain(`HTTPS_PROXY=http://${proxy.host}`);
      expect(error.message).toContain(String(status));
    },
  );

  test("is named with its variable where it wants a login for a plain request", async () => {
    await using proxy = startHttpServer(() => new Response(null, { status: 407 }));
    const error = await askIn({ HTTP_PROXY: proxy.url }, "http://registry.example.com");
    expect(error.code).toBe("PROXY_FAILED");
  });
});

test("An answer of the registry through a proxy is the registry's", async () => {
  await using proxy = startHttpServer(() => new Response(null, { status: 400 }));
  const error = await askIn({ HTTP_PROXY: proxy.url }, "http://registry.example.com");
  expect(error.code).toBe("REGISTRY_REFUSED");
});
