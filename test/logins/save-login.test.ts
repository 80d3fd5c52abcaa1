import { describe, expect, test } from "bun:test";
import { chmod, chown, lchown, mkdir, readdir, readlink, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { findLogin } from "../../src/logins/find-login.ts";
import type { LoginEnvironment } from "../../src/logins/login-places.ts";
import { type RemovedLogin, removeLogins, saveLogin } from "../../src/logins/save-login.ts";
import { rejection } from "../support/rejection.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const HOST = "registry.example.com";
const ME = { username: "me", password: "a:b hush-Xq7 ✓" };
const AUTH = { auth: Buffer.from("me:a:b hush-Xq7 ✓").toString("base64") };
const NEVER = new AbortController().signal;
const IS_ROOT = process.getuid?.() === 0;

/** A home folder with these files. Those in `bin/` are shell scripts. */
async function openHome(files: Readonly<Record<string, string>> = {}) {
  const home = await temporaryFolder();
  const at = (path: string) => join(home.path, path);
  for (const [path, text] of Object.entries(files)) {
    await Bun.write(at(path), path.startsWith("bin/") ? `#!/bin/sh\n${text}\n` : text);
    if (path.startsWith("bin/")) await chmod(at(path), 0o755);
  }
  const environment: LoginEnvironment = {
    variables: { PATH: `${at("bin")}:${process.env["PATH"]}`, HOME: home.path },
    home: home.path,
    platform: "darwin",
    userId: undefined,
  };
  return {
    at,
    environment,
    read: (path: string) => Bun.file(at(path)).text(),
    [Symbol.asyncDispose]: () => home[Symbol.asyncDispose](),
  };
}

/** Removes logins, and returns what is told of them. */
async function removed(wanted: string | undefined, environment: LoginEnvironment) {
  const logins: RemovedLogin[] = [];
  await removeLogins(wanted, environment, NEVER, (login) => logins.push(login));
  return logins;
}

const CONFIG = ".docker/config.json";

/** A credential helper that keeps each server's login in a file beside it. */
const HELPER = `
dir="$HOME/keychain"; mkdir -p "$dir"
echo "$*" >> "$dir/log"
case "$1" in
  store) read -r login; server=$(echo "$login" | sed 's/.*"ServerURL":"\\([^"]*\\)".*/\\1/'); echo "$login" > "$dir/$(echo "$server" | tr / _)" ;;
  get) read -r server || true; f="$dir/$(echo "$server" | tr / _)"; if [ -f "$f" ]; then cat "$f"; else echo "credentials not found in native keychain"; exit 1; fi ;;
  erase) read -r server || true; rm "$dir/$(echo "$server" | tr / _)" ;;
esac`;

describe("a login is saved in Docker's config.json", () => {
  test("which is made, and its folder, for this user alone", async () => {
    await using home = await openHome();
    const saved = await saveLogin(HOST, ME, home.environment, NEVER);
    expect(saved).toEqual({ where: "~/.docker/config.json", isEncrypted: false });
    expect(JSON.parse(await home.read(CONFIG))).toEqual({ auths: { [HOST]: AUTH } });
    expect((await stat(home.at(CONFIG))).mode & 0o777).toBe(0o600);
    expect((await stat(home.at(".docker"))).mode & 0o777).toBe(0o700);
    expect(await readdir(home.at(".docker"))).toEqual(["config.json"]);
    const found = await findLogin({ host: HOST, repository: "my/app" }, home.environment, NEVER);
    expect(found).toMatchObject({ credentials: ME, from: "~/.docker/config.json" });
  });

  test("which keeps everything else, unknown fields, long numbers and odd names included", async () => {
    const text = `{
  "HttpHeaders": {"X-Meta": "1"}, "n": [12345678901234567890, 1.0, 1e400], "__proto__": {"deep": null},
  "auths": {"other.example": {"auth": "b3RoZXI6eA==", "email": "a@b", "id": 12345678901234567890}, "${HOST}": {"auth": "b2xkOnB3"}},
  "proxies": {"default": {"httpProxy": "http://p"}}, "detachKeys": "ctrl-e,e"
}`;
    await using home = await openHome({ [CONFIG]: text });
    await chmod(home.at(CONFIG), 0o644);
    await saveLogin(HOST, ME, home.environment, NEVER);
    const now = await home.read(CONFIG);
    // What JSON.parse would round is compared as text.
    expect(now.match(/12345678901234567890/g)).toHaveLength(2);
    expect(now).toContain("1e400");
    const before = text.replace(/"auth": "b2xkOnB3"/, `"auth": "${AUTH.auth}"`);
    expect(JSON.parse(now)).toEqual(JSON.parse(before));
    expect(Object.hasOwn(JSON.parse(now), "__proto__")).toBe(true);
    expect((await stat(home.at(CONFIG))).mode & 0o777).toBe(0o600);
  });

  test("once, in place of the same registry's other spellings, but not of its repositories", async () => {
    const auths = { [`https://${HOST}/v2/`]: {}, [HOST.toUpperCase()]: {}, [`${HOST}/team`]: { auth: "x" } };
    await using home = await openHome({ [CONFIG]: JSON.stringify({ auths }) });
    await saveLogin(HOST, ME, home.environment, NEVER);
    expect(JSON.parse(await home.read(CONFIG)).auths).toEqual({
      [`${HOST}/team`]: { auth: "x" },
      [HOST]: AUTH,
    });
  });

  test.each(["", "\n", "{}", '{"auths":null}'])("that has no logins yet: %j", async (text) => {
    await using home = await openHome({ [CONFIG]: text });
    await saveLogin(HOST, ME, home.environment, NEVER);
    expect(JSON.parse(await home.read(CONFIG))).toEqual({ auths: { [HOST]: AUTH } });
  });

  test("where Docker looks for Docker Hub's, and in a named file where Podman does", async () => {
    await using home = await openHome();
    await saveLogin("docker.io", ME, home.environment, NEVER);
    expect(JSON.parse(await home.read(CONFIG)).auths).toEqual({ "https://index.docker.io/v1/": AUTH });
    const authFile = home.at("sub/auth.json");
    const saved = await saveLogin("docker.io", ME, { ...home.environment, authFile }, NEVER);
    expect(saved.where).toBe("~/sub/auth.json");
    expect(JSON.parse(await home.read("sub/auth.json")).auths).toEqual({ "docker.io": AUTH });
  });

  test.each(["[]", "{", '{"auths": "hush-Xq7"}'])("but not where that is broken: %s", async (text) => {
    await using home = await openHome({ [CONFIG]: text });
    const error = await rejection(saveLogin(HOST, ME, home.environment, NEVER));
    expect(error.code).toBe("LOGIN_INVALID");
    expect(await home.read(CONFIG)).toBe(text);
  });
});

describe.skipIf(process.platform === "win32")("a login file that is a link", () => {
  test.each([
    ["absolute", true],
    ["relative", false],
  ])("is followed where this user made it: %s", async (_, isAbsolute) => {
    await using home = await openHome({ "dotfiles/docker.json": '{"x":1}', [CONFIG]: "" });
    await Bun.file(home.at(CONFIG)).unlink();
    await symlink(isAbsolute ? home.at("dotfiles/docker.json") : "../dotfiles/docker.json", home.at(CONFIG));
    await saveLogin(HOST, ME, home.environment, NEVER);
    expect(await readlink(home.at(CONFIG))).toContain("dotfiles/docker.json");
    expect(JSON.parse(await home.read("dotfiles/docker.json"))).toEqual({ x: 1, auths: { [HOST]: AUTH } });
  });

  test("is followed to a file that is not there yet", async () => {
    await using home = await openHome({ "dotfiles/x": "" });
    await mkdir(home.at(".docker"));
    await symlink("../dotfiles/docker.json", home.at(CONFIG));
    await saveLogin(HOST, ME, home.environment, NEVER);
    expect(JSON.parse(await home.read("dotfiles/docker.json")).auths).toEqual({ [HOST]: AUTH });
  });

  test("is refused where everybody may write to the folder behind it", async () => {
    await using home = await openHome({ "open/docker.json": "{}" });
    await chmod(home.at("open"), 0o777);
    await symlink(home.at("open/docker.json"), home.at("auth.json"));
    const environment = { ...home.environment, authFile: home.at("auth.json") };
    const error = await rejection(saveLogin(HOST, ME, environment, NEVER));
    expect(error.code).toBe("FILE_FAILED");
    expect(error.message).toContain("another user");
    expect(await home.read("open/docker.json")).toBe("{}");
  });

  test("into a folder that is not there is an error, and so are links in a circle", async () => {
    await using home = await openHome({ x: "" });
    await symlink(home.at("missing/a.json"), home.at("auth.json"));
    await symlink(home.at("round.json"), home.at("round.json"));
    for (const name of ["auth.json", "round.json", "x/auth.json"]) {
      const environment = { ...home.environment, authFile: home.at(name) };
      expect((await rejection(saveLogin(HOST, ME, environment, NEVER))).code).toBe("FILE_FAILED");
    }
  });

  test.each(["pipe", "folder"])("or no regular file at all is refused, and stays: %s", async (kind) => {
    await using home = await openHome({ x: "" });
    const thing = home.at("thing");
    if (kind === "folder") await mkdir(thing);
    else await Bun.spawn(["mkfifo", thing]).exited;
    await symlink(thing, home.at("auth.json"));
    for (const authFile of [thing, home.at("auth.json")]) {
      const environment = { ...home.environment, authFile };
      for (const change of [
        () => saveLogin(HOST, ME, environment, NEVER),
        () => removed(HOST, environment),
      ]) {
        const error = await rejection(change());
        expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining("regular file")]);
      }
    }
    expect((await stat(thing)).isFile()).toBe(false);
  });

  test.skipIf(!IS_ROOT)("is refused where another user made it: it could lead anywhere", async () => {
    await using home = await openHome({ "own/auth.json": "{}" });
    await symlink(home.at("own/auth.json"), home.at("link.json"));
    await lchown(home.at("link.json"), 1234, 1234);
    const environment = { ...home.environment, authFile: home.at("link.json") };
    expect((await rejection(saveLogin(HOST, ME, environment, NEVER))).code).toBe("FILE_FAILED");
    expect(await home.read("own/auth.json")).toBe("{}");
  });
});

