/** What a registry's answer must not be able to do, however it is made. */
import { describe, expect, test } from "bun:test";
import { brotliCompressSync, constants, gzipSync } from "node:zlib";
import { RegistryError } from "../../src/errors.ts";
import { exchange } from "../../src/registry/http/send.ts";
import { startUpload } from "../../src/registry/upload/session.ts";
import { startHttpServer } from "../support/http-server.ts";
import { startRawServer } from "../support/raw-server.ts";
import { blobOf, clientOf, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { MAX_CHUNK, startTestRegistry } from "../support/test-registry.ts";

const get = (url: string) => ({ method: "GET", url: new URL(url) }) as const;

/** A server below HTTP that sends the head, and then the same bytes for as long as somebody listens. */
function startEndless(head: string, again: string) {
  const pump = (socket: Bun.Socket) => {
    while (again !== "" && socket.write(again) === again.length);
  };
  const server = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket) {
        socket.write(head);
        pump(socket);
      },
      drain: pump,
    },
  });
  return { url: `http://127.0.0.1:${server.port}`, [Symbol.asyncDispose]: async () => server.stop(true) };
}

describe("a compressed answer", () => {
  const zeros = Buffer.alloc(150_000_000);
  test.each([
    ["gzip", gzipSync(zeros)],
    ["br", brotliCompressSync(zeros, { params: { [constants.BROTLI_PARAM_QUALITY]: 1 } })],
  ])("of %s is never unpacked", async (encoding, bomb) => {
    let accepted: string | null = null;
    await using server = startHttpServer((request) => {
      accepted = request.headers.get("accept-encoding");
      return new Response(bomb, { headers: { "content-encoding": encoding } });
    });
    const { text } = await exchange(clientOf(server), get(server.url), [200], clientOf(server));
    expect(text.length).toBeLessThanOrEqual(bomb.length);
    expect(accepted as string | null).toBe("identity");
  });
});

