/** Every mistake that a user can make, and what chunkpush says to it: what is wrong, what to do, and no password. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { StrictRegistryOptions } from "../../dev/registry/registry.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { createAuthority, createSelfSigned } from "../support/certificates.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { startRawServer } from "../support/raw-server.ts";
import { type CliOptions, type CliResult, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const USERNAME = "pusher";
const PASSWORD = "Zq9-xylophone%Brücke";
const IMAGE = dockerArchive([seededBytes(150_000, 1)], ["team/app:v1"]);

/** In what forms a password may slip out. */
const SECRETS = [
  PASSWORD,
  "xylophone",
  Buffer.from(PASSWORD).toString("base64").slice(0, 16),
  Buffer.from(`${USERNAME}:${PASSWORD}`).toString("base64"),
  encodeURIComponent(PASSWORD),
];

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder();
  await Bun.write(join(folder.path, "image.tar"), IMAGE.archive);
});
afterAll(() => folder[Symbol.asyncDispose]());

/** Pushes as a user with a password, and makes sure that nobody gets to see it. */
async function run(args: readonly string[], options: Partial<CliOptions> = {}): Promise<CliResult> {
  const result = await runCli(args, {
    cwd: folder.path,
    input: `${PASSWORD}\n`,
    ...options,
    env: { USERNAME_REGISTRY: USERNAME, ...options.env },
  });
  for (const secret of SECRETS) expect(result.stdout + result.stderr).not.toContain(secret);
  return result;
}

/** A failure in the user's terms: its code, each of the words, and nothing on standard output. */
function expectWords({ code, stdout, stderr }: CliResult, exitCode: number, ...words: string[]): void {
  for (const word of words) expect(stderr).toContain(word);
  expect(stderr).not.toContain("bug in chunkpush");
  expect({ code, stdout }).toEqual({ code: exitCode, stdout: "" });
}

function startSecured(options: Partial<StrictRegistryOptions> = {}) {
  return startTestRegistry({ credentials: { username: USERNAME, password: PASSWORD }, ...options });
}

describe.concurrent("The error for a wrong command explains the mistake:", () => {
  test.each<[string, string[], string[]]>([
    ["no target", [], ["No target was named.", "registry.example.com/my/app:v1"]],
    ["no registry host", ["my/app:v1"], ["has no registry host", "Put the registry in front"]],
    [
      "upper-case letters",
      ["registry.example.com/My/App:v1"],
      ["has upper-case letters in the repository", '"registry.example.com/my/app:v1"'],
    ],
    [
      "an invalid digest",
      ["registry.example.com/app@sha256:0123"],
      ['has the digest "sha256:0123"', "64 lower-case hex digits"],
    ],
    ["an invalid tag", ["registry.example.com/app:-v1"], ['has the tag "-v1"']],
    ["an invalid port", ["registry.example.com:http/app"], ["which is not a valid host name"]],
    [
      "a third argument",
      ["a.tar", "registry.example.com/app", "more"],
      ["more arguments than a source and a target"],
    ],
    [
      "an unknown option",
      ["--chunksize", "5MB", "registry.example.com/app"],
      ["Unknown flag", "--chunk-size"],
    ],
    [
      "a number that is none",
      ["--parallel", "many", "registry.example.com/app"],
      ['--parallel: invalid value "many"'],
    ],
    [
      "a size that is none",
      ["--chunk-size", "big", "registry.example.com/app"],
      ['--chunk-size: invalid value "big"', "50MB"],
    ],
    [
      "a colon in the user name",
      ["-u", "a:b", "registry.example.com/app"],
      ["The user name contains a colon"],
    ],
  ])("%s", async (_, args, words) => {
    expectWords(await run(args), 2, "Error: ", ...words);
  });

  test.each<[Record<string, string>, string]>([
    [{ MAX_RETRIES: "-1" }, 'MAX_RETRIES: invalid value "-1" (expected a number from 0 to 100).'],
    [
      { MAX_PARALLEL_LAYERS: "0" },
      'MAX_PARALLEL_LAYERS: invalid value "0" (expected a number from 1 to 100).',
    ],
    [{ CHUNKPUSH_CHUNK_SIZE: "5 apples" }, 'CHUNKPUSH_CHUNK_SIZE: invalid value "5 apples"'],
  ])("a wrong variable: %j", async (env, words) => {
    expectWords(await run(["registry.example.com/app"], { env }), 2, words);
  });

  test.each([
    `${USERNAME}:${PASSWORD}@registry.example.com/app:v1`,
    `https://${USERNAME}:${PASSWORD}@registry.example.com/app:v1`,
    `HTTPS://${USERNAME}:${PASSWORD}@registry.example.com/app:v1`,
    `docker://${USERNAME}:${PASSWORD}@registry.example.com/app:v1`,
    `https://${USERNAME}:${PASSWORD}/and/slashes@registry.example.com/app:v1`,
    `${USERNAME}:${PASSWORD}/and/slashes@registry.example.com/app:v1`,
  ])("a password in the target is not quoted: %#", async (target) => {
    expectWords(await run([target]), 2);
  });

  test.each([[["--password", PASSWORD]], [[`--password=${PASSWORD}`]], [[`-p${PASSWORD}`]]])(
    "a password as an option is not quoted: %#",
    async (args) => {
      expectWords(await run([...args, "registry.example.com/app:v1"]), 2, "Unknown flag");
    },
  );
});

