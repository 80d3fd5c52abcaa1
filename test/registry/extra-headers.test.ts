/** Headers of the user, for what stands in front of a registry. */
import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import { parsePush } from "../../src/cli/invocation.ts";
import { checkHeaders } from "../../src/registry/http/extra-headers.ts";
import { exchange } from "../../src/registry/http/send.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const SECRET = "0f3aSecret=of+the/service-token";
const ACCESS = { "cf-access-client-id": "client.access", "cf-access-client-secret": SECRET };

const get = (url: string) => ({ method: "GET", url: new URL(url) }) as const;

test("A push passes a gateway that wants headers of its own, with some from the environment and some from flags", async () => {
  await using folder = await temporaryFolder();
  const refused: string[] = [];
  await using registry = await startTestRegistry({
    credentials: { username: "me", password: "hush" },
    intercept: ({ headers, method, url }) => {
      if (Object.entries(ACCESS).every(([name, value]) => headers.get(name) === value)) return undefined;
      refused.push(`${method} ${url}`);
      return new Response("Forbidden", { status: 403 });
    },
  });
  await Bun.write(
    join(folder.path, "output.tar"),
    dockerArchive([seededBytes(300_000, 1)], ["team/app:v1"]).archive,
  );
  const { code, stderr } = await runCli(
    [`${registry.host}/team/app:v1`, "--header", "CF-Access-Client-Id: client.access"],
    {
      cwd: folder.path,
      env: {
        USERNAME_REGISTRY: "me",
        CHUNKPUSH_HEADERS: `CF-Access-Client-ID: of another\n\nCF-Access-Client-Secret:${SECRET}\r\n`,
      },
      input: "hush",
    },
  );
  expect({ code, refused, stderr }).toMatchObject({ code: 0, refused: [] });
  expect(stderr).not.toContain(SECRET);
});

test("Headers of the user go to no other origin: neither by a redirect, nor to a token server", async () => {
  const seen: string[] = [];
  const note = (who: string) => (request: Request) => {
    seen.push(`${who} ${request.headers.get("cf-access-client-secret")}`);
    return who === "tokens" ? Response.json({ token: "t0ken" }) : new Response("here");
  };
  await using storage = startHttpServer(note("storage"));
  await using tokens = startHttpServer(note("tokens"));
  await using registry = startHttpServer((request) => {
    note("registry")(request);
    const headers = { "www-authenticate": `Bearer realm="${tokens.url}/token"` };
    if (!request.headers.get("authorization")?.startsWith("Bearer "))
      return new Response(null, { status: 401, headers });
    return Response.redirect(`${storage.url}/blob`, 307);
  });
  const client = clientOf(registry, {
    headers: ACCESS,
    credentials: { username: "me", password: "hush" },
    retries: 0,
  });
  await exchange(client, get(registry.url), [200], client);
  expect(seen).toEqual([`registry ${SECRET}`, "tokens null", `registry ${SECRET}`, "storage null"]);
});

test("A message that quotes a server does not repeat headers of the user, nor their parts", async () => {
  const jwt = "eyJhbGciOiJSUzI1NiJ9.e30.c2lnbmF0dXJl";
  const headers = { ...ACCESS, cookie: `CF_Authorization=${jwt}; a=b` };
  await using registry = startHttpServer(({ headers }) =>
    Response.json(
      { errors: [{ code: "DENIED", message: `${JSON.stringify([...headers])} and ${jwt}` }] },
      { status: 400 },
    ),
  );
  const client = clientOf(registry, { headers, retries: 0 });
  const { message } = await rejection(exchange(client, get(registry.url), [200], client));
  expect(message).toContain("DENIED");
  for (const secret of [SECRET, jwt, encodeURIComponent(SECRET)]) expect(message).not.toContain(secret);
});

test("An address that repeats a header of the user is not followed", async () => {
  await using registry = startHttpServer(() =>
    Response.redirect(`http://elsewhere.example/?s=${encodeURIComponent(SECRET)}`, 307),
  );
  const client = clientOf(registry, { headers: ACCESS, retries: 0 });
  const error = await rejection(exchange(client, get(registry.url), [200], client));
  expect(error.code).toBe("REDIRECT_REFUSED");
  expect(error.message).not.toContain(encodeURIComponent(SECRET));
});

describe("A header is refused before anything is sent, and its value is not quoted,", () => {
  const OWN = ["Authorization", "Content-Length", "content-range", "Host", "Transfer-Encoding", "Range"];
  test.each([
    ...OWN.map((name) => ({ [name]: "Xq7-secret" })),
    { "": "Xq7-secret" },
    { "a b": "Xq7-secret" },
    { "x-ü": "Xq7-secret" },
    { "x-y\r\nhost": "Xq7-secret" },
    { "x-y": "Xq7-secret\r\nhost: elsewhere" },
    { "x-y": "Xq7-secret\nz" },
    { "x-y": "Xq7-secret\0" },
    { "x-y": "Xq7-secret ü" },
    { "x-y": " \t" },
  ])("where it is %j", async (headers) => {
    const refused = await rejection(() => checkHeaders(headers as Record<string, string>));
    expect(refused.code).toBe("USAGE");
    expect(`${refused.message} ${refused.hint}`).not.toContain("Xq7");
  });

  test("where it is a line without a colon", async () => {
    const target = "registry.example/my/app";
    for (const [args, env] of [
      [["--header", "Xq7-secret"], {}],
      [["--header", ": Xq7-secret"], {}],
      [[], { CHUNKPUSH_HEADERS: "a: b\nXq7-secret" }],
    ] as const) {
      const refused = await rejection(() => parsePush([target, ...args], env));
      expect(refused.code).toBe("USAGE");
      expect(`${refused.message} ${refused.hint}`).not.toContain("Xq7");
    }
  });
});
