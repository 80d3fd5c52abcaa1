/** Logging in with other programs, and pushing with no further word. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { startTokenServer, type TokenServer } from "../../dev/token-server/token-server.ts";
import { createSelfSigned } from "../support/certificates.ts";
import { run, runWell } from "../support/command.ts";
import { type DockerEngine, startDockerEngine } from "../support/docker-engine.ts";
import { type DockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const image = dockerArchive([seededLayer(2_500_000, "logins")], ["team/app:v1"]);
const ME = { username: "jane", password: "correct: hörse $1 ✓" };
const LOGIN = ["login", "--username", ME.username, "--password-stdin"];

/** A folder to push from, which is the home, too. */
async function openHome(): Promise<TemporaryFolder> {
  const folder = await temporaryFolder();
  await Bun.write(join(folder.path, "output.tar"), image.archive);
  return folder;
}

async function expectPushed(
  target: string,
  cwd: string,
  env: Readonly<Record<string, string>>,
  words: string,
) {
  const { code, stdout, stderr } = await runCli(["--chunk-size", "1MB", target], { cwd, env });
  expect(stderr).toContain(words);
  expect(stdout).toStartWith(`${target}@sha256:`);
  expect(stdout + stderr).not.toContain(ME.password);
  expect(code).toBe(0);
}

describe.skipIf(!requireParts("docker-registry", "htpasswd", "skopeo"))(
  "docker-registry with htpasswd",
  () => {
    let registry: DockerRegistry;
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    beforeAll(async () => {
      registry = resources.use(await startDockerRegistry({ credentials: ME }));
    });

    async function expectReadBack(target: string) {
      const login = `${ME.username}:${ME.password}`;
      const pulled = await readBack(target, "--src-tls-verify=false", "--src-creds", login);
      expect(pulled.diffIds).toEqual([...image.diffIds]);
    }

    describe("after chunkpush login", () => {
      const login = async (home: TemporaryFolder, ...flags: string[]) => {
        const args = [...LOGIN, ...flags, registry.host];
        const { code, stdout, stderr } = await runCli(args, { cwd: home.path, input: ME.password });
        expect(stderr).not.toContain(ME.password);
        expect([code, stdout]).toEqual([0, expect.stringContaining(`Logged in to ${registry.host}`)]);
      };
      const logout = async (home: TemporaryFolder, ...flags: string[]) => {
        const { stdout } = await runCli(["logout", ...flags, registry.host], { cwd: home.path });
        return stdout.includes("Logged out");
      };

      test("has skopeo logged in until chunkpush logout", async () => {
        await using home = await openHome();
        await login(home);
        const target = `${registry.host}/team/app:skopeo`;
        await expectPushed(target, home.path, {}, "as jane (from ~/.docker/config.json)");
        const inspect = ["skopeo", "inspect", "--tls-verify=false", `docker://${target}`];
        const env = { HOME: home.path };
        expect(await runWell(inspect, { env })).toContain("sha256:");
        expect(await logout(home)).toBe(true);
        expect((await run(inspect, { env })).code).not.toBe(0);
      });

      test("has skopeo read the file of --authfile", async () => {
        await using home = await openHome();
        const file = join(home.path, "auth.json");
        await login(home, "--authfile", file);
        await runWell(["skopeo", "login", "--get-login", "--authfile", file, registry.host]);
        await runWell(["skopeo", "logout", "--authfile", file, registry.host]);
        expect(await logout(home, "--authfile", file)).toBe(false);
      });

      test.skipIf(!requireParts("dockerd"))(
        "has docker pull and push, and either logs the other out",
        async () => {
          await using engine = await startDockerEngine();
          await using home = await openHome();
          const env = { ...engine.env, DOCKER_CONFIG: join(home.path, ".docker") };
          await login(home);
          const target = `${registry.host}/team/app:both`;
          await expectPushed(target, home.path, {}, "as jane (from ~/.docker/config.json)");
          await runWell(["docker", "pull", target], { env });
          await runWell(["docker", "push", target], { env });
          await runWell(["docker", "logout", registry.host], { env });
          expect(await logout(home)).toBe(false);

          await runWell(["docker", ...LOGIN, registry.host], { env, input: ME.password });
          expect(await logout(home)).toBe(true);
          expect((await run(["docker", "push", target], { env })).code).not.toBe(0);
        },
      );

      test.skipIf(!requireParts("podman"))("has podman logged in until chunkpush logout", async () => {
        await using home = await openHome();
        await login(home);
        const env = { HOME: home.path, XDG_RUNTIME_DIR: join(home.path, "run") };
        const getLogin = ["podman", "login", "--get-login", registry.host];
        expect((await runWell(getLogin, { env })).trim()).toBe(ME.username);
        await logout(home);
        expect((await run(getLogin, { env })).code).not.toBe(0);
      });
    });

    describe.skipIf(!requireParts("dockerd"))("after docker login", () => {
      let engine: DockerEngine;
      beforeAll(async () => {
        engine = resources.use(await startDockerEngine());
      });

      test("takes a push from the usual place, and from DOCKER_CONFIG", async () => {
        await using home = await openHome();
        const config = join(home.path, ".docker");
        const env = { ...engine.env, DOCKER_CONFIG: config };
        await runWell(["docker", ...LOGIN, registry.host], { env, input: ME.password });
        const target = `${registry.host}/team/app:docker`;
        await expectPushed(target, home.path, {}, "as jane (from ~/.docker/config.json)");
        await expectReadBack(target);

        await using other = await openHome();
        const words = `as jane (from ${config}/config.json)`;
        await expectPushed(`${registry.host}/team/app:named`, other.path, { DOCKER_CONFIG: config }, words);
      });

      test("refuses a push after docker logout", async () => {
        await using home = await openHome();
        const env = { ...engine.env, DOCKER_CONFIG: join(home.path, ".docker") };
        await runWell(["docker", ...LOGIN, registry.host], { env, input: ME.password });
        await runWell(["docker", "logout", registry.host], { env });
        const { code, stderr } = await runCli([`${registry.host}/team/other`], { cwd: home.path });
        expect(stderr).toContain("requires a login");
        expect(stderr).toContain("[UNAUTHORIZED]");
        expect(code).toBe(1);
      });

      describe.skipIf(!requireParts("openssl"))("to a token server that gives identity tokens", () => {
        test("takes a push without the password", async () => {
          await using home = await openHome();
          const signing = await createSelfSigned(home.path);
          const identityToken = "identity-Xq7";
          await using tokens = startTokenServer({ credentials: ME, identityToken, signing });
          const certificate = join(home.path, "self.pem");
          await using own = await startDockerRegistry({ tokens: { ...tokens, certificate } });
          const config = join(home.path, ".docker");
          const env = { ...engine.env, DOCKER_CONFIG: config };
          await runWell(["docker", ...LOGIN, own.host], { env, input: ME.password });
          expect(await Bun.file(join(config, "config.json")).text()).toContain(identityToken);
          const before = tokens.requests.length;
          await expectPushed(
            `${own.host}/team/app:v1`,
            home.path,
            {},
            "as <token> (from ~/.docker/config.json)",
          );
          expect(tokens.requests.slice(before)).toMatchObject([{ method: "POST", basic: undefined }]);
        });
      });
    });

    describe.skipIf(!requireParts("podman"))("after podman login", () => {
      const login = ["podman", ...LOGIN, "--tls-verify=false"];

      test("takes a push from the file that was named", async () => {
        await using home = await openHome();
        const file = join(home.path, "auth.json");
        const env = { HOME: home.path };
        await runWell([...login, "--authfile", file, registry.host], { env, input: ME.password });
        const target = `${registry.host}/team/app:podman`;
        await expectPushed(target, home.path, { REGISTRY_AUTH_FILE: file }, "as jane (from ~/auth.json)");
        await expectReadBack(target);
      });

      test("takes a push from the session's file", async () => {
        await using home = await openHome();
        const env = { HOME: home.path, XDG_RUNTIME_DIR: join(home.path, "run") };
        await mkdir(env.XDG_RUNTIME_DIR, { mode: 0o700 });
        await runWell([...login, registry.host], { env, input: ME.password });
        const target = `${registry.host}/team/app:session`;
        await expectPushed(target, home.path, env, "as jane (from ~/run/containers/auth.json)");
      });

      test("to one repository takes a push to that, and no other", async () => {
        await using home = await openHome();
        const file = join(home.path, "auth.json");
        const name = `${registry.host}/team/app`;
        const env = { HOME: home.path };
        await runWell([...login, "--authfile", file, name], { env, input: ME.password });
        await expectPushed(
          `${name}:own`,
          home.path,
          { REGISTRY_AUTH_FILE: file },
          "as jane (from ~/auth.json)",
        );
        const other = await runCli([`${registry.host}/team/apple:v1`], {
          cwd: home.path,
          env: { REGISTRY_AUTH_FILE: file },
        });
        expect(other.stderr).toContain("requires a login");
        expect(other.code).toBe(1);
      });
    });
  },
);