describe.concurrent("The error for a source explains the mistake:", () => {
  test("no engine's command is installed", async () => {
    await using registry = await startSecured();
    const env = { PATH: folder.path };
    const result = await run(["team/app:v1", `${registry.host}/team/app:v1`], { env });
    expectWords(
      result,
      1,
      "docker, podman and nerdctl are not installed, or not on PATH",
      "docker save my/app:v1",
    );
  });

  test("the file is missing", async () => {
    await using registry = await startSecured();
    const result = await run(["./missing.tar", `${registry.host}/team/app:v1`]);
    expectWords(result, 1, 'Cannot read "./missing.tar": there is no such file or folder.', "docker save");
  });

  test.each<[string, Uint8Array, string[]]>([
    ["an archive cut short", IMAGE.archive.subarray(0, 3000), ["cut short", "Save or copy it again"]],
    ["an empty file", new Uint8Array(), ["it is empty", "program that was to write it"]],
    ["a text file", new TextEncoder().encode("Lorem ipsum. ".repeat(99)), ["it is a text file"]],
    [
      "a web page",
      new TextEncoder().encode("<!doctype html><p>404"),
      ["it is a web page", "login or error page"],
    ],
    [
      "the archive of a container",
      tarBytes([{ path: "etc/passwd", body: "root" }]),
      ["root file system, as docker export writes it", "docker save my/app:v1"],
    ],
  ])("%s", async (_, bytes, words) => {
    await using registry = await startSecured();
    await using own = await temporaryFolder();
    await Bun.write(join(own.path, "wrong.tar"), bytes);
    const result = await run(["wrong.tar", `${registry.host}/team/app:v1`], { cwd: own.path });
    expectWords(result, 1, "wrong.tar", ...words);
  });
});

describeWith("docker", "The error for an engine explains", () => {
  test("that it is not running", async () => {
    await using registry = await startSecured();
    const env = { DOCKER_HOST: "unix:///nonexistent.sock" };
    const result = await run(["team/app:v1", `${registry.host}/team/app:v1`], { env });
    expectWords(result, 1, "the Docker engine does not answer", "Start it, or check DOCKER_HOST");
  });
});

