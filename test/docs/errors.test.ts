/** docs/errors.md has a section for every code of an error, and its examples are what the program prints. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import type { Intercept } from "../../dev/registry/answer-request.ts";
import { ERROR_CODES, type ErrorCode } from "../../src/errors.ts";
import { answering, faultAlways } from "../support/faults.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { PROGRAM, runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { readPage } from "./pages.ts";

setDefaultTimeout(60_000);

const page = await readPage("docs/errors.md");
const headings = [...page.matchAll(/^### (\w+)$/gm)].map(([, code = ""]) => code);

test("docs/errors.md has a section for every code, in the order of the list, and for nothing else", () => {
  expect(headings).toEqual([...ERROR_CODES]);
});

/** A fault for every request of a kind, in place of a registry's answer. */
const refusing = (kind: "ping" | "start-upload", status: number, code: string, message: string): Intercept =>
  faultAlways(kind, answering(status, {}, JSON.stringify({ errors: [{ code, message }] })));

/** Registries that behave badly, by the code of the error. Any other is a good one. */
const INTERCEPTS: { readonly [Code in ErrorCode]?: Intercept } = {
  DENIED: refusing("start-upload", 403, "DENIED", "requested access to the resource is denied"),
  RATE_LIMITED: refusing("start-upload", 429, "TOOMANYREQUESTS", "rate limit exceeded"),
  REGISTRY_REFUSED: refusing("start-upload", 404, "NAME_UNKNOWN", "repository name not known to registry"),
  REGISTRY_FAILED: refusing("start-upload", 500, "UNKNOWN", "unknown error"),
};

function startServer(code: ErrorCode) {
  if (code === "NOT_A_REGISTRY") {
    const headers = { "content-type": "text/html" };
    return startHttpServer(() => new Response("<title>Example Domain</title>", { headers }));
  }
  const intercept = INTERCEPTS[code];
  return startTestRegistry({
    ...(code === "UNAUTHORIZED" && { credentials: { username: "me", password: "x" } }),
    ...(intercept && { intercept }),
  });
}

let folder: TemporaryFolder;
beforeAll(async () => {
  folder = await temporaryFolder();
  const raw = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(5000, 1) }]));
  const { archive } = dockerArchive([raw], ["my/app:v1"]);
  const manifest = [{ Config: "config.json", Layers: ["layer.tar"], RepoTags: ["my/app:v1"] }];
  const config = { rootfs: { diff_ids: [`sha256:${"0".repeat(64)}`] } };
  const saved = (members: Record<string, unknown>) =>
    tarBytes(Object.entries(members).map(([path, value]) => ({ path, body: JSON.stringify(value) })));
  const files = {
    "image.tar": archive,
    "cut.tar": tarBytes([{ path: "0/layer.tar", body: raw }]).subarray(0, 3000),
    "index.html": "<!doctype html><title>Sign in</title>",
    "odd.tar": saved({ "manifest.json": [{ Config: 5 }] }),
    "partial.tar": saved({ "manifest.json": manifest, "config.json": config }),
    "damaged.tar": saved({ "manifest.json": manifest, "config.json": config, "layer.tar": "other bytes" }),
    "two.tar": saved({
      "manifest.json": ["my/app:v1", "my/base:v1"].map((name) => ({ ...manifest[0], RepoTags: [name] })),
    }),
  };
  for (const [name, content] of Object.entries(files)) await Bun.write(join(folder.path, name), content);
});
afterAll(() => folder[Symbol.asyncDispose]());

const examples = [...page.matchAll(/^### (\w+)\n(?:(?!^#)[\s\S])*?```text\n\$ (.*)\n([\s\S]*?)^```$/gm)].map(
  ([, code = "", command = "", output = ""]) => [code, command, output] as const,
);

/** Runs a command of the page, with a server in the place of the registry's. @returns what the page has to show */
async function outputOf(code: ErrorCode, command: string): Promise<string> {
  await using server = await startServer(code);
  const [, variables = "", words = ""] = /^((?:\w+=\S+ )*)chunkpush (.*)$/.exec(command) ?? [];
  const env = Object.fromEntries(
    variables
      .split(" ")
      .filter(Boolean)
      .map((each) => each.split(/=(.*)/s)),
  );
  const args = words.split(" ").map((word) => word.replace("registry.example.com", server.host));
  const { stderr } = await runCli(args, {
    cwd: folder.path,
    // No engine.
    env: { PATH: folder.path, ...env },
  });
  return stderr
    .slice(stderr.indexOf("Error: "))
    .replaceAll(`http://${server.host}`, "https://registry.example.com")
    .replaceAll(server.host, "registry.example.com")
    .replaceAll(PROGRAM, "chunkpush");
}

describe.concurrent("docs/errors.md shows what the program prints", () => {
  test("in every example, each of which is below a code", () => {
    expect(examples).toHaveLength(page.match(/```text/g)?.length ?? 0);
  });

  test.each(examples)("for %s: %s", async (code, command, output) => {
    const printed = await outputOf(code as ErrorCode, command);
    expect(printed).toContain(`[${code}]`);
    expect(output).toBe(printed);
  });
});
