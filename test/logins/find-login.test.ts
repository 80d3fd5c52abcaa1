import { describe, expect, test } from "bun:test";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { findLogin } from "../../src/logins/find-login.ts";
import { parseReference } from "../../src/oci/reference.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const base64 = (text: string) => Buffer.from(text).toString("base64");
const HOST = "registry.example.com";
const ME = { username: "me", password: "hush-Xq7" };

type Files = {
  readonly docker?: unknown;
  readonly podman?: unknown;
  /** The text of shell scripts by the name behind `docker-credential-`. */
  readonly helpers?: Readonly<Record<string, string>>;
};

/** Looks in a home with these files; what is no text is written as JSON. */
async function find(files: Files, target = `${HOST}/team/app`) {
  await using home = await temporaryFolder();
  const write = (path: string, content: unknown) =>
    Bun.write(join(home.path, path), typeof content === "string" ? content : JSON.stringify(content));
  if (files.docker !== undefined) await write(".docker/config.json", files.docker);
  if (files.podman !== undefined) await write(".config/containers/auth.json", files.podman);
  for (const [name, script] of Object.entries(files.helpers ?? {})) {
    const path = `bin/docker-credential-${name}`;
    await write(path, script.startsWith("#!") ? script : `#!/bin/sh\n${script}\n`);
    await chmod(join(home.path, path), 0o755);
  }
  const variables = { PATH: join(home.path, "bin") };
  const environment = { variables, home: home.path, platform: "darwin", userId: undefined } as const;
  return await findLogin(parseReference(target), environment, new AbortController().signal);
}

const auth = (username: string, password: string) => ({ auth: base64(`${username}:${password}`) });

describe("an entry of a login file", () => {
  test.each<[string, unknown, object | undefined]>([
    ["auth", auth("me", "hush-Xq7"), ME],
    ["auth with colons in the password", auth("me", "a:b:"), { username: "me", password: "a:b:" }],
    ["auth beyond ASCII", auth("jürgen", "Größe-🔑"), { username: "jürgen", password: "Größe-🔑" }],
    ["auth that ends in zero bytes", auth("me", "hush-Xq7\0\0"), ME],
    ["an identity token", { identitytoken: "id" }, { identityToken: "id" }],
    ["an identity token beside a user", { ...auth("me", "x"), identitytoken: "id" }, { identityToken: "id" }],
    [
      "an identity token beside half a user",
      { auth: base64("0000:"), identitytoken: "id" },
      { identityToken: "id" },
    ],
    ["an identity token as a user's password", auth("<token>", "id"), { identityToken: "id" }],
    ["user and password", { username: "me", password: "hush-Xq7" }, ME],
    ["user and password, and an empty auth", { ...ME, auth: "" }, ME],
    ["other fields as well", { ...auth("me", "hush-Xq7"), email: "me@example.com" }, ME],
    ["nothing, as beside a credsStore", {}, undefined],
    ["null", null, undefined],
    ["a user alone", { username: "me" }, undefined],
  ])("with %s is read as Docker reads it", async (_, entry, credentials) => {
    const login = await find({ docker: { auths: { [HOST]: entry } } });
    expect(login?.credentials as object | undefined).toEqual(credentials);
    if (credentials !== undefined) expect(login?.from).toBe("~/.docker/config.json");
  });

  test("for a longer part of the target comes first, unless it is empty", async () => {
    const auths = {
      [HOST]: auth("host", "1"),
      [`${HOST}/team`]: auth("team", "2"),
      [`${HOST}/team/app`]: {},
    };
    expect((await find({ podman: { auths } }))?.credentials).toEqual({ username: "team", password: "2" });
    const other = await find({ podman: { auths } }, `${HOST}/other/app`);
    expect(other?.credentials).toEqual({ username: "host", password: "1" });
  });

  test("of another registry is not validated", async () => {
    const auths = { "other.example": { auth: "%%%" }, "third.example": 5, [HOST]: auth("me", "hush-Xq7") };
    expect((await find({ docker: { auths } }))?.credentials).toEqual(ME);
    expect(await find({ docker: { auths } }, "fourth.example/app")).toBeUndefined();
  });

  test("of Docker Hub is found under the name that Docker gives it", async () => {
    const auths = { "https://index.docker.io/v1/": auth("me", "hush-Xq7") };
    expect((await find({ docker: { auths } }, "docker.io/app"))?.credentials).toEqual(ME);
    expect(await find({ docker: { auths } })).toBeUndefined();
  });
});