describe.concurrent("The error for a registry explains the failure:", () => {
  const push = (target: string, options?: Partial<CliOptions>) => run(["image.tar", target], options);

  test("the password is wrong", async () => {
    await using registry = await startTestRegistry({
      credentials: { username: USERNAME, password: "other" },
    });
    const result = await push(`${registry.host}/team/app:v1`);
    expectWords(result, 1, "does not accept", "Check the user name");
    expect(registry.requests).toHaveLength(1);
  });

  test("a password is required", async () => {
    await using registry = await startSecured();
    const result = await push(`${registry.host}/team/app:v1`, { env: { SKIP_AUTH: "1" } });
    expectWords(result, 1, "requires a login", "--username me");
  });

  test("the token server refuses the password", async () => {
    await using tokens = startTokenServer({ credentials: { username: USERNAME, password: "other" } });
    await using registry = await startTestRegistry({ tokens });
    const result = await push(`${registry.host}/team/app:v1`);
    expectWords(result, 1, "The token server of http", "does not accept");
  });

  test("the token server grants too few rights", async () => {
    const credentials = { username: USERNAME, password: PASSWORD };
    await using tokens = startTokenServer({ credentials, grant: () => ["pull"] });
    await using registry = await startTestRegistry({ tokens });
    const result = await push(`${registry.host}/team/app:v1`);
    expectWords(result, 1, 'does not let this user push to "team/app"', "Check the user's rights");
    for (const token of tokens.tokens) expect(result.stderr).not.toContain(token);
  });

  test("the token server's name is unknown", async () => {
    const headers = { "www-authenticate": 'Bearer realm="https://auth.invalid/token"' };
    await using server = startHttpServer(() => new Response(null, { status: 401, headers }));
    expectWords(await push(`${server.host}/team/app:v1`), 1, 'the host name "auth.invalid" is unknown');
  });

  test("the user may not push", async () => {
    await using registry = await startSecured({ intercept: faultAlways("start-upload", answering(403)) });
    const result = await push(`${registry.host}/team/app:v1`);
    expectWords(result, 1, 'refuses to let this user push to "team/app"', "Check the user's rights");
  });

  test("a proxy refuses bodies of any size", async () => {
    await using registry = await startSecured({ maxBodyBytes: 900 });
    const result = await push(`${registry.host}/team/app:v1`);
    expectWords(result, 1, "refuses a body of", "--chunk-size");
    expect(result.stderr).not.toContain("<html>");
  });

  test("credentials in the registry's answer are masked", async () => {
    await using server = startHttpServer((request) => {
      const message = `bad credentials: ${request.headers.get("authorization")}`;
      return Response.json({ errors: [{ code: "UNAUTHORIZED", message }] }, { status: 401 });
    });
    expectWords(await push(`${server.host}/team/app:v1`), 1, "does not accept");
  });

  test("the connection is refused", async () => {
    const server = startHttpServer(() => new Response());
    await server[Symbol.asyncDispose]();
    const result = await push(`${server.host}/team/app:v1`);
    expectWords(result, 1, "the connection was refused", "Check the host and the port");
  });

  test("the host name is unknown", async () => {
    const result = await push("registry.invalid/team/app:v1");
    expectWords(result, 1, 'the host name "registry.invalid" is unknown', "Check the spelling");
  });

  test("the server is not a registry", async () => {
    await using server = startRawServer("SSH-2.0-OpenSSH_9.2\r\n");
    expectWords(await push(`${server.host}/team/app:v1`), 1, "The connection broke during GET");
  });

  test("the server does not use TLS", async () => {
    await using registry = await startSecured();
    const result = await push(`https://${registry.host}/team/app:v1`);
    expectWords(result, 1, "the server does not use TLS", "--insecure", "http://");
    expect(registry.requests).toEqual([]);
  });

  test.each([
    ["Go", "text/plain; charset=utf-8", "Client sent an HTTP request to an HTTPS server.\n"],
    [
      "nginx",
      "text/html",
      "<html>\r\n<head><title>400 The plain HTTP request was sent to HTTPS port</title></head>\r\n<body>\r\n<center><h1>400 Bad Request</h1></center>\r\n<center>The plain HTTP request was sent to HTTPS port</center>\r\n<hr><center>nginx</center>\r\n</body>\r\n</html>\r\n",
    ],
  ])("the server requires HTTPS, at a TLS port of %s", async (_, type, body) => {
    const head = `HTTP/1.1 400 Bad Request\r\nContent-Type: ${type}\r\nContent-Length: ${body.length}\r\nConnection: close\r\n\r\n`;
    await using server = startRawServer(head + body);
    const result = await push(`${server.host}/team/app:v1`);
    expectWords(result, 1, "requires HTTPS, but was asked over plain HTTP", "https://");
    expect(result.stderr).not.toContain("<");
  });
});

