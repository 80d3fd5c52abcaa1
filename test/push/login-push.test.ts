/** Whole pushes by logins that other programs left, and with tokens that end in the middle. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { throttle } from "../../dev/faults/fault.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { startTokenServer } from "../../dev/token-server/token-server.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { runCli } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { basic, startTestRegistry } from "../support/test-registry.ts";

// Whole processes, several at a time: a busy machine may need long for what takes a moment.
setDefaultTimeout(60_000);

const ME = { username: "me", password: "hush-Xq7" };
const IMAGE = dockerArchive([seededBytes(600, 1)]);
const LARGE_IMAGE = dockerArchive([seededBytes(400_000, 2)]);

const encode = ({ username, password }: typeof ME) => basic(username, password).slice("Basic ".length);
const SECRETS = [ME.password, encode(ME)];

/** Pushes from a home with these files. */
async function push(
  registry: { readonly host: string },
  files: Readonly<Record<string, unknown>>,
  env: Readonly<Record<string, string>> = {},
  { archive, args = [] }: { archive: Uint8Array; args?: readonly string[] } = IMAGE,
) {
  await using home = await temporaryFolder();
  await Bun.write(join(home.path, "output.tar"), archive);
  for (const [path, content] of Object.entries(files)) {
    await Bun.write(join(home.path, path), typeof content === "string" ? content : JSON.stringify(content));
    if (path.startsWith("bin/")) await chmod(join(home.path, path), 0o755);
  }
  const path = `${join(home.path, "bin")}:${process.env["PATH"]}`;
  const target = `${registry.host}/team/app:v1`;
  const result = await runCli([...args, target], { cwd: home.path, env: { PATH: path, ...env } });
  let cache = "";
  for await (const file of new Bun.Glob(".cache/**").scan({ cwd: home.path, dot: true }))
    cache += await Bun.file(join(home.path, file)).text();
  for (const secret of SECRETS) expect(result.stdout + result.stderr + cache).not.toContain(secret);
  return { ...result, cache };
}

const loginOf = ({ host }: { readonly host: string }, credentials = ME) => ({
  auths: { [host]: { auth: encode(credentials) } },
});

describe.concurrent("a push without a user", () => {
  test("goes with docker login's credentials, and says so", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const { code, stderr } = await push(registry, { ".docker/config.json": loginOf(registry) });
    expect(stderr).toContain(`Registry: ${registry.url}, logged in as me (from ~/.docker/config.json)`);
    expect(code).toBe(0);
  });

  test("goes with podman login's credentials", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const files = { "auth.json": loginOf(registry) };
    const { code, stderr } = await push(registry, files, { REGISTRY_AUTH_FILE: "auth.json" });
    expect(stderr).toContain("as me (from auth.json)");
    expect(code).toBe(0);
  });

  test("goes with a credential helper's credentials", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const { code, stderr } = await push(
      registry,
      {
        "docker/config.json": { credsStore: "of-tests" },
        "bin/docker-credential-of-tests": `#!/bin/sh\necho '{"Username":"me","Secret":"${ME.password}"}'\n`,
      },
      { DOCKER_CONFIG: "docker" },
    );
    expect(stderr).toContain("as me (from docker-credential-of-tests, named by docker/config.json)");
    expect(code).toBe(0);
  });

  test.each([[[]], [["--debug"]]])(
    "shows the output of a failing credential helper only with --debug: %p",
    async (args) => {
      await using registry = await startTestRegistry({ credentials: ME });
      const { code, stderr } = await push(
        registry,
        {
          "docker/config.json": { credsStore: "of-tests" },
          "bin/docker-credential-of-tests": "#!/bin/sh\necho the keychain is locked\nexit 1\n",
        },
        { DOCKER_CONFIG: "docker" },
        { ...IMAGE, args },
      );
      expect(code).toBe(1);
      expect(stderr).toContain("docker-credential-of-tests exited with code 1.");
      expect(stderr.includes("the keychain is locked")).toBe(args.length > 0);
    },
  );

  // Through a proxy a name is enough: nobody has to know it.
  test("goes to Docker Hub with the login under any of its names", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    await using home = await temporaryFolder();
    await Bun.write(join(home.path, "output.tar"), IMAGE.archive);
    const config = { auths: { "https://index.docker.io/v1/": { auth: encode(ME) } } };
    await Bun.write(join(home.path, ".docker/config.json"), JSON.stringify(config));
    const env = { INSECURE_HTTP_PUSH: "true", HTTP_PROXY: registry.url };
    const { stdout, stderr } = await runCli(["docker.io/app:v1"], { cwd: home.path, env });
    expect(stderr).toContain(
      "Registry: http://registry-1.docker.io, logged in as me (from ~/.docker/config.json)",
    );
    expect(stdout).toStartWith("docker.io/library/app:v1@sha256:");
    expect(registry.requests.at(-1)?.path).toBe("/v2/library/app/manifests/v1");
  });

  test("sends an identity token only to the token server", async () => {
    await using tokens = startTokenServer({ identityToken: "identity-Xq7" });
    await using registry = await startTestRegistry({ tokens });
    const config = { auths: { [registry.host]: { identitytoken: "identity-Xq7" } } };
    const { code, stderr, stdout } = await push(registry, { ".docker/config.json": config });
    expect(stderr).toContain("as <token> (from ~/.docker/config.json)");
    expect(code).toBe(0);
    expect(tokens.requests).toMatchObject([{ method: "POST" }]);
    for (const secret of ["identity-Xq7", ...tokens.tokens]) expect(stdout + stderr).not.toContain(secret);
  });

  test("is anonymous if there is no login to this registry", async () => {
    await using registry = await startTestRegistry();
    const config = { auths: { "other.example": { auth: encode(ME) } } };
    const { code, stderr } = await push(registry, { ".docker/config.json": config });
    expect(stderr).toContain("anonymous");
    expect(code).toBe(0);
    expect(registry.requests.map(({ hadAuthorization }) => hadAuthorization)).not.toContain(true);
  });

  test("stops at a file that is broken", async () => {
    await using registry = await startTestRegistry();
    const { code, stderr } = await push(registry, { ".docker/config.json": `{"auths": ${ME.password}` });
    expect(stderr).toContain("Error: Cannot read the logins in ~/.docker/config.json: it is not valid JSON.");
    expect(stderr).not.toContain("bug in chunkpush");
    expect(code).toBe(1);
    expect(registry.requests).toEqual([]);
  });
});

