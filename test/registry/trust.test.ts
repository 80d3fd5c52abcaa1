import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { authenticate } from "../../src/registry/auth/authenticate.ts";
import { exchange } from "../../src/registry/http/send.ts";
import { readTrust } from "../../src/registry/http/trust.ts";
import { startUpload } from "../../src/registry/upload/session.ts";
import {
  type Authority,
  type Certificate,
  createAuthority,
  createSelfSigned,
} from "../support/certificates.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
let authority: Authority;
let selfSigned: Certificate;
beforeAll(async () => {
  folder = await temporaryFolder();
  authority = await createAuthority(folder.path);
  selfSigned = await createSelfSigned(folder.path);
});
afterAll(() => folder[Symbol.asyncDispose]());

/** A server with a certificate, by its address and by its name. */
function startTlsServer(tls: Certificate, answer: (request: Request) => Response) {
  const server = Bun.serve({ hostname: "127.0.0.1", port: 0, tls, fetch: answer, development: false });
  return {
    url: `https://127.0.0.1:${server.port}`,
    named: `https://localhost:${server.port}`,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}

const ok = () => new Response("here");

describe("NODE_TLS_REJECT_UNAUTHORIZED=0", () => {
  /** Sends a request in a process with this variable. @returns the status or the error's code */
  async function sendFrom(
    url: string,
    skipVerify: boolean,
    caFiles: readonly string[] = [],
  ): Promise<string> {
    const script = `
      import { sendOnce } from "./src/registry/http/send-once.ts";
      import { readTrust } from "./src/registry/http/trust.ts";
      const url = new URL(${JSON.stringify(url)});
      const trust = await readTrust(${JSON.stringify({ caFiles, skipVerify })});
      const registry = { origin: url.origin, stallTimeoutMs: 5000, trust, proxy: () => undefined };
      const call = { signal: new AbortController().signal, onRetry() {} };
      const sending = sendOnce(registry, { method: "GET", url }, url, undefined, call);
      process.stdout.write(await sending.then(({ status }) => String(status), ({ code }) => code));`;
    const child = Bun.spawn([process.execPath, "-e", script], {
      cwd: join(import.meta.dir, "../.."),
      env: { PATH: process.env["PATH"], NODE_TLS_REJECT_UNAUTHORIZED: "0" },
      stdout: "pipe",
      stderr: "ignore",
    });
    return child.stdout.text();
  }

  test("does not turn verification off", async () => {
    await using server = startTlsServer(selfSigned, ok);
    expect(await sendFrom(server.url, false)).toBe("TLS_UNTRUSTED");
    expect(await sendFrom(server.url, true)).toBe("200");
  });

  test("does not let a certificate of another host pass", async () => {
    await using server = startTlsServer(await authority.issue({ altName: "DNS:other.example" }), ok);
    await using right = startTlsServer(await authority.issue(), ok);
    expect(await sendFrom(server.url, false, [authority.path])).toBe("TLS_UNTRUSTED");
    expect(await sendFrom(right.url, false, [authority.path])).toBe("200");
  });
});

describe("without verification", () => {
  /** A client that does not verify the registry at `localhost`. */
  async function clientAt(url: string) {
    const client = clientOf({ url }, { retries: 0, credentials: { username: "me", password: "hush" } });
    const trust = await readTrust({ caFiles: [authority.path], skipVerify: true });
    return { ...client, registry: { ...client.registry, trust, origin: url } };
  }
  const get = (url: string) => ({ method: "GET", url: new URL(url) }) as const;

  test("the registry's own host is accepted, at any port", async () => {
    await using other = startTlsServer(selfSigned, ok);
    await using server = startTlsServer(selfSigned, () => Response.redirect(other.named, 307));
    const client = await clientAt(server.named);
    expect(await exchange(client, get(server.named), [200], client)).toMatchObject({ text: "here" });
  });

  test("a redirect elsewhere is verified as ever", async () => {
    await using elsewhere = startTlsServer(selfSigned, ok);
    await using trusted = startTlsServer(await authority.issue(), ok);
    await using server = startTlsServer(selfSigned, ({ url }) =>
      Response.redirect(url.endsWith("/trusted") ? trusted.url : elsewhere.url, 307),
    );
    const client = await clientAt(server.named);
    const asked = exchange(client, get(server.named), [200], client);
    expect((await rejection(asked)).code).toBe("TLS_UNTRUSTED");
    expect(await exchange(client, get(`${server.named}/trusted`), [200], client)).toMatchObject({
      status: 200,
    });
  });

  test("a token server elsewhere is verified before it gets the password", async () => {
    let asked = 0;
    await using tokens = startTlsServer(selfSigned, () => {
      asked++;
      return Response.json({ token: "t0ken" });
    });
    const headers = { "www-authenticate": `Bearer realm="${tokens.url}/token"` };
    await using server = startTlsServer(selfSigned, () => new Response(null, { status: 401, headers }));
    const connected = await clientAt(server.named);
    // The authenticator has the registry's address and trust from the start.

    const auth = authenticate(connected.registry, { username: "me", password: "hush" });
    const client = { ...connected, registry: { ...connected.registry, auth } };
    expect((await rejection(startUpload(client, client))).code).toBe("TLS_UNTRUSTED");
    expect(asked).toBe(0);
  });
});