describe("an answer that does not end", () => {
  const head = "HTTP/1.1 200 OK\r\n";
  test.each([
    ["interim answers", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n".repeat(100)],
    ["headers", head, "x: y\r\n".repeat(1000)],
    ["a single header", `${head}x: `, "y".repeat(10_000)],
    ["a chunk's extension", `${head}transfer-encoding: chunked\r\n\r\n5;`, "x".repeat(10_000)],
    ["trailers", `${head}transfer-encoding: chunked\r\n\r\n0\r\n`, "x: y\r\n".repeat(1000)],
    ["half a header", "HTTP/1.1 200 O", ""],
    ["half a body", `${head}content-length: 10\r\n\r\nabc`, ""],
  ] as const)("ends with the stall timer: %s", async (_, first, again) => {
    await using server = startEndless(first, again);
    const client = clientOf(server, { stallTimeoutMs: 100 });
    const { code } = await rejection(exchange(client, get(server.url), [200], client));
    expect(["STALLED", "CONNECTION_LOST"]).toContain(code);
  });

  test("is read no further than a MiB where its body goes on", async () => {
    await using server = startEndless(`${head}\r\n`, "z".repeat(50_000));
    const client = clientOf(server);
    const { text } = await exchange(client, get(server.url), [200], client);
    expect(text.length).toBeWithin(1024 * 1024, 2 * 1024 * 1024);
  });

  test("has stalled where it brings a few bytes now and then", async () => {
    const drip = async (controller: ReadableStreamDirectController) => {
      for (;;) {
        controller.write("x");
        await controller.flush();
        await Bun.sleep(20);
      }
    };
    await using server = startHttpServer(
      () => new Response(new ReadableStream({ type: "direct", pull: drip } as never)),
    );
    const client = clientOf(server, { stallTimeoutMs: 100 });
    expect((await rejection(exchange(client, get(server.url), [200], client))).code).toBe("STALLED");
  });
});

test.each([
  ["a status of 0", "HTTP/1.1 000 What\r\ncontent-length: 0\r\n\r\n"],
  ["a status of 999", "HTTP/1.1 999 What\r\ncontent-length: 0\r\n\r\n"],
  ["an upgrade", "HTTP/1.1 101 Switching Protocols\r\n\r\n"],
  ["a negative length", "HTTP/1.1 200 OK\r\ncontent-length: -5\r\n\r\nabc"],
  ["a length beyond all numbers", `HTTP/1.1 200 OK\r\ncontent-length: ${"9".repeat(30)}\r\n\r\nabc`],
  ["two lengths", "HTTP/1.1 200 OK\r\ncontent-length: 3\r\ncontent-length: 5\r\n\r\nabc"],
  ["a chunk of nonsense", "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"],
  ["a body cut off", "HTTP/1.1 200 OK\r\ncontent-length: 500\r\n\r\nabc"],
  ["a header with a NUL", "HTTP/1.1 200 OK\r\nlocation: a\0b\r\ncontent-length: -1\r\n\r\n"],
])("an answer with %s is an error for users", async (_, reply) => {
  await using server = startRawServer(reply);
  const client = clientOf(server, { stallTimeoutMs: 1000 });
  const error = await rejection(exchange(client, get(server.url), [200], client));
  expect(error.message).not.toContain("abc");
});

describe("an announced chunk size", () => {
  const announcing = (headers: Record<string, string>) =>
    startTestRegistry({
      chunkHints: false,
      minChunkBytes: 1,
      maxBodyBytes: 10_000_000,
      async intercept(_request, kind, answer) {
        if (kind !== "start-upload") return undefined;
        const response = await answer();
        for (const [name, value] of Object.entries(headers)) response.headers.set(name, value);
        return response;
      },
    });
  const BLOB = blobOf(seededBytes(200_000, 1));

  test.each([1, 1000, 65_535])("of at most %d bytes is refused before a byte goes up", async (bytes) => {
    await using registry = await announcing({ "oci-chunk-max-length": `${bytes}` });
    const error = await rejection(upload(clientOf(registry), BLOB));
    expect(error.code).toBe("REGISTRY_UNSUPPORTED");
    expect(error.message).toContain("OCI-Chunk-Max-Length");
    expect(registry.recorded("patch")).toEqual([]);
    expect(registry.recorded("cancel-upload")).toHaveLength(1);
  });

  test.each(["65536", "70000, 70000", "-1", "NaN", "1e3", "999999999999999"])(
    "of at most %s does no harm",
    async (value) => {
      await using registry = await announcing({ "oci-chunk-max-length": value });
      await upload(clientOf(registry), BLOB);
      await registry.pullBlob("team/app", BLOB.descriptor.digest);
    },
  );

  test.each(["999999999999999", "1000000000000000000000", "-5", "NaN", "0", "5368709120", "300000"])(
    "of at least %s does no harm",
    async (value) => {
      await using registry = await announcing({
        "oci-chunk-min-length": value,
        "oci-chunk-max-length": "100000",
      });
      await upload(clientOf(registry), BLOB);
      expect(registry.recorded("patch").map(({ contentLength }) => contentLength)).toEqual([
        100_000, 100_000,
      ]);
    },
  );
});

describe("a 416 to a chunk", () => {
  test("that moves the upload on by a byte at a time uses up the retries", async () => {
    const BLOB = blobOf(seededBytes(3 * MAX_CHUNK, 2));
    let offset = 0;
    await using registry = await startTestRegistry({
      intercept: (request, kind) => {
        if (kind !== "patch") return undefined;
        const location = new URL(request.url).pathname;
        return new Response(null, { status: 416, headers: { location, range: `0-${++offset}` } });
      },
    });
    const error = await rejection(upload(clientOf(registry, { retries: 5 }), BLOB));
    expect(error).toBeInstanceOf(RegistryError);
    expect(registry.recorded("patch")).toHaveLength(6);
  });

  test("that moves the upload on by a good part of a chunk gives the retries back", async () => {
    const BLOB = blobOf(seededBytes(8_000_000, 3));
    let offset = 0;
    await using registry = await startTestRegistry({
      maxChunkBytes: 4_000_000,
      intercept: (request, kind) => {
        if (kind !== "patch") return undefined;
        if (offset >= 7_000_000) return new Response(null, { status: 400 });
        offset += 400_000;
        const location = new URL(request.url).pathname;
        return new Response(null, { status: 416, headers: { location, range: `0-${offset - 1}` } });
      },
    });
    // Three steps are a MiB.
    const error = await rejection(upload(clientOf(registry, { retries: 3 }), BLOB));
    expect(error).toMatchObject({ answer: { status: 400 } });
  });
});

describe("Retry-After", () => {
  test.each(["601", "31536000", "99999999999999999999", new Date(Date.now() + 9e8).toUTCString()])(
    "of %s ends the request at once, with what the registry asked for",
    async (value) => {
      await using server = startHttpServer(
        () => new Response(null, { status: 429, headers: { "retry-after": value } }),
      );
      const client = clientOf(server);
      const error = await rejection(startUpload(client, client));
      expect(error.code).toBe("STALLED");
      expect(error.message).toContain("429");
      expect(client.seenRetries).toEqual([]);
    },
  );
});

describe("an address of this machine's link", () => {
  const PLACES = [
    "http://169.254.169.254/latest",
    "http://[fe80::1]/",
    "http://0xa9fea9fe/",
    "http://[::ffff:a9fe:a9fe]/",
  ];

  test.each(PLACES)("is not asked by a redirect to %s", async (location) => {
    await using server = startHttpServer(() => new Response(null, { status: 307, headers: { location } }));
    const client = clientOf(server, { stallTimeoutMs: 1000, retries: 0 });
    const asked = exchange(client, get(server.url), [200], client);
    expect((await rejection(asked)).code).toBe("REDIRECT_REFUSED");
  });

  test.each(PLACES)("is not sent to by a Location of %s", async (location) => {
    await using registry = await startTestRegistry({
      intercept: (_, kind) =>
        kind === "start-upload" ? new Response(null, { status: 202, headers: { location } }) : undefined,
    });
    const client = clientOf(registry, { stallTimeoutMs: 1000, retries: 0 });
    expect((await rejection(upload(client, blobOf(seededBytes(100, 4))))).code).toBe("REDIRECT_REFUSED");
  });

  test.each(PLACES)("is no token server: %s", async (realm) => {
    const headers = { "www-authenticate": `Bearer realm="${realm.replace("http:", "https:")}"` };
    await using server = startHttpServer(() => new Response(null, { status: 401, headers }));
    const client = clientOf(server, { stallTimeoutMs: 1000, retries: 0 });
    expect((await rejection(startUpload(client, client))).code).toBe("REDIRECT_REFUSED");
  });

  test("may be the target itself", async () => {
    const proxied: string[] = [];
    await using proxy = startHttpServer((request) => {
      proxied.push(request.url);
      return new Response("here");
    });
    const client = clientOf({ url: "http://169.254.1.1:5000" });
    const at = { ...client, registry: { ...client.registry, proxy: () => proxy.url } };
    await exchange(at, get("http://169.254.1.1:5000/v2/"), [200], client);
    expect(proxied).toEqual(["http://169.254.1.1:5000/v2/"]);
  });
});

describe("a registry on this machine", () => {
  const challenge = (realm: string) =>
    startHttpServer((request) =>
      request.url.includes("/token")
        ? Response.json({ token: "t0ken" })
        : request.headers.get("authorization") === "Bearer t0ken"
          ? new Response(null, { status: 202, headers: { location: "/upload" } })
          : new Response(null, {
              status: 401,
              headers: {
                "www-authenticate": `Bearer realm="${realm || new URL("/token", request.url).href}"`,
              },
            }),
    );

  test("may have a token server on this machine in plain HTTP", async () => {
    await using server = challenge("");
    const client = clientOf(server);
    expect(await startUpload(client, client)).toMatchObject({ offset: 0 });
  });

  test("may name no other token server in plain HTTP", async () => {
    await using server = challenge("http://tokens.example/token");
    const client = clientOf(server, { credentials: { username: "me", password: "hush" } });
    const asked: string[] = [];
    const proxy = (url: URL) => {
      asked.push(url.href);
      return undefined;
    };
    const at = { ...client, registry: { ...client.registry, proxy } };
    expect((await rejection(startUpload(at, client))).code).toBe("TOKEN_FAILED");
    expect(asked.join()).not.toContain("tokens.example");
  });
});