describe.skipIf(!IS_ROOT)("a login that root saves leaves", () => {
  test("a new file to the owner of its folder", async () => {
    await using home = await openHome();
    await mkdir(home.at(".docker"));
    await chown(home.at(".docker"), 1234, 1235);
    await saveLogin(HOST, ME, home.environment, NEVER);
    expect(await stat(home.at(CONFIG))).toMatchObject({ uid: 1234, gid: 1235 });
  });

  test("new folders, too, to the owner of the one that they are in", async () => {
    await using home = await openHome();
    await chown(home.at("."), 1234, 1235);
    const environment = { ...home.environment, authFile: home.at("new/own/auth.json") };
    await saveLogin(HOST, ME, environment, NEVER);
    for (const path of ["new", "new/own", "new/own/auth.json"])
      expect(await stat(home.at(path))).toMatchObject({ uid: 1234, gid: 1235 });
  });

  test("a file that anybody may have put there to the owner of its folder", async () => {
    await using home = await openHome({ "open/auth.json": "{}" });
    await chmod(home.at("open"), 0o1777);
    await chown(home.at("open/auth.json"), 1234, 1234);
    await saveLogin(HOST, ME, { ...home.environment, authFile: home.at("open/auth.json") }, NEVER);
    expect(await stat(home.at("open/auth.json"))).toMatchObject({ uid: 0, mode: 0o100600 });
  });

  test("a file to its owner", async () => {
    await using home = await openHome({ [CONFIG]: "{}" });
    await chown(home.at(CONFIG), 1234, 0);
    await saveLogin(HOST, ME, home.environment, NEVER);
    expect(await stat(home.at(CONFIG))).toMatchObject({ uid: 1234, gid: 0 });
  });
});