describeWith("openssl", "Certificates", () => {
  const push = (target: string, env: Record<string, string> = {}, args: readonly string[] = []) =>
    run([...args, "image.tar", target], { env: { MAX_RETRIES: "0", ...env } });

  test("of a private authority are refused with its name, and accepted in every way to trust it", async () => {
    await using own = await temporaryFolder();
    const authority = await createAuthority(own.path);
    await using registry = await startSecured({ tls: await authority.issue() });
    const target = `https://${registry.host}/team/app:v1`;
    expectWords(
      await push(target),
      1,
      'from an unknown authority, "Authority of the tests"',
      "--ca-file",
      "WARP",
    );

    const ways = [
      await push(target, {}, ["--ca-file", authority.path]),
      await push(target, { SSL_CERT_FILE: authority.path }),
      await push(target, { NODE_EXTRA_CA_CERTS: authority.path }),
    ];
    for (const { code, stderr } of ways) {
      expect(code, stderr).toBe(0);
      expect(stderr).not.toContain("Warning");
    }
    const unchecked = await push(target, {}, ["--insecure-skip-verify"]);
    expect(unchecked.code).toBe(0);
    expect(unchecked.stderr).toContain("Warning: the registry's certificate is not verified");
  });

  test("are explained if the file of authorities has none", async () => {
    await Bun.write(join(folder.path, "der.cer"), seededBytes(100, 1));
    const target = "https://127.0.0.1:1/team/app:v1";
    expectWords(
      await push(target, {}, ["--ca-file", "der.cer"]),
      2,
      "contains no PEM certificate",
      "openssl x509",
    );
    expectWords(await push(target, {}, ["--ca-file", "absent.pem"]), 1, '"absent.pem"');
  });

  test("of a private authority are refused, and accepted once it is named", async () => {
    const authority = await createAuthority(folder.path);
    await using registry = await startSecured({ tls: await authority.issue() });
    const target = `https://${registry.host}/team/app:v1`;
    expectWords(await push(target), 1, "from an unknown authority", "NODE_EXTRA_CA_CERTS=ca.pem");
    expect(registry.requests).toEqual([]);

    const { code, stdout, stderr } = await push(target, { NODE_EXTRA_CA_CERTS: authority.path });
    expect(stderr).not.toContain("Error");
    expect(stdout).toStartWith(`${registry.host}/team/app:v1@sha256:`);
    expect(code).toBe(0);
    const chunked = registry.recorded("patch");
    expect(chunked.length).toBeGreaterThan(1);
    for (const patch of chunked) {
      expect(patch.contentLength).toBe(patch.bodyBytes);
      expect(patch.transferEncoding).toBeUndefined();
    }
  });

  test("that are self-signed are refused", async () => {
    await using registry = await startSecured({ tls: await createSelfSigned(folder.path) });
    const result = await push(`https://${registry.host}/team/app:v1`);
    expectWords(result, 1, "from an unknown authority", "NODE_EXTRA_CA_CERTS");
  });

  test.each([
    [
      "that have expired",
      { endDate: "20210101000000Z" },
      ["its certificate expired on 2021-01-01", "Check this machine's clock."],
    ],
    [
      "with another name",
      { altName: "DNS:registry.example.com" },
      [
        'its certificate is for "registry.example.com", not for "127.0.0.1"',
        "Use the name of the certificate",
      ],
    ],
  ])("%s are refused", async (_, options, words) => {
    const authority = await createAuthority(folder.path);
    await using registry = await startSecured({ tls: await authority.issue(options) });
    const env = { NODE_EXTRA_CA_CERTS: authority.path };
    const result = await push(`https://${registry.host}/team/app:v1`, env);
    expectWords(result, 1, ...words, "[TLS_UNTRUSTED]");
    expect(registry.requests).toEqual([]);
  });

  test("are not mentioned if HTTP meets a TLS port", async () => {
    await using registry = await startSecured({ tls: await createSelfSigned(folder.path) });
    const result = await push(`http://${registry.host}/team/app:v1`);
    expectWords(result, 1, registry.host, "https://");
  });

  test("do not allow a Location that leads to plain HTTP", async () => {
    const authority = await createAuthority(folder.path);
    await using registry = await startSecured({
      tls: await authority.issue(),
      intercept: async (request, kind, answer) => {
        if (kind !== "start-upload") return undefined;
        const response = await answer();
        const { host } = new URL(request.url);
        response.headers.set("location", `http://${host}${response.headers.get("location")}`);
        return response;
      },
    });
    const env = { NODE_EXTRA_CA_CERTS: authority.path };
    const result = await push(`https://${registry.host}/team/app:v1`, env);
    expectWords(result, 1, "redirects from HTTPS to http://", "X-Forwarded-Proto: https");
    expect(registry.recorded("put-manifest")).toEqual([]);
  });
});