describe("a search for a login", () => {
  test("finds none where there are no files", async () => {
    expect(await find({})).toBeUndefined();
  });

  test.each([
    "",
    "\n",
    "{}",
    '{"auths":null}',
    '{"auths":{},"credHelpers":{},"credsStore":"","HttpHeaders":{}}',
  ])("finds none in the file %j", async (docker) => {
    expect(await find({ docker })).toBeUndefined();
  });

  test("takes Docker's file before Podman's, unless only Podman's knows the registry", async () => {
    const podman = { auths: { [HOST]: auth("podman", "2") } };
    const docker = { auths: { [HOST]: auth("docker", "1") } };
    expect((await find({ docker, podman }))?.from).toBe("~/.docker/config.json");
    expect((await find({ docker: { auths: { [HOST]: {} } }, podman }))?.from).toBe(
      "~/.config/containers/auth.json",
    );
  });

  test.each<[string, unknown, string]>([
    ["no JSON", '{"auths": hush-Xq7', "it is not valid JSON."],
    ["no object", "[]", "Invalid input"],
    ["auths that are a list", { auths: [1] }, '"auths": '],
    ["an entry that is text", { auths: { [HOST]: "hush-Xq7" } }, `"auths.${HOST}": `],
    ["auth that is a number", { auths: { [HOST]: { auth: 5 } } }, `"auths.${HOST}.auth": `],
    [
      "auth that is not base64",
      { auths: { [HOST]: { auth: "me:hush-Xq7" } } },
      `"auths.${HOST}.auth": expected`,
    ],
    [
      "auth without a colon",
      { auths: { [HOST]: { auth: base64("hush-Xq7") } } },
      `"auths.${HOST}.auth": expected`,
    ],
    [
      "auth without a password",
      { auths: { [HOST]: { auth: base64("hush-Xq7:") } } },
      `"auths.${HOST}.auth": expected`,
    ],
    ["a helper that is a path", { credsStore: "../evil" }, '"credsStore": should be the name'],
    ["a helper that is a number", { credHelpers: { [HOST]: 5 } }, `"credHelpers.${HOST}": `],
  ])("names the file and the field, and no secret, where there is %s", async (_, docker, words) => {
    const error = await rejection(find({ docker }));
    expect(error.code).toBe("LOGIN_INVALID");
    expect(error.message).toContain(`Cannot read the logins in ~/.docker/config.json: ${words}`);
    expect(error.hint).toContain("SKIP_AUTH=1");
    for (const secret of ["Xq7", base64("hush-Xq7")])
      expect(`${error.message}${error.hint}`).not.toContain(secret);
  });

  test("names a folder that is in the place of a file", async () => {
    await using home = await temporaryFolder();
    await mkdir(join(home.path, ".docker/config.json"), { recursive: true });
    const environment = { variables: {}, home: home.path, platform: "darwin", userId: undefined } as const;
    const target = parseReference(`${HOST}/app`);
    const error = await rejection(findLogin(target, environment, new AbortController().signal));
    expect(error.code).toBe("FILE_FAILED");
    expect(error.message).toContain("read the logins in ~/.docker/config.json");
  });
});