// A shell stands in for the helpers.
describe.skipIf(process.platform === "win32")("a credential helper that the file names", () => {
  test.each([{ credsStore: "x" }, { credHelpers: { [HOST]: "x" }, credsStore: "missing" }])(
    "keeps the login, and the file only says that there is one: %j",
    async (names) => {
      await using home = await openHome({
        [CONFIG]: JSON.stringify({ ...names, auths: { [HOST]: { auth: "b2xkOnB3" } } }),
        "bin/docker-credential-x": HELPER,
      });
      const saved = await saveLogin(HOST, ME, home.environment, NEVER);
      expect(saved).toEqual({
        where: "docker-credential-x, named by ~/.docker/config.json",
        isEncrypted: true,
      });
      expect(JSON.parse(await home.read(CONFIG))).toEqual({ ...names, auths: { [HOST]: {} } });
      expect(JSON.parse(await home.read(`keychain/${HOST}`))).toEqual({
        ServerURL: HOST,
        Username: ME.username,
        Secret: ME.password,
      });
      const found = await findLogin({ host: HOST, repository: "my/app" }, home.environment, NEVER);
      expect(found?.credentials).toEqual(ME);
      expect(await removed(HOST, home.environment)).toEqual([{ key: HOST, where: saved.where }]);
      expect(JSON.parse(await home.read(CONFIG))).toEqual({ ...names, auths: {} });
      expect(await removed(HOST, home.environment)).toEqual([]);
      // Nothing else is in its arguments.
      expect(await home.read("keychain/log")).toBe("store\nget\nget\nerase\nget\n");
    },
  );

  test("keeps nothing of a registry whose own helper has an empty name: the file does", async () => {
    const names = { credHelpers: { [HOST]: "" }, credsStore: "missing" };
    await using home = await openHome({ [CONFIG]: JSON.stringify(names) });
    const where = "~/.docker/config.json";
    expect(await saveLogin(HOST, ME, home.environment, NEVER)).toEqual({ where, isEncrypted: false });
    expect(JSON.parse(await home.read(CONFIG))).toEqual({ ...names, auths: { [HOST]: AUTH } });
    expect(await removed(HOST, home.environment)).toEqual([{ key: HOST, where }]);
  });

  test("gets none of our secrets in its environment", async () => {
    await using home = await openHome({
      [CONFIG]: JSON.stringify({ credsStore: "x" }),
      "bin/docker-credential-x": `echo '{"Username":"me","Secret":"'"$KEPT/$REGISTRY_JWT_TOKEN/$CHUNKPUSH_HEADERS"'"}'`,
    });
    const secrets = { KEPT: "kept", REGISTRY_JWT_TOKEN: "Xq7", CHUNKPUSH_HEADERS: "Xq7" };
    const variables = { ...home.environment.variables, ...secrets };
    const found = await findLogin({ host: HOST, repository: "" }, { ...home.environment, variables }, NEVER);
    expect(found?.credentials).toEqual({ username: "me", password: "kept//" });
  });

  test("is not waited for after an interrupt, even if its child keeps its output open", async () => {
    await using home = await openHome({
      [CONFIG]: JSON.stringify({ credsStore: "x" }),
      "bin/docker-credential-x": 'sleep 600 & echo $! >"$HOME/pipe"; wait',
    });
    const pipe = home.at("pipe");
    await Bun.spawn(["mkfifo", pipe]).exited;
    const abort = new AbortController();
    const reason = new Error("enough");
    const finding = findLogin({ host: HOST, repository: "" }, home.environment, abort.signal).catch(
      (error: unknown) => error,
    );
    const child = Number(await Bun.spawn(["cat", pipe], { stdout: "pipe" }).stdout.text());
    try {
      abort.abort(reason);
      expect(await finding).toBe(reason);
    } finally {
      process.kill(child);
    }
  });

  const DENIES = `sed 's/.*"Secret":"\\([^"]*\\)".*/denied \\1/'; exit 1`;

  test("that fails leaves the file as it is, and repeats no password", async () => {
    const text = JSON.stringify({ credsStore: "x" });
    await using home = await openHome({ [CONFIG]: text, "bin/docker-credential-x": DENIES });
    const error = await rejection(saveLogin(HOST, ME, home.environment, NEVER));
    expect(error.code).toBe("CREDENTIAL_HELPER_FAILED");
    expect(`${error.message}${error.hint}${error.said}`).not.toContain("Xq7");
    expect(await home.read(CONFIG)).toBe(text);
  });
});

