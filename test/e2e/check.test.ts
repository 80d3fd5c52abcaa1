/** The command check at docker-registry with a password file, behind nginx's default body limit and TLS of its own. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { startNginx } from "../support/nginx.ts";
import { openForAll } from "../support/open-for-all.ts";
import { requireParts } from "../support/parts.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

type Step = { step: string; state: string; text: string; [fact: string]: unknown };

describe.skipIf(!requireParts("nginx", "docker-registry", "openssl", "htpasswd"))("The command check", () => {
  const credentials = { username: "me", password: "hush-Xq7" };
  const scene = openForAll(async (resources) => {
    const cwd = resources.use(await temporaryFolder());
    const registry = resources.use(await startDockerRegistry({ credentials }));
    const nginx = resources.use(await startNginx({ registry: registry.host, maxBody: "1m" }));
    return { cwd, registry, nginx };
  });

  async function check(args: string[], env: Record<string, string>) {
    const { code, stdout } = await runCli(["check", "--json", ...args], {
      cwd: scene().cwd.path,
      env: { USERNAME_REGISTRY: "me", REGISTRY_JWT_TOKEN: "hush-Xq7", ...env },
    });
    const { steps }: { steps: Step[] } = JSON.parse(stdout);
    const stepOf = (name: string) => steps.find(({ step }) => step === name);
    return { code, stepOf, failed: steps.filter(({ state }) => state === "failed").map(({ step }) => step) };
  }

  test("finds docker-registry ready, and that it forgets interrupted uploads", async () => {
    const { code, failed, stepOf } = await check([`http://${scene().registry.host}/v2/team/app`], {});
    expect(failed).toEqual([]);
    expect(code).toBe(0);
    expect(stepOf("push")).toMatchObject({ state: "ok" });
    expect(stepOf("resume")).toMatchObject({ state: "limited", resumes: false });
  });

  test("finds nginx's body limit, and names nginx", async () => {
    const { nginx } = scene();
    const args = [`https://${nginx.host}/team/app`, "--upload", "8MB", "--ca-file", nginx.authority];
    const { code, failed, stepOf } = await check(args, {});
    expect(failed).toEqual([]);
    expect(code).toBe(0);
    expect(stepOf("tls")).toMatchObject({ state: "ok", issuer: "Authority of the tests" });
    const body = stepOf("body");
    expect(body).toMatchObject({ status: 413, server: expect.stringContaining("nginx") });
    expect(body?.["passedBytes"]).toBeLessThanOrEqual(1_048_576);
    expect(body?.["passedBytes"]).toBeGreaterThan(1_010_000);
    expect(body?.["refusedBytes"]).toBeGreaterThan(1_048_576);
  });

  test("fails at TLS without the authority, and at the login with a wrong password", async () => {
    const { nginx, registry } = scene();
    const untrusted = await check([`https://${nginx.host}/team/app`], {});
    expect(untrusted).toMatchObject({ code: 1, failed: ["tls"] });
    const wrong = await check([`${registry.host}/team/app`], { REGISTRY_JWT_TOKEN: "wrong" });
    expect(wrong).toMatchObject({ code: 1, failed: ["login"] });
  });
});
