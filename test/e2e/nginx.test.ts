/** A real registry behind nginx's default body limit, with TLS from an authority that no machine knows. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { type DockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { type Nginx, startNginx } from "../support/nginx.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { TELLS_EVENTS } from "../support/told-events.ts";

setDefaultTimeout(60_000);

const image = dockerArchive([seededLayer(5_300_000, "nginx"), seededLayer(3000, "small")], ["team/app:v1"]);

describe.skipIf(!requireParts("nginx", "docker-registry", "openssl", "skopeo"))(
  "docker-registry behind nginx",
  () => {
    let registry: DockerRegistry;
    let nginx: Nginx;
    let cwd: TemporaryFolder;
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    beforeAll(async () => {
      cwd = resources.use(await temporaryFolder());
      registry = resources.use(await startDockerRegistry());
      nginx = resources.use(await startNginx({ registry: registry.host, maxBody: "1m" }));
      await Bun.write(join(cwd.path, "output.tar"), image.archive);
    });

    const push = (tag: string) =>
      runCli([`https://${nginx.host}/team/app:${tag}`], {
        cwd: cwd.path,
        env: { ...TELLS_EVENTS, NODE_EXTRA_CA_CERTS: nginx.authority },
      });

    test("gets the image without a flag, though nobody announced the limit", async () => {
      const { code, stderr, stdout } = await push("v1");
      expect(code, stderr).toBe(0);
      expect(stderr).toContain("BODY_REFUSED");
      const reference = `${nginx.host}/team/app:v1`;
      const pulled = await readBack(reference, "--src-cert-dir", join(nginx.authority, ".."));
      expect(stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
      expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
      expect(pulled.diffIds).toEqual([...image.diffIds]);
    });

    test("is known to have a limit the next time", async () => {
      const other = dockerArchive([seededLayer(2_500_000, "another")], ["team/app:v2"]);
      await Bun.write(join(cwd.path, "output.tar"), other.archive);
      const { code, stderr } = await push("v2");
      expect(code, stderr).toBe(0);
      expect(stderr).not.toContain("BODY_REFUSED");
    });
  },
);
