/** Cloudflare Access in front of a registry. */
import { describe, expect, test } from "bun:test";
import { exchange } from "../../src/registry/http/send.ts";
import { startHttpServer } from "../support/http-server.ts";
import { clientOf } from "../support/registry-client.ts";
import { rejection } from "../support/rejection.ts";

const LOGIN = "https://team.cloudflareaccess.com/cdn-cgi/access/login/registry.example?redirect_url=%2Fv2%2F";
const page = (body: string, status: number, type = "text/html; charset=UTF-8") =>
  new Response(body, { status, headers: { "content-type": type } });

const ANSWERS: readonly [string, () => Response][] = [
  ["a redirect to the login", () => Response.redirect(LOGIN, 302)],
  ["a redirect to a login on its own host", () => Response.redirect("/cdn-cgi/access/login/x", 302)],
  ["the login page itself", () => page(`<form action="${LOGIN}">`, 200)],
  ["the page that refuses", () => page("<title>Error ・ Cloudflare Access</title>", 403)],
  ["a page that links to the login", () => page(`<a href="${LOGIN}">`, 403)],
];

describe("The login page of Cloudflare Access is recognized, and the error says what to do,", () => {
  for (const [what, answer] of ANSWERS) {
    for (const method of ["GET", "POST"] as const) {
      test(`by ${what}, at ${method}`, async () => {
        await using gate = startHttpServer(answer);
        const request = { method, url: new URL(`${gate.url}/v2/`) };
        const client = clientOf(gate, { retries: 0 });
        const error = await rejection(exchange(client, request, [200], client));
        expect(error.code).toBe("UNAUTHORIZED");
        expect(error.hint).toContain("CHUNKPUSH_HEADERS");

        const token = { "cf-access-client-id": "x", "cf-access-client-secret": "of-the-token-Xq7" };
        const other = clientOf(gate, { retries: 0, headers: token });
        const refused = await rejection(exchange(other, request, [200], other));
        expect(refused.code).toBe("UNAUTHORIZED");
        expect(refused.message).not.toBe(error.message);
        expect(`${refused.message}${refused.hint}`).not.toContain("Xq7");
      });
    }
  }

  test("but not by a manifest that mentions it, nor by another page", async () => {
    await using registry = startHttpServer(({ url }) =>
      url.endsWith("/page")
        ? page("<h1>Welcome</h1>", 200)
        : page(`{"a":"${LOGIN}"}`, 200, "application/json"),
    );
    const client = clientOf(registry, { retries: 0 });
    for (const path of ["/page", "/v2/"]) {
      const request = { method: "GET", url: new URL(registry.url + path) } as const;
      expect(await exchange(client, request, [200], client)).toMatchObject({ status: 200 });
    }
  });
});