describe.concurrent("saved logins are ignored", () => {
  const broken = { ".docker/config.json": "{" };

  test("where a user is named", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const env = { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: ME.password };
    const { code, stderr } = await push(registry, broken, env);
    expect(stderr).toContain("as me");
    expect(code).toBe(0);
  });

  test("with SKIP_AUTH", async () => {
    await using registry = await startTestRegistry();
    expect((await push(registry, broken, { SKIP_AUTH: "1" })).code).toBe(0);
  });
});

const LINK_BYTES_PER_SECOND = 40_000;

// Beside the others, for it takes ten seconds by design.
test.concurrent("tokens of two seconds last for a push of five times as long", async () => {
  await using tokens = startTokenServer({ credentials: ME, lifetimeSeconds: 2 });
  await using registry = await startTestRegistry({ tokens });
  const link = throttle(LINK_BYTES_PER_SECOND);
  await using proxy = await startFaultProxy({
    upstreamHost: () => registry.host,
    plan: ({ kind }) => (kind.endsWith("-patch") ? link : undefined),
  });
  const files = { ".docker/config.json": loginOf(proxy) };
  const { code, stdout, stderr, cache } = await push(proxy, files, {}, LARGE_IMAGE);
  expect(stderr).not.toContain("retry");
  expect(code).toBe(0);

  const slowBytes = registry.recorded("patch").reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  expect(slowBytes / LINK_BYTES_PER_SECOND).toBeGreaterThanOrEqual(10);
  expect(tokens.tokens.length).toBeGreaterThanOrEqual(4);
  // The greeting asks whether tokens are wanted; from then on each comes in time.
  expect(registry.requests.filter(({ status }) => status >= 400 && status !== 404)).toMatchObject([
    { kind: "ping", status: 401 },
  ]);
  for (const token of tokens.tokens) expect(stdout + stderr + cache).not.toContain(token);

  const manifest = JSON.parse((await registry.pullManifest("team/app", "v1")) ?? "{}");
  expect(await registry.pullBlob("team/app", manifest.config.digest)).toEqual(LARGE_IMAGE.config);
  expect(manifest.layers).toHaveLength(1);
  const layer = await registry.pullBlob("team/app", manifest.layers[0].digest);
  expect(LARGE_IMAGE.diffIds).toEqual([digestOf(new Uint8Array(gunzipSync(layer)))]);
});
