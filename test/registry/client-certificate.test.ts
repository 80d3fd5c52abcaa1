/** Client certificates, at real TLS servers on loopback that ask for one. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { chmod } from "node:fs/promises";
import type { RequestListener } from "node:http";
import { createServer } from "node:https";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { createServer as createTlsServer, type Server, type TLSSocket } from "node:tls";
import { exchange } from "../../src/registry/http/send.ts";
import { type ClientCertificate, readTrust } from "../../src/registry/http/trust.ts";
import { type Authority, type Certificate, createAuthority } from "../support/certificates.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

let folder: TemporaryFolder;
let authority: Authority;
let server: Certificate;
let clientCertificate: { certFile: string; keyFile: string };
const at = (name: string) => join(folder.path, name);
beforeAll(async () => {
  folder = await temporaryFolder();
  authority = await createAuthority(folder.path);
  server = await authority.issue();
  clientCertificate = await write("client", await authority.issue());
});
afterAll(() => folder[Symbol.asyncDispose]());

async function write(name: string, { cert, key }: Certificate) {
  const files = { certFile: at(`${name}-cert.pem`), keyFile: at(`${name}-key.pem`) };
  await Bun.write(files.certFile, cert);
  await Bun.write(files.keyFile, key);
  return files;
}

/** What a TLS server needs to ask every client for a certificate. */
const asking = async () => ({ ...server, ca: await Bun.file(authority.path).text(), requestCert: true });

/** A TLS server that refuses clients without a certificate. */
async function startMutualTls(answer: RequestListener) {
  return listen(createServer({ ...(await asking()), rejectUnauthorized: true }, answer));
}

/** A TLS server that tells who was shown to it, takes everybody, and sends one raw answer. */
async function startCuriousTls(answer: string, onShown: (name: string) => void) {
  const onConnection = (socket: TLSSocket) => {
    onShown(String(socket.getPeerCertificate()?.subject?.CN ?? "nobody"));
    socket.on("error", () => undefined).once("data", () => socket.end(answer));
  };
  return listen(createTlsServer({ ...(await asking()), rejectUnauthorized: false }, onConnection));
}

async function listen(started: Server) {
  await new Promise<void>((resolve) => started.listen(0, "127.0.0.1", resolve));
  const host = `127.0.0.1:${(started.address() as AddressInfo).port}`;
  return { host, url: `https://${host}`, [Symbol.asyncDispose]: async () => void started.close() };
}

async function clientAt(url: string, given?: ClientCertificate) {
  const client = clientOf({ url }, { retries: 0 });
  const trust = await readTrust({
    caFiles: [authority.path],
    skipVerify: false,
    clientCertificate: given,
  });
  return { ...client, registry: { ...client.registry, trust } };
}
const get = (url: string) => ({ method: "GET", url: new URL(url) }) as const;

