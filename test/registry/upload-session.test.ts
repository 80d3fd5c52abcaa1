import { describe, expect, test } from "bun:test";
import { createServer } from "node:http";
import { RegistryError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import {
  askUpload,
  closeUpload,
  sendChunk,
  sessionFromRefusal,
  startUpload,
  type UploadSession,
} from "../../src/registry/upload/session.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { clientOf, type TestClient } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { MAX_CHUNK, startTestRegistry } from "../support/test-registry.ts";

const DIGEST = digestOf(seededBytes(10, 1));
const noProgress = () => {};

const start = (client: TestClient) => startUpload(client, client);
const patch = (client: TestClient, session: UploadSession, chunk: Blob) =>
  sendChunk(client, session, chunk, noProgress, client);
const close = (client: TestClient, session: UploadSession, stallTimeoutMs: number) =>
  closeUpload(client, session, DIGEST, stallTimeoutMs, client);
const ask = (client: TestClient, session: UploadSession) => askUpload(client, session, client);

describe("startUpload", () => {
  test("gives the address, the limits and an offset of 0, whatever Range says", async () => {
    await using registry = await startTestRegistry();
    const session = await start(clientOf(registry));
    expect(session).toMatchObject({ offset: 0, limits: { minBytes: 1024, maxBytes: MAX_CHUNK } });
    expect(session.location.origin).toBe(registry.url);
    expect(session.location.search).toStartWith("?_stateHash=");
  });

  test("is tried again", async () => {
    let count = 0;
    await using registry = await startTestRegistry({
      intercept: faultAlways("start-upload", () => {
        count++;
        return count < 3 ? new Response(null, { status: 503 }) : undefined;
      }),
    });
    await start(clientOf(registry, { retries: 2 }));
    expect(registry.recorded("start-upload").map(({ status }) => status)).toEqual([503, 503, 202]);
  });

  test("fails without a Location", async () => {
    await using server = startHttpServer(() => new Response(null, { status: 202 }));
    const error = await rejection(start(clientOf(server)));
    expect(error.code).toBe("REGISTRY_UNSUPPORTED");
    expect(error.message).toContain("Location");
  });

  test("resolves Location against where a redirect led", async () => {
    await using server = startHttpServer((request) => {
      const headers = {
        location: new URL(request.url).pathname.startsWith("/v2/") ? "/moved/here" : "uploads/1",
      };
      return new Response(null, { status: headers.location === "uploads/1" ? 202 : 307, headers });
    });
    expect((await start(clientOf(server))).location.href).toBe(`${server.url}/moved/uploads/1`);
  });
});

describe("sendChunk", () => {
  test.each([202, 201, 204])("takes a %d for a success, and advances by what was sent", async (status) => {
    // ECR's Range stays where it was although the data is stored.
    await using server = startHttpServer(async (request) => {
      await request.bytes();
      return new Response(null, { status, headers: { range: "0-0", location: "/next?x=1" } });
    });
    const session = { location: new URL(`${server.url}/upload`), offset: 100 };
    const next = await patch(clientOf(server), session, new Blob([seededBytes(50, 2)]));
    expect(next).toEqual({ location: new URL(`${server.url}/next?x=1`), offset: 150 });
  });

  test("stays at its address where the answer names no other", async () => {
    await using server = startHttpServer(() => new Response(null, { status: 202 }));
    const session = { location: new URL(`${server.url}/upload?token=a`), offset: 0 };
    const next = await patch(clientOf(server), session, new Blob(["abc"]));
    expect(next.location.href).toBe(`${server.url}/upload?token=a`);
  });

  test.each([
    ["/upload?_stateHash=a", "ab", "100-101"],
    ["/upload?_stateHash=a", "a", null],
    ["/upload?_state=a", "a", "100-100"],
    ["/upload", "a", "100-100"],
  ])("tells %s the range of %j as %j", async (path, chunk, range) => {
    let told: string | null | undefined;
    await using server = startHttpServer((request) => {
      told = request.headers.get("content-range");
      return new Response(null, { status: 202 });
    });
    const session = { location: new URL(server.url + path), offset: 100 };
    await patch(clientOf(server), session, new Blob([chunk]));
    expect(told).toBe(range);
  });

  test("does not retry", async () => {
    await using registry = await startTestRegistry({ intercept: faultAlways("patch", answering(503)) });
    const client = clientOf(registry);
    const session = await startUpload(client, client);
    expect((await rejection(patch(client, session, new Blob(["abc"])))).code).toBe("REGISTRY_FAILED");
    expect(registry.recorded("patch")).toHaveLength(1);
  });
});

describe("closeUpload", () => {
  /** The path and query as they came over the wire, before any parser. */
  async function closedAt(location: string): Promise<string | undefined> {
    let asked: string | undefined;
    const server = createServer((request, response) => {
      asked = request.url;
      response.writeHead(201).end();
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    try {
      const address = server.address();
      if (address === null || typeof address === "string") throw new Error("The test server has no port.");
      const url = `http://127.0.0.1:${address.port}`;
      const session = { location: new URL(url + location), offset: 10 };
      await close(clientOf({ url }), session, 60_000);
    } finally {
      server.closeAllConnections();
      server.close();
    }
    return asked;
  }

  test.each([
    ["/upload", `/upload?digest=${DIGEST}`],
    ["/upload?", `/upload?digest=${DIGEST}`],
    ["/upload?state=1", `/upload?state=1&digest=${DIGEST}`],
    [
      "/a%2Fb/up~load?X-Sig=a%2Fb%2b+c%3d=&X-Amz-Date=2026%3A01&empty=&flag&p=%7e~!*()",
      `/a%2Fb/up~load?X-Sig=a%2Fb%2b+c%3d=&X-Amz-Date=2026%3A01&empty=&flag&p=%7e~!*()&digest=${DIGEST}`,
    ],
    ["/upload?digest=sha256:old", `/upload?digest=sha256:old&digest=${DIGEST}`],
  ])("adds the digest to %s, which stays as it is", async (location, expected) => {
    expect(await closedAt(location)).toBe(expected);
  });

  test.each([201, 204])("takes a %d for a success", async (status) => {
    await using server = startHttpServer(() => new Response(null, { status }));
    const session = { location: new URL(`${server.url}/upload`), offset: 10 };
    await close(clientOf(server), session, 60_000);
  });

  test.each([200, 202, 301, 302, 303, 400, 404, 500])("takes a %d for a failure", async (status) => {
    const headers = { location: "/elsewhere" };
    await using server = startHttpServer(() => new Response(null, { status, headers }));
    const session = { location: new URL(`${server.url}/upload`), offset: 10 };
    const error = await rejection(close(clientOf(server), session, 60_000));
    expect(error).toBeInstanceOf(RegistryError);
  });

  test("has a time limit of its own", async () => {
    await using server = startHttpServer(() => new Promise(() => {}));
    const session = { location: new URL(`${server.url}/upload`), offset: 10 };
    const error = await rejection(close(clientOf(server), session, 50));
    expect(error.code).toBe("STALLED");
  });
});

describe("askUpload", () => {
  test("tells nothing stored from something stored", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const started = await startUpload(client, client);
    expect(await ask(client, started)).toEqual({ location: started.location, offset: 0 });
    const chunk = new Blob([seededBytes(MAX_CHUNK, 3)]);
    const next = await patch(client, started, chunk);
    // The address of before is enough to be told the current one.
    expect(await ask(client, started)).toEqual(next);
  });

  test("finds nothing where the upload is gone", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const session = await startUpload(client, client);
    await fetch(session.location, { method: "DELETE" });
    expect(await ask(client, session)).toBeUndefined();
  });

  test.each([
    ["0--1", 0],
    ["0-0", 0],
    ["0-99", 100],
    ["bytes=0-99", 100],
    ["0-1073741823", 1_073_741_824],
  ])("reads the Range %s as an offset of %d", async (range, offset) => {
    await using server = startHttpServer(() => new Response(null, { status: 204, headers: { range } }));
    const session = { location: new URL(`${server.url}/upload`), offset: 7 };
    expect(await ask(clientOf(server), session)).toEqual({ ...session, offset });
  });

  test.each(["", "100", "5-99", "0-", "0-x", "0-99999999999999999999", "0--2"])(
    "stays where it was with the Range %j",
    async (range) => {
      await using server = startHttpServer(() => new Response(null, { status: 204, headers: { range } }));
      const session = { location: new URL(`${server.url}/upload`), offset: 7 };
      expect(await ask(clientOf(server), session)).toEqual(session);
    },
  );

  test.each([401, 403, 405])("stays where it was when it is refused with %d", async (status) => {
    await using server = startHttpServer(() => new Response(null, { status }));
    const session = { location: new URL(`${server.url}/upload`), offset: 7 };
    expect(await ask(clientOf(server), session)).toEqual(session);
  });
});

describe("sessionFromRefusal", () => {
  async function refusal(headers: Record<string, string>, status = 416) {
    await using server = startHttpServer(() => new Response(null, { status, headers }));
    const session = { location: new URL(`${server.url}/path/upload`), offset: 5 };
    const error = await rejection(patch(clientOf(server), session, new Blob(["abc"])));
    return { found: sessionFromRefusal(error), url: server.url };
  }

  test("is the place that a 416 tells", async () => {
    const { found, url } = await refusal({ location: "other?state=2", range: "0-41" });
    expect(found).toEqual({ location: new URL(`${url}/path/other?state=2`), offset: 42 });
  });

  test.each<[string, Record<string, string>, number]>([
    ["no Location", { range: "0-41" }, 416],
    ["no Range", { location: "/other" }, 416],
    ["a Range that is none", { location: "/other", range: "none" }, 416],
    ["another status", { location: "/other", range: "0-41" }, 400],
  ])("is nothing with %s", async (_, headers, status) => {
    expect((await refusal(headers, status)).found).toBeUndefined();
  });

  test("is nothing for any other error", () => {
    expect(sessionFromRefusal(new Error("416"))).toBeUndefined();
  });
});
