/** The words for refused credentials: which ones, where they are from, and what is wrong with them. */
import { expect, test } from "bun:test";
import { PROGRAM_NAME } from "../../src/program-name.ts";
import type { Credentials, CredentialsOrigin } from "../../src/registry/auth/credentials.ts";
import { explainLoginRequired, explainRefusedCredentials } from "../../src/registry/auth/explain-refusal.ts";

const NOW = new Date("2026-11-27T12:00:00Z");
const ORIGIN = "https://registry.example.com";
const jwt = (claims: unknown) =>
  [`{"alg":"RS256"}`, JSON.stringify(claims), "Xq7"]
    .map((part) => Buffer.from(part).toString("base64url"))
    .join(".");
const inHours = (hours: number) => NOW.getTime() / 1000 + hours * 3600;

const ME = { username: "me", password: "hush-Xq7" };
const VARIABLE = { kind: "setting", name: "REGISTRY_JWT_TOKEN" } as const;
const FILE = { kind: "login", name: "~/.docker/config.json" } as const;

test.each<[string, Credentials, reason: string, hint: string]>([
  [
    "typed",
    { ...ME, origin: { kind: "typed" } },
    'user "me" with the password that you typed.',
    "type the password again",
  ],
  [
    "piped in",
    { ...ME, origin: { kind: "piped" } },
    'user "me" with the password on standard input.',
    "piped in",
  ],
  [
    "piped in with a space at the end",
    { ...ME, password: "hush-Xq7 ", origin: { kind: "piped" } },
    'user "me" with the password on standard input: the password ends in a space.',
    "piped in",
  ],
  [
    "set with a line break at the end",
    { ...ME, password: "hush-Xq7\r\n", origin: VARIABLE },
    'user "me" with the password in REGISTRY_JWT_TOKEN: the password ends in a line break.',
    "Check REGISTRY_JWT_TOKEN.",
  ],
  [
    "typed with a space at the start",
    { ...ME, password: " hush", origin: { kind: "typed" } },
    'user "me" with the password that you typed: the password begins with a space.',
    "type the password again",
  ],
  [
    "an expired token in the variable",
    { username: "v0", password: jwt({ exp: inHours(-3) }), origin: VARIABLE },
    "REGISTRY_JWT_TOKEN: the token expired 3 hours ago.",
    "Check REGISTRY_JWT_TOKEN.",
  ],
  [
    "a token that has not expired",
    { username: "v0", password: jwt({ exp: inHours(3) }), origin: VARIABLE },
    "REGISTRY_JWT_TOKEN.",
    "another registry",
  ],
  [
    "a token without an end",
    { username: "v0", password: jwt({}), origin: VARIABLE },
    "REGISTRY_JWT_TOKEN.",
    "another",
  ],
  [
    "a token with a nonsensical end",
    { username: "v0", password: jwt({ exp: -1e300 }), origin: VARIABLE },
    "REGISTRY_JWT_TOKEN.",
    "another",
  ],
  [
    "what only looks like a token",
    { username: "v0", password: "eyJx.eyJ9.x", origin: VARIABLE },
    "REGISTRY_JWT_TOKEN.",
    "Check",
  ],
  [
    "a saved login",
    { ...ME, origin: FILE },
    'the login of "me" in ~/.docker/config.json.',
    "login registry.example.com",
  ],
  [
    "a saved token that has expired",
    { username: "v0", password: jwt({ exp: inHours(-48) }), origin: FILE },
    'the login of "v0" in ~/.docker/config.json: the token expired 2 days ago.',
    "login registry.example.com",
  ],
  [
    "a saved identity token",
    { identityToken: "id", origin: FILE },
    "the identity token in ~/.docker/config.json.",
    "login registry.example.com",
  ],
  [
    "from a command",
    { ...ME, origin: { kind: "command" } },
    "what the credential command printed.",
    "--credential-command",
  ],
  ["from a program", ME, 'user "me" with this password.', "Check the user name"],
])("A refusal of credentials says where they come from: %s", (_, credentials, reason, hint) => {
  const explained = explainRefusedCredentials(ORIGIN, credentials, {}, NOW);
  expect(explained.reason).toBe(`${ORIGIN} does not accept ${reason}`);
  expect(explained.hint).toContain(hint);
  expect(JSON.stringify(explained)).not.toContain("Xq7");
});

test("serverless-registry's refusal of a password names the variable for tokens, and that of a token does not", () => {
  const facts = { isServerlessRegistry: true };
  expect(explainRefusedCredentials(ORIGIN, ME, facts).hint).toContain("REGISTRY_JWT_TOKEN");
  const token = { username: "me", password: jwt({}) };
  expect(explainRefusedCredentials(ORIGIN, token, facts).hint).not.toContain("REGISTRY_JWT_TOKEN");
});

test.each<[origin: string, Partial<Extract<CredentialsOrigin, { kind: "login" }>>, command: string]>([
  [ORIGIN, {}, "login registry.example.com"],
  [ORIGIN, { key: "registry.example.com:443" }, "login registry.example.com:443"],
  ["https://registry-1.docker.io", { key: "docker.io" }, "login docker.io"],
  ["http://registry.example.com:5000", {}, "login http://registry.example.com:5000"],
  ["http://localhost:5000", {}, "login localhost:5000"],
  ["https://localhost:5000", {}, "login https://localhost:5000"],
  ["https://myregistry", {}, "login https://myregistry"],
  ["http://[2001:db8::1]:5000", {}, "login 'http://[2001:db8::1]:5000'"],
  [ORIGIN, { authFile: "my file.json" }, "login --authfile 'my file.json' registry.example.com"],
  [
    "http://registry.example.com",
    { key: "registry.example.com/team", authFile: "a.json" },
    `logout --authfile a.json registry.example.com/team && ${PROGRAM_NAME} login --authfile a.json http://registry.example.com`,
  ],
])("the refused login to %s, saved as %j, is replaced by %s", (origin, saved, command) => {
  const facts = { isServerlessRegistry: true };
  const { hint } = explainRefusedCredentials(origin, { ...ME, origin: { ...FILE, ...saved } }, facts);
  expect(hint).toEndWith(`: ${PROGRAM_NAME} ${command}`);
});

test("the refusal of an anonymous push says how to log in, with the host as references have it", () => {
  expect(explainLoginRequired("http://registry.example.com").hint).toContain(
    'login http://registry.example.com"',
  );
  expect(explainLoginRequired(ORIGIN).hint).toContain("login registry.example.com");
  expect(explainLoginRequired("https://registry-1.docker.io").hint).toContain("login docker.io");
});
