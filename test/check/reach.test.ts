/** The way of a check to the registry: its name, its port and a proxy. */
import { describe, expect, test } from "bun:test";
import { createServer } from "node:net";
import { startHttpServer } from "../support/http-server.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { check, failuresOf, ME, openAuthority, statesOf, stepOf } from "./run-check.ts";

const authority = openAuthority();

describe("A check of a host", () => {
  test("that the DNS does not know fails at the step Name", async () => {
    const checked = await check({ host: "registry.invalid" });
    expect(failuresOf(checked)).toEqual([["Name", "HOST_UNKNOWN"]]);
    expect(checked.steps.filter(({ state }) => state === "skipped")).toHaveLength(8);
  });

  test("where nothing listens fails at the step TCP", async () => {
    const server = startHttpServer(() => new Response());
    await server[Symbol.asyncDispose]();
    expect(failuresOf(await check(server))).toEqual([["TCP", "CONNECTION_REFUSED"]]);
  });
});

describe("A proxy in a check", () => {
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
    const tls = await authority().issue({ altName: "DNS:registry.example" });
    await using registry = await startTestRegistry({ credentials: ME, tls });
    using tunnel = await startTunnel(Number(registry.host.split(":")[1]));
    const environment = { HTTPS_PROXY: tunnel.address };
    const checked = await check({
      host: "registry.example",
      environment,
      caFiles: [authority().path],
    });
    expect(failuresOf(checked)).toEqual([]);
    expect(statesOf(checked)).toMatchObject({ Name: "unused", Proxy: "ok", TCP: "ok", TLS: "ok" });
    expect(stepOf(checked, "TLS").facts).toMatchObject({ issuer: "Authority of the tests" });
    expect(stepOf(checked, "Proxy").text).toMatch(/^HTTPS_PROXY=http:\/\/\*\*\*@127\.0\.0\.1:\d+$/);
    expect(JSON.stringify(checked)).not.toContain("secret-of-the-proxy");
  });

  test("may have a password with a bare percent sign", async () => {
    const tls = await authority().issue({ altName: "DNS:registry.example" });
    await using registry = await startTestRegistry({ credentials: ME, tls });
    using tunnel = await startTunnel(Number(registry.host.split(":")[1]));
    const environment = { HTTPS_PROXY: tunnel.address.replace("secret", "100%") };
    const checked = await check({
      host: "registry.example",
      environment,
      caFiles: [authority().path],
    });
    expect(failuresOf(checked)).toEqual([]);
    expect(stepOf(checked, "TLS").facts).toMatchObject({ issuer: "Authority of the tests" });
    const login = Buffer.from("me:100%-of-the-proxy").toString("base64");
    expect(tunnel.asked.join("").toLowerCase()).toContain(
      `proxy-authorization: basic ${login.toLowerCase()}`,
    );
  });

  test("that refuses fails the check, which does not show its password", async () => {
    using tunnel = await startTunnel(undefined);
    const checked = await check({ host: "registry.example", environment: { HTTPS_PROXY: tunnel.address } });
    expect(checked.ready).toBe(false);
    expect(JSON.stringify(checked)).not.toContain("secret-of-the-proxy");
  });

  test.each([
    ["http://127.0.0.1:1", "TCP"],
    ["http://proxy host:3128", "Proxy"],
    ["http://me:secret-of-the-proxy@:99999", "Proxy"],
  ])("at the unusable address %s fails at the step %s", async (value, step) => {
    const checked = await check({ host: "registry.example", environment: { https_proxy: value } });
    expect(failuresOf(checked).map(([name]) => name)).toEqual([step]);
    expect(JSON.stringify(checked)).not.toContain("secret-of-the-proxy");
  });

  test.each([
    [{ HTTPS_PROXY: "http://127.0.0.1:1", NO_PROXY: ".invalid" }, "registry.invalid"],
    [{ ALL_PROXY: "socks5://127.0.0.1:1" }, "registry.invalid"],
    [{ ALL_PROXY: "http://127.0.0.1:1" }, "localhost:1"],
  ])("in the variables %j is not used for %s, and the step Proxy says why", async (environment, host) => {
    expect(stepOf(await check({ host, environment }), "Proxy")).toMatchObject({ state: "unused" });
  });
});