describe.skipIf(!requireParts("docker-registry", "openssl", "skopeo"))("docker-registry with tokens", () => {
  let registry: DockerRegistry;
  let tokens: TokenServer;
  let home: TemporaryFolder;
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  beforeAll(async () => {
    home = resources.use(await openHome());
    const signing = await createSelfSigned(home.path);
    tokens = resources.use(startTokenServer({ credentials: ME, signing }));
    const certificate = join(home.path, "self.pem");
    registry = resources.use(await startDockerRegistry({ tokens: { ...tokens, certificate } }));
  });
  const env = { USERNAME_REGISTRY: ME.username, REGISTRY_JWT_TOKEN: ME.password };

  test("takes a push with one token", async () => {
    const target = `${registry.host}/team/app:v1`;
    await expectPushed(target, home.path, env, "as jane");
    expect(tokens.requests).toHaveLength(1);
    const login = `${ME.username}:${ME.password}`;
    const pulled = await readBack(target, "--src-tls-verify=false", "--src-creds", login);
    expect(pulled.diffIds).toEqual([...image.diffIds]);
  });

  test("refuses a wrong password by its token server", async () => {
    const wrong = { ...env, REGISTRY_JWT_TOKEN: "wrong-Zz9" };
    const { code, stderr } = await runCli([`${registry.host}/team/app:v2`], {
      cwd: home.path,
      env: wrong,
    });
    expect(stderr).toContain("The token server of http://");
    expect(stderr).toContain("does not accept");
    expect(stderr).not.toContain("Zz9");
    expect(code).toBe(1);
  });
});