describe("a logout", () => {
  const auths = {
    [`https://${HOST}/v1/`]: AUTH,
    [HOST]: {},
    [`${HOST}/team`]: AUTH,
    "other.example": AUTH,
  };

  test("removes every spelling of the registry, and nothing else", async () => {
    await using home = await openHome({ [CONFIG]: JSON.stringify({ auths, x: 1 }) });
    const where = "~/.docker/config.json";
    expect(await removed(HOST, home.environment)).toEqual([{ key: HOST, where }]);
    expect(JSON.parse(await home.read(CONFIG))).toEqual({
      auths: { [`${HOST}/team`]: AUTH, "other.example": AUTH },
      x: 1,
    });
    expect(await removed(`${HOST}/team`, home.environment)).toEqual([{ key: `${HOST}/team`, where }]);
    expect(Object.keys(JSON.parse(await home.read(CONFIG)).auths)).toEqual(["other.example"]);
  });

  test("of all removes all", async () => {
    await using home = await openHome({ [CONFIG]: JSON.stringify({ auths }) });
    const logins = await removed(undefined, home.environment);
    expect(logins.map(({ key }) => key)).toEqual([HOST, `${HOST}/team`, "other.example"]);
    expect(JSON.parse(await home.read(CONFIG))).toEqual({ auths: {} });
  });

  test("writes nothing where there is no login", async () => {
    await using home = await openHome();
    expect(await removed(HOST, home.environment)).toEqual([]);
    expect(await readdir(home.at("."))).toEqual([]);
  });
});
