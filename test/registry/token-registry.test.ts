/** Pushing to a registry that wants tokens: every request, in the middle of which one may end. */
import { describe, expect, test } from "bun:test";
import type { RequestKind } from "../../dev/registry/route.ts";
import {
  startTokenServer,
  type TokenServer,
  type TokenServerOptions,
} from "../../dev/token-server/token-server.ts";
import { manifestFor } from "../../src/oci/manifest.ts";
import { parseReference } from "../../src/oci/reference.ts";
import type { Credentials } from "../../src/registry/auth/credentials.ts";
import { connect } from "../../src/registry/connect.ts";
import { findBlob } from "../../src/registry/find-blob.ts";
import { send } from "../../src/registry/http/send.ts";
import { putManifest } from "../../src/registry/put-manifest.ts";
import { askUpload, startUpload } from "../../src/registry/upload/session.ts";
import { startHttpServer } from "../support/http-server.ts";
import { blobOf, clientAt, clientOf, upload } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry, type TestRegistry } from "../support/test-registry.ts";

const ME = { username: "me", password: "hush-Xq7" };
const SMALL = blobOf(seededBytes(900, 1));
const LARGE = blobOf(seededBytes(150_000, 2));
const CONFIG = blobOf(seededBytes(100, 3));

type Setup = AsyncDisposable & { readonly registry: TestRegistry; readonly tokens: TokenServer };

/** A registry whose tokens end right before the first request of a kind. */
async function setUp(options: TokenServerOptions = {}, endBefore?: RequestKind): Promise<Setup> {
  const tokens = startTokenServer({ credentials: ME, ...options });
  let hasEnded = false;
  const registry = await startTestRegistry({
    tokens,
    intercept: (_, kind) => {
      if (kind === endBefore && !hasEnded) {
        hasEnded = true;
        tokens.revokeAll();
      }
      return undefined;
    },
  });
  return {
    registry,
    tokens,
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await tokens[Symbol.asyncDispose]();
    },
  };
}

/** Without retries, unless told otherwise. */
async function connectTo(host: string, credentials: Credentials | undefined, retries = 0) {
  const client = clientOf({ url: `http://${host}` }, { retries });
  const target = parseReference(`${host}/team/app:v1`);
  const options = { ...client.registry, insecure: false, parallel: 3 };
  return clientAt(await connect({ target, credentials, ...options }, client));
}

/** Every kind of request that a push makes. */
async function pushAll(setup: Setup): Promise<void> {
  const registry = await connectTo(setup.registry.host, ME);
  expect(await findBlob(registry, LARGE.descriptor.digest, registry)).toBeUndefined();
  for (const blob of [LARGE, SMALL, CONFIG]) await upload(registry, blob);
  await askUpload(registry, await startUpload(registry, registry), registry);
  const descriptors = [LARGE.descriptor, SMALL.descriptor];
  const config = { ...CONFIG.descriptor, mediaType: "application/vnd.oci.image.config.v1+json" };
  await putManifest(registry, "v1", manifestFor(undefined, config, descriptors), registry);
  for (const { descriptor, content } of [LARGE, SMALL, CONFIG]) {
    expect(await setup.registry.pullBlob("team/app", descriptor.digest)).toEqual(await content.bytes());
  }
}