// A shell stands in for the helpers.
describe.skipIf(process.platform === "win32")("a credential helper", () => {
  const ANSWER = `read server; [ "$1" = get ] && printf '{"ServerURL":"%s","Username":"at %s","Secret":"hush-Xq7"}' "$server" "$server"`;
  const MISSING = "echo credentials not found in native keychain; exit 1";
  const found = (server: string) => ({ username: `at ${server}`, password: "hush-Xq7" });

  test("is asked for the registry's host", async () => {
    const login = await find({
      docker: { credsStore: "all", auths: { [HOST]: {} } },
      helpers: { all: ANSWER },
    });
    expect(login).toEqual({
      credentials: found(HOST),
      from: "docker-credential-all, named by ~/.docker/config.json",
      key: HOST,
      renew: expect.any(Function),
    });
  });

  test("is asked for Docker Hub's oldest name", async () => {
    const login = await find({ docker: { credsStore: "all" }, helpers: { all: ANSWER } }, "docker.io/me/app");
    expect(login?.credentials).toEqual(found("https://index.docker.io/v1/"));
  });

  test.each([HOST, `https://${HOST}`, `${HOST}/team`])(
    "of the registry's own (%s) is asked first",
    async (key) => {
      const docker = { credHelpers: { [key]: "own" }, credsStore: "all", auths: { [HOST]: auth("me", "x") } };
      const login = await find({ docker, helpers: { own: ANSWER, all: "exit 3" } });
      expect(login?.credentials).toEqual(found(HOST));
    },
  );

  test("of the registry's own with an empty name stands for none, and the saved entry is used", async () => {
    const docker = {
      credHelpers: { [HOST]: "" },
      credsStore: "all",
      auths: { [HOST]: auth("me", "hush-Xq7") },
    };
    expect((await find({ docker, helpers: { all: "exit 3" } }))?.credentials).toEqual(ME);
  });

  test("of another registry is not asked", async () => {
    const docker = { credHelpers: { "other.example": "own" }, auths: { [HOST]: auth("me", "hush-Xq7") } };
    expect((await find({ docker, helpers: { own: "exit 3" } }))?.credentials).toEqual(ME);
  });

  test.each(["", "; echo something else >&2"])(
    "may not know the registry, and the next file is read%s",
    async (more) => {
      const helpers = { all: MISSING.replace(";", `${more};`) };
      expect(await find({ docker: { credsStore: "all" }, helpers })).toBeUndefined();
      const podman = { auths: { [HOST]: auth("me", "hush-Xq7") } };
      expect((await find({ docker: { credsStore: "all" }, podman, helpers }))?.credentials).toEqual(ME);
    },
  );

  test("may return an identity token", async () => {
    const helpers = { all: `echo '{"Username":"<token>","Secret":"id"}'` };
    const login = await find({ podman: { credHelpers: { [HOST]: "all" } }, helpers });
    expect(login?.credentials).toEqual({ identityToken: "id" });
  });

  test("may return an empty login, which counts as no login", async () => {
    const helpers = { all: `echo '{"ServerURL":"","Username":"","Secret":""}'` };
    expect(await find({ docker: { credsStore: "all" }, helpers })).toBeUndefined();
  });

  test.each<[string, Readonly<Record<string, string>>, string]>([
    ["is missing", {}, "which is not on PATH"],
    ["fails", { all: "echo the keychain is locked; exit 2" }, "docker-credential-all exited with code 2."],
    ["fails elsewhere", { all: "echo no session >&2; exit 1" }, "docker-credential-all exited with code 1."],
    ["writes without end", { all: "while :; do echo y; done" }, "docker-credential-all exited with SIGTERM."],
    ["needs a missing shell", { all: "#!/no/shell\n" }, "docker-credential-all cannot be started (ENOENT)."],
    ["fails without a word", { all: "exit 1" }, "docker-credential-all exited with code 1."],
    ["answers no JSON", { all: "echo hush-Xq7" }, "returned invalid credentials"],
    ["answers half", { all: `echo '{"Secret":"hush-Xq7"}'` }, "returned invalid credentials"],
  ])("that %s is named in the error, with a way out", async (_, helpers, words) => {
    const error = await rejection(find({ docker: { credsStore: "all" }, helpers }));
    expect(error.code).toBe("CREDENTIAL_HELPER_FAILED");
    expect(error.message).toContain(words);
    expect(error.message).toContain(HOST);
    expect(error.hint).toContain("take it out of ~/.docker/config.json");
    expect(error.hint).toContain("SKIP_AUTH=1");
    expect(`${error.message}${error.hint}`).not.toContain("Xq7");
    expect(error.message).not.toMatch(/keychain|session/);
  });

  test.each([
    ["echo the keychain is locked; exit 2", "docker-credential-all said: the keychain is locked"],
    ["echo no session >&2; exit 1", "docker-credential-all said: no session"],
    [
      `echo '{"Username":"me","Secret":"hush\\"Xq7 w"}'; exit 1`,
      `docker-credential-all said: {"Username":"me","Secret":***}`,
    ],
    ["echo denied: eyJhbGciOiJIUzI1NiJ9.Xq7-abc_def; exit 1", "docker-credential-all said: denied: ***"],
    ["echo token=Xq7; exit 1", "docker-credential-all said: token=***"],
  ])("that fails keeps its words, without secrets, apart from the message: %s", async (script, said) => {
    const error = await rejection(find({ docker: { credsStore: "all" }, helpers: { all: script } }));
    expect(error.said).toBe(said);
  });

  test("that fails with a long text is quoted at 300 characters", async () => {
    const helpers = { all: `echo ${"no ".repeat(500)}; exit 1` };
    const error = await rejection(find({ docker: { credsStore: "all" }, helpers }));
    expect(error.said?.length).toBeWithin(300, 350);
  });
});
