/**
 * A registry that misbehaves in one way after the other. Whatever it does, a push ends soon, with an error for users,
 * tags nothing unless everything is there, and shows no secret to anybody.
 */
import { afterAll, beforeAll, expect, test } from "bun:test";
import { join } from "node:path";
import { PushError, push } from "../../index.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { parseManifest } from "../../src/oci/manifest.ts";
import { startHttpServer, type TestServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { CREDENTIALS, ROWS, type Row, TOKEN } from "./misbehaviours.ts";

const IMAGE = dockerArchive([seededBytes(150_000, 1)], ["team/app:v1"]);
const SECRETS = ["Xq7-hush", "Zk3-t0ken", btoa(`${CREDENTIALS.username}:${CREDENTIALS.password}`)];

let folder: TemporaryFolder;
let elsewhere: TestServer;
const leaked: string[] = [];
beforeAll(async () => {
  folder = await temporaryFolder();
  await Bun.write(join(folder.path, "output.tar"), IMAGE.archive);
  elsewhere = startHttpServer(async (request) => {
    const sent = [request.url, ...request.headers.values(), await request.text()].join("\n");
    // A token server that the registry names gets the password.
    if (hasSecret(sent) && new URL(request.url).pathname !== "/realm") leaked.push(sent);
    return new Response("not here", { status: new URL(request.url).pathname === "/" ? 200 : 404 });
  });
});
afterAll(async () => {
  await elsewhere[Symbol.asyncDispose]();
  await folder[Symbol.asyncDispose]();
});

/** A registry that meets the fault of a row. `calm` ends that. */
async function startFaulty([kind, , fault]: Row) {
  const counts = new Map<string, number>();
  let isCalm = false;
  const registry = await startTestRegistry({
    async intercept(request, actual, answer) {
      const { pathname, origin: url } = new URL(request.url);
      const own = pathname === "/token" ? "token" : actual;
      if (isCalm) return undefined;
      if (kind === "token" && own !== kind && request.headers.get("authorization") !== `Bearer ${TOKEN}`) {
        return new Response(null, {
          status: 401,
          headers: { "www-authenticate": `Bearer realm="${url}/token"` },
        });
      }
      const count = (counts.get(own) ?? 0) + 1;
      counts.set(own, count);
      // These are asked after failures only.
      if (kind === "cancel-upload" && actual === "patch") return new Response(null, { status: 413 });
      if (kind === "upload-status" && actual === "patch") return new Response(null, { status: 503 });
      const scene = { request, count, url, elsewhere: elsewhere.url, answer };
      const met = own === kind ? await fault(scene) : undefined;
      return met ?? (own === "token" ? Response.json({ token: TOKEN }) : undefined);
    },
  });
  return {
    ...registry,
    calm: () => {
      isCalm = true;
    },
    met: () => counts.get(kind) ?? 0,
  };
}

test.concurrent.each(ROWS.map((row) => ({ kind: row[0], name: row[1], row })))(
  "A push ends in success or with an error for users where $kind $name",
  async ({ row, kind, name }) => {
    await using registry = await startFaulty(row);
    const error = await push({
      retryDelayMs: 10,
      source: join(folder.path, "output.tar"),
      target: `${registry.host}/team/app:v1`,
      login: { credentials: CREDENTIALS },
      cacheDirectory: join(folder.path, Bun.hash(`${kind} ${name}`).toString(36)),
      retries: 1,
      stallTimeoutMs: 3000,
    }).then(
      () => undefined,
      (error: unknown) => error,
    );
    registry.calm();
    expect(registry.met()).toBeGreaterThan(0);
    expect(leaked).toEqual([]);
    const ended = error instanceof PushError ? error.code : error === undefined ? "pushed" : String(error);
    expect([row[3]].flat() as string[]).toContain(ended);
    const manifest = await registry.pullManifest("team/app", "v1");
    if (error instanceof PushError) {
      // Where another digest is told, the manifest is there already.
      if (error.code !== "CONTENT_MISMATCH") expect(manifest).toBeUndefined();
      expectHarmless(error);
      return;
    }
    const { config, layers } = parseManifest(Buffer.from(manifest ?? ""), "the manifest");
    expect(layers).toHaveLength(1);
    for (const { digest } of [config, ...layers]) {
      expect(digestOf(await registry.pullBlob("team/app", digest))).toBe(digest);
    }
  },
  60_000,
);

/** Users see these words, perhaps in a public log. */
function expectHarmless({ message, hint = "" }: PushError): void {
  const shown = `${message} ${hint}`;
  expect(hasSecret(shown)).toBe(false);
  expect(shown.length).toBeLessThan(2000);
  expect(shown).toMatch(/^[\x20-\x7e…]*$/);
}

function hasSecret(text: string): boolean {
  return SECRETS.some((secret) => text.includes(secret));
}