describe("A registry that asks for a client certificate", () => {
  test("takes a whole push that shows one, from files that others may read", async () => {
    await using registry = await startTestRegistry();
    await using gate = await startMutualTls((request, response) => {
      const pieces: Buffer[] = [];
      request.on("data", (piece) => pieces.push(piece));
      request.on("end", async () => {
        const { host: _, connection: __, ...headers } = request.headers as Record<string, string>;
        const { method = "GET", url } = request;
        const body = pieces.length > 0 ? { body: Buffer.concat(pieces) } : {};
        const answer = await fetch(registry.url + url, { method, headers, ...body });
        const { "content-length": ___, ...rest } = Object.fromEntries(answer.headers);
        const isHead = method === "HEAD";
        response.writeHead(answer.status, isHead ? Object.fromEntries(answer.headers) : rest);
        response.end(new Uint8Array(await answer.arrayBuffer()));
      });
    });
    await chmod(clientCertificate.keyFile, 0o644);
    await Bun.write(at("output.tar"), dockerArchive([seededBytes(200_000, 1)], ["team/app:v1"]).archive);
    const { certFile, keyFile } = clientCertificate;
    const flags = ["--ca-file", authority.path, "--cert", certFile, "--key", keyFile];
    const pushed = await runCli([`https://${gate.host}/team/app:v1`, ...flags], { cwd: folder.path });
    expect(pushed).toMatchObject({ code: 0 });
    expect(await registry.pullManifest("team/app", "v1")).toBeString();
  });

  test("refuses the connection of a client without one, and the error names --cert", async () => {
    await using gate = await startMutualTls((_, response) => void response.end("here"));
    const client = await clientAt(gate.url);
    const error = await rejection(exchange(client, get(gate.url), [200], client));
    expect(error.code).toBe("TLS_UNSUPPORTED");
    expect(error.hint).toContain("--cert");
  });

  test("may refuse as nginx does, and the error names --cert", async () => {
    const page = "<html><head><title>400 No required SSL certificate was sent</title></head></html>";
    await using gate = startHttpServer(() => new Response(page, { status: 400 }));
    const client = clientOf(gate, { retries: 0 });
    const error = await rejection(exchange(client, get(gate.url), [200], client));
    expect(error.code).toBe("TLS_CLIENT_CERTIFICATE");
    expect(error.hint).toContain("--cert");
  });
});

test("A client certificate is shown to the registry's own origin, and to no other that asks for one", async () => {
  const seen: string[] = [];
  const here = "HTTP/1.1 200 OK\r\ncontent-length: 4\r\nconnection: close\r\n\r\nhere";
  await using storage = await startCuriousTls(here, (name) => seen.push(`storage: ${name}`));
  const there = `HTTP/1.1 307 Away\r\nlocation: ${storage.url}/\r\ncontent-length: 0\r\nconnection: close\r\n\r\n`;
  await using registry = await startCuriousTls(there, (name) => seen.push(`registry: ${name}`));
  const client = await clientAt(registry.url, clientCertificate);
  await exchange(client, get(registry.url), [200], client);
  expect(seen).toEqual([expect.stringMatching(/^registry: leaf-\d/), "storage: nobody"]);
});

describe("A client certificate is refused before anything is sent", () => {
  const trustIn = (given: ClientCertificate) =>
    rejection(readTrust({ caFiles: [], skipVerify: false, clientCertificate: given }));

  test("with an encrypted key, and the error says how to decrypt it", async () => {
    for (const text of [
      "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIH\n",
      "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: x\n",
    ]) {
      await Bun.write(at("encrypted.pem"), text);
      const error = await trustIn({ ...clientCertificate, keyFile: at("encrypted.pem") });
      expect(error.code).toBe("USAGE");
      expect(error.hint).toContain("openssl pkey");
    }
  });

  test("with the key of another certificate, with none, and with garbage", async () => {
    const other = await write("other", await authority.issue());
    await Bun.write(
      at("garbage.pem"),
      "-----BEGIN CERTIFICATE-----\nabc\n-----BEGIN PRIVATE KEY-----\nabc\n-----END PRIVATE KEY-----\n",
    );
    for (const given of [
      { ...clientCertificate, keyFile: other.keyFile },
      { certFile: clientCertificate.certFile },
      { certFile: clientCertificate.keyFile },
      { ...clientCertificate, keyFile: at("garbage.pem") },
      { certFile: at("garbage.pem") },
    ]) {
      expect((await trustIn(given)).code).toBe("USAGE");
    }
    const missing = await trustIn({ ...clientCertificate, keyFile: at("not-there.pem") });
    expect(missing.code).toBe("FILE_FAILED");
  });
});

test("One file may have both the client certificate and its key", async () => {
  const { certFile, keyFile } = clientCertificate;
  await Bun.write(at("both.pem"), (await Bun.file(keyFile).text()) + (await Bun.file(certFile).text()));
  await using registry = await startMutualTls((_, response) => void response.end("here"));
  const client = await clientAt(registry.url, { certFile: at("both.pem") });
  expect(await exchange(client, get(registry.url), [200], client)).toMatchObject({ text: "here" });
});