describe("a registry that wants tokens", () => {
  test("gets one, from the greeting on", async () => {
    await using setup = await setUp();
    await pushAll(setup);
    expect(setup.tokens.requests).toHaveLength(1);
    expect(setup.registry.requests.filter(({ status }) => status === 401)).toMatchObject([{ kind: "ping" }]);
  });

  test.each<RequestKind>([
    "head-blob",
    "start-upload",
    "patch",
    "close-upload",
    "upload-status",
    "put-manifest",
  ])("whose token ends before %s gets that request again, with its body", async (kind) => {
    await using setup = await setUp({}, kind);
    await pushAll(setup);
    expect(setup.tokens.requests).toHaveLength(2);
    const refused = setup.registry.requests.filter(({ status }) => status === 401);
    expect(refused).toMatchObject([{ kind: "ping" }, { kind }]);
    const [first, again] = setup.registry.recorded(kind);
    expect(again).toMatchObject({ path: first?.path, query: first?.query });
    expect(again?.contentLength === first?.contentLength).toBe(true);
  });

  test("whose token ends before a PUT with the whole blob gets it again", async () => {
    await using setup = await setUp({}, "close-upload");
    const registry = await connectTo(setup.registry.host, ME);
    await upload(registry, SMALL);
    expect(setup.registry.recorded("close-upload")).toMatchObject([
      { status: 401 },
      { status: 201, bodyBytes: 900 },
    ]);
    expect(await setup.registry.pullBlob("team/app", SMALL.descriptor.digest)).toEqual(
      await SMALL.content.bytes(),
    );
  });

  test("gets one for more, where a request needs it", async () => {
    await using setup = await setUp();
    const registry = await connectTo(setup.registry.host, ME);
    const { location } = await startUpload(registry, registry);
    const { status } = await send(
      registry,
      { method: "DELETE", url: new URL(location.pathname, location) },
      registry,
    );
    expect(status).toBe(204);
  });

  test("refuses a wrong password with one request to each", async () => {
    await using setup = await setUp();
    const error = await rejection(connectTo(setup.registry.host, { username: "me", password: "wrong-Zz9" }));
    expect(error.code).toBe("UNAUTHORIZED");
    expect(`${error.message}${error.hint}`).not.toContain("Zz9");
    expect([setup.registry.requests.length, setup.tokens.requests.length]).toEqual([1, 1]);
  });

  test("refuses who may only read, after one more token", async () => {
    await using setup = await setUp({ grant: () => ["pull"] });
    const registry = await connectTo(setup.registry.host, ME);
    const error = await rejection(startUpload(registry, registry));
    expect(error.code).toBe("UNAUTHORIZED");
    expect(error.message).toContain('does not let this user push to "team/app"');
    expect(setup.tokens.requests).toHaveLength(2);
  });

  test("has the refusal of an anonymous push say that a password is missing", async () => {
    await using tokens = startTokenServer({ grant: () => ["pull"] });
    await using registry = await startTestRegistry({ tokens });
    const client = await connectTo(registry.host, undefined);
    const error = await rejection(startUpload(client, client));
    expect(error.message).toContain("requires a login");
  });

  test("may name its token server only in answers without Basic credentials, as GHCR does", async () => {
    await using tokens = startTokenServer({ credentials: ME });
    const seen: (string | undefined)[] = [];
    await using server = startHttpServer((request) => {
      const [scheme] = request.headers.get("authorization")?.split(" ") ?? [];
      seen.push(scheme);
      if (scheme === "Bearer") return new Response("{}");
      const headers = {
        "www-authenticate": `Bearer realm="${tokens.realm}",service="${tokens.service}",scope="repository:user/image:pull"`,
      };
      const denied = { errors: [{ code: "DENIED", message: "invalid token" }] };
      return scheme === "Basic"
        ? Response.json(denied, { status: 403 })
        : Response.json(denied, { status: 401, headers });
    });
    await connectTo(server.host, ME);
    expect(seen).toEqual(["Basic", undefined, "Bearer"]);
    expect(tokens.requests).toMatchObject([
      { basic: "me:hush-Xq7", scopes: ["repository:team/app:pull,push"] },
    ]);
  });

  test("waits for a token server that is at fault", async () => {
    let count = 0;
    await using setup = await setUp({
      intercept: () => (++count < 3 ? new Response(null, { status: 503 }) : undefined),
    });
    await connectTo(setup.registry.host, ME, 2);
    expect(count).toBe(3);
  });
});

test("a 403 of a registry without tokens is final", async () => {
  const seen: string[] = [];
  await using server = startHttpServer((request) => {
    seen.push(`${request.method} ${request.headers.has("authorization")}`);
    return new Response(null, { status: request.headers.has("authorization") ? 403 : 401 });
  });
  const error = await rejection(connectTo(server.host, ME));
  expect(error.code).toBe("DENIED");
  expect(seen).toEqual(["GET true", "GET false"]);
});

describe("a token", () => {
  test("goes to no other origin: neither by a Location, nor by a redirect, nor to the realm", async () => {
    const foreign: (string | null)[] = [];
    const note = (request: Request) => {
      foreign.push(request.headers.get("authorization"));
    };
    await using storage = startHttpServer((request) => {
      note(request);
      // It would like a token, too.
      return new Response(null, {
        status: 401,
        headers: { "www-authenticate": `Bearer realm="${storage.url}/token"` },
      });
    });
    await using setup = await setUp();
    const registry = await connectTo(setup.registry.host, ME);
    await using front = startHttpServer(
      () => new Response(null, { status: 307, headers: { location: storage.url } }),
    );
    for (const url of [storage.url, `${storage.url}/v2/`, front.url]) {
      const body = new Blob(["x"]);
      expect((await send(registry, { method: "PATCH", url: new URL(url), body }, registry)).status).toBe(401);
    }
    expect(foreign).toEqual([null, null, null]);
    expect(setup.tokens.requests).toMatchObject([{ basic: "me:hush-Xq7" }]);
  });

  test("that the registry sends back is not shown", async () => {
    await using tokens = startTokenServer();
    let count = 0;
    await using server = startHttpServer((request) => {
      count++;
      const authorization = request.headers.get("authorization");
      const headers = { "www-authenticate": `Bearer realm="${tokens.realm}",service="${tokens.service}"` };
      const errors = [{ code: "DENIED", message: `not with ${authorization}` }];
      return authorization === null
        ? Response.json({ errors }, { status: 401, headers })
        : Response.json({ errors }, { status: 403 });
    });
    const error = await rejection(connectTo(server.host, undefined));
    expect(error.message).toContain("not with Bearer ***");
    expect(error.message).not.toContain(tokens.tokens[0] ?? "?");
    // A token that is good, and denied all the same, is final.
    expect([count, tokens.requests.length]).toEqual([2, 1]);
  });
});
