/** Servers that are no registries: each is recognized before anything is taken for pushed. */
import { afterAll, beforeAll, describe, expect, test } from "bun:test";
import { join } from "node:path";
import { push } from "../../index.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder();
  const { archive } = dockerArchive([seededBytes(5000, 1)], ["team/app:v1"]);
  await Bun.write(join(folder.path, "output.tar"), archive);
});
afterAll(() => folder[Symbol.asyncDispose]());

const HTML = { "content-type": "text/html; charset=utf-8" };
const page = (title: string, status = 200) =>
  new Response(`<!doctype html><html><head><title>${title}</title></head></html>`, { status, headers: HTML });

function pushTo(host: string) {
  return rejection(
    push({
      source: join(folder.path, "output.tar"),
      target: `${host}/team/app:v1`,
      cacheDirectory: join(folder.path, ".cache"),
      retries: 0,
    }),
  );
}

describe("A server is not taken for a registry", () => {
  test("that answers every request with a web page, whose title is quoted", async () => {
    const asked: string[] = [];
    await using site = startHttpServer(({ method }) => {
      asked.push(method);
      return page("Welcome\u001b[31m home");
    });
    const error = await pushTo(site.host);
    expect(error.code).toBe("NOT_A_REGISTRY");
    expect(error.message).toContain('"Welcome [31m home"');
    expect(asked).toEqual(["GET"]);
  });

  test("that leads to a login page", async () => {
    await using site = startHttpServer(({ url }) =>
      new URL(url).pathname === "/login"
        ? page("Sign in")
        : Response.redirect(`${new URL(url).origin}/login`),
    );
    expect(await pushTo(site.host)).toMatchObject({ code: "NOT_A_REGISTRY" });
  });

  test.each([
    ["200 to everything, in JSON", () => Response.json({ ok: true })],
    ["200 to everything, without a body", () => new Response()],
    ["404 to everything", () => new Response("not found", { status: 404 })],
    ["404 to everything, with a page", () => page("Not Found", 404)],
    [
      "405 to what is not read",
      ({ method }: Request) =>
        method === "GET" ? Response.json({}) : new Response(null, { status: method === "HEAD" ? 404 : 405 }),
    ],
  ])("that answers %s", async (_, answer) => {
    await using site = startHttpServer(answer);
    expect(await pushTo(site.host)).toMatchObject({ code: "NOT_A_REGISTRY" });
  });
});

test("A registry that lacks the repository is one, and the hint says that it may have to be created", async () => {
  const errors = [{ code: "NAME_UNKNOWN", message: "repository does not exist" }];
  await using registry = startHttpServer(({ method }) =>
    method === "GET" ? Response.json({}) : Response.json({ errors }, { status: 404 }),
  );
  const error = await pushTo(registry.host);
  expect(error.code).toBe("REGISTRY_REFUSED");
  expect(error.message).toContain('"team/app"');
});

test("A firewall's page is not taken for a missing right of the user, and its title is quoted", async () => {
  await using firewall = startHttpServer(() => page("Attention Required! | Cloudflare", 403));
  const error = await pushTo(firewall.host);
  expect(error.code).toBe("DENIED");
  expect(error.message).toContain('"Attention Required! | Cloudflare"');
  expect(error.message).not.toContain("user");
});
