/** Who may push to a real registry, and over which wire. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runWell } from "../support/command.ts";
import { type DockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const image = dockerArchive([seededLayer(2_500_000, "registry access")], ["team/app:v1"]);

describe.skipIf(!requireParts("docker-registry", "htpasswd", "skopeo"))(
  "docker-registry with htpasswd",
  () => {
    // With what an encoding may get wrong.
    const credentials = { username: "jane", password: "correct: hörse $1 ✓" };
    let registry: DockerRegistry;
    let cwd: TemporaryFolder;
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    beforeAll(async () => {
      cwd = resources.use(await temporaryFolder());
      registry = resources.use(await startDockerRegistry({ credentials }));
      await Bun.write(join(cwd.path, "output.tar"), image.archive);
    });

    const push = (target: string, env: Readonly<Record<string, string>>, input?: string) =>
      runCli(["--chunk-size", "1MB", target], {
        cwd: cwd.path,
        env,
        ...(input !== undefined && { input }),
      });

    test("takes a push with the password from standard input", async () => {
      const target = `${registry.host}/team/app:stdin`;
      const pushed = await push(target, { USERNAME_REGISTRY: "jane" }, `${credentials.password}\n`);
      expect(pushed.code, pushed.stderr).toBe(0);
      expect(pushed.stdout + pushed.stderr).not.toContain(credentials.password);
      const login = `${credentials.username}:${credentials.password}`;
      const pulled = await readBack(target, "--src-tls-verify=false", "--src-creds", login);
      expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
      expect(pulled.diffIds).toEqual([...image.diffIds]);
    });

    test("takes a push with the password from the environment", async () => {
      const pushed = await push(`${registry.host}/team/app:env`, {
        USERNAME_REGISTRY: "jane",
        REGISTRY_JWT_TOKEN: credentials.password,
      });
      expect(pushed.code, pushed.stderr).toBe(0);
      expect(pushed.stderr).toContain("as jane");
    });

    test("refuses a wrong password before any work is done", async () => {
      const before = (await registry.requests()).length;
      const { code, stderr, stdout } = await push(
        `${registry.host}/team/other:v1`,
        { USERNAME_REGISTRY: "jane" },
        "wrong-password",
      );
      expect(code).toBe(1);
      expect(stdout).toBe("");
      expect(stderr).toContain("answered 401");
      expect(stderr).toContain("[UNAUTHORIZED]");
      expect(stderr).not.toContain("wrong-password");
      // The source is looked at meanwhile, and no layer of it is read.
      expect(stderr).not.toContain("compressed");
      const since = (await registry.requests()).slice(before);
      expect(since.filter(({ method }) => method !== "GET")).toEqual([]);
    });

    test("refuses a push without a user", async () => {
      const { code, stderr } = await push(`${registry.host}/team/other:v1`, {});
      expect(code).toBe(1);
      expect(stderr).toContain("requires a login");
      expect(stderr).toContain("answered 401");
      expect(stderr).toContain("USERNAME_REGISTRY=");
    });
  },
);

describe.skipIf(!requireParts("docker-registry", "openssl", "skopeo"))("docker-registry with TLS", () => {
  let registry: DockerRegistry;
  let plain: DockerRegistry;
  let cwd: TemporaryFolder;
  let authority: string;
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  beforeAll(async () => {
    cwd = resources.use(await temporaryFolder());
    const tls = await makeCertificates(join(cwd.path, "certificates"));
    authority = tls.authority;
    registry = resources.use(await startDockerRegistry({ tls }));
    plain = resources.use(await startDockerRegistry());
    await Bun.write(join(cwd.path, "output.tar"), image.archive);
  });

  const push = (target: string, env: Readonly<Record<string, string>> = {}) =>
    runCli(["--chunk-size", "1MB", target], { cwd: cwd.path, env });

  test("takes a push where NODE_EXTRA_CA_CERTS names its authority", async () => {
    const reference = `${registry.host}/team/app:v1`;
    const pushed = await push(`https://${reference}`, { NODE_EXTRA_CA_CERTS: authority });
    expect(pushed.code, pushed.stderr).toBe(0);
    // skopeo takes every .crt of a folder for an authority.
    const pulled = await readBack(reference, "--src-cert-dir", join(authority, ".."));
    expect(pushed.stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
    expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
    expect(pulled.diffIds).toEqual([...image.diffIds]);
  });

  test("is not trusted without its authority", async () => {
    const { code, stderr, stdout } = await push(`https://${registry.host}/team/app:v2`);
    expect(code).toBe(1);
    expect(stdout).toBe("");
    expect(stderr).toContain(`Cannot trust https://${registry.host}`);
    expect(stderr).toContain("unknown authority");
    expect(stderr).toContain("NODE_EXTRA_CA_CERTS=");
    expect(await registry.requests()).not.toContainEqual(
      expect.objectContaining({ path: "/v2/team/app/manifests/v2" }),
    );
  });

  test("is recognised where it is spoken to in plain HTTP", async () => {
    const { code, stderr } = await push(`http://${registry.host}/team/app:v3`);
    expect(code).toBe(1);
    expect(stderr).toContain("[TLS_REQUIRED]");
  });

  test("is missed where the target says https and the registry has no TLS", async () => {
    const { code, stderr } = await push(`https://${plain.host}/team/app:v1`);
    expect(code).toBe(1);
    expect(stderr).toContain("[TLS_UNSUPPORTED]");
    expect(stderr).toContain("--insecure");
  });
});

/** Makes an authority that no machine knows, and has it sign a certificate for 127.0.0.1. @returns file names */
async function makeCertificates(folder: string) {
  const at = (name: string) => join(folder, name);
  const [authority, certificate, key] = [at("authority.crt"), at("server.pem"), at("server-key.pem")];
  const openssl = (...args: string[]) => runWell(["openssl", ...args]);
  const newKey = ["-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"];
  await Bun.write(at("extensions"), "subjectAltName=IP:127.0.0.1\nbasicConstraints=CA:FALSE\n");
  const authorityKey = at("authority-key.pem");
  await openssl(
    ...["req", "-x509", ...newKey, "-days", "2", "-subj", "/CN=Authority of these tests"],
    ...["-keyout", authorityKey, "-out", authority],
  );
  await openssl("req", ...newKey, "-subj", "/CN=127.0.0.1", "-keyout", key, "-out", at("request.pem"));
  await openssl(
    ...["x509", "-req", "-in", at("request.pem"), "-days", "2", "-extfile", at("extensions")],
    ...["-CA", authority, "-CAkey", authorityKey, "-CAcreateserial", "-out", certificate],
  );
  return { authority, certificate, key };
}
