/** Who may push to a real registry, and over which wire. */

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { writeCertificates } from "../support/certificate-files.ts";
import { type DockerRegistryOptions, startDockerRegistry } from "../support/docker-registry.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { openForAll } from "../support/open-for-all.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const image = dockerArchive([seededLayer(2_500_000, "registry access")], ["team/app:v1"]);

/** Starts a registry, and writes the image to a folder to push from. */
async function openAccess(resources: AsyncDisposableStack, options: DockerRegistryOptions) {
  const { path: cwd } = resources.use(await temporaryFolder());
  await Bun.write(join(cwd, "output.tar"), image.archive);
  const registry = resources.use(await startDockerRegistry(options));
  const push = (target: string, env: Readonly<Record<string, string>> = {}, input = "") =>
    runCli(["--chunk-size", "1MB", target], { cwd, env, input });
  return { registry, push };
}

describe.skipIf(!requireParts("docker-registry", "htpasswd", "skopeo"))(
  "docker-registry with htpasswd",
  () => {
    // With what an encoding may get wrong.
    const credentials = { username: "jane", password: "correct: hörse $1 ✓" };
    const access = openForAll((resources) => openAccess(resources, { credentials }));

    test("takes a push with the password from standard input", async () => {
      const { registry, push } = access();
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
      const { registry, push } = access();
      const pushed = await push(`${registry.host}/team/app:env`, {
        USERNAME_REGISTRY: "jane",
        REGISTRY_JWT_TOKEN: credentials.password,
      });
      expect(pushed.code, pushed.stderr).toBe(0);
      expect(pushed.stderr).toContain("as jane");
    });

    test("refuses a wrong password before any work is done", async () => {
      const { registry, push } = access();
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
      const { registry, push } = access();
      const { code, stderr } = await push(`${registry.host}/team/other:v1`);
      expect(code).toBe(1);
      expect(stderr).toContain("answered 401");
      expect(stderr).toContain("[UNAUTHORIZED]");
    });
  },
);

describe.skipIf(!requireParts("docker-registry", "openssl", "skopeo"))("docker-registry with TLS", () => {
  const access = openForAll(async (resources) => {
    const tls = await writeCertificates(resources.use(await temporaryFolder()).path);
    return { authority: tls.authority, ...(await openAccess(resources, { tls })) };
  });

  test("takes a push where NODE_EXTRA_CA_CERTS names its authority", async () => {
    const { registry, push, authority } = access();
    const reference = `${registry.host}/team/app:v1`;
    const pushed = await push(`https://${reference}`, { NODE_EXTRA_CA_CERTS: authority });
    expect(pushed.code, pushed.stderr).toBe(0);
    const pulled = await readBack(reference, "--src-cert-dir", join(authority, ".."));
    expect(pushed.stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
    expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
    expect(pulled.diffIds).toEqual([...image.diffIds]);
  });

  test("gets no image where its authority is not trusted", async () => {
    const { registry, push } = access();
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

  test("fails a push over plain HTTP, which says that TLS is required", async () => {
    const { registry, push } = access();
    const { code, stderr } = await push(`http://${registry.host}/team/app:v3`);
    expect(code).toBe(1);
    expect(stderr).toContain("[TLS_REQUIRED]");
  });
});

describe.skipIf(!requireParts("docker-registry"))("docker-registry without TLS", () => {
  const access = openForAll((resources) => openAccess(resources, {}));

  test("fails a push over HTTPS, which names --insecure", async () => {
    const { registry, push } = access();
    const { code, stderr } = await push(`https://${registry.host}/team/app:v1`);
    expect(code).toBe(1);
    expect(stderr).toContain("[TLS_UNSUPPORTED]");
    expect(stderr).toContain("--insecure");
  });
});
