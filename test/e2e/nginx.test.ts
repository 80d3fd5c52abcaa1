/** A real registry behind nginx's default body limit, with TLS from an authority that no machine knows. */

import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { startDockerRegistry } from "../support/docker-registry.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { startNginx } from "../support/nginx.ts";
import { openForAll } from "../support/open-for-all.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { TELLS_EVENTS } from "../support/told-events.ts";

setDefaultTimeout(60_000);

const image = dockerArchive([seededLayer(5_300_000, "nginx"), seededLayer(3000, "small")], ["team/app:v1"]);

describe.skipIf(!requireParts("nginx", "docker-registry", "openssl", "skopeo"))(
  "docker-registry behind nginx",
  () => {
    const scene = openForAll(async (resources) => {
      const cwd = resources.use(await temporaryFolder());
      const registry = resources.use(await startDockerRegistry());
      return { cwd, nginx: resources.use(await startNginx({ registry: registry.host, maxBody: "1m" })) };
    });

    async function push(tag: string, { archive }: Pick<typeof image, "archive">) {
      const { cwd, nginx } = scene();
      await Bun.write(join(cwd.path, "output.tar"), archive);
      const env = { ...TELLS_EVENTS, NODE_EXTRA_CA_CERTS: nginx.authority };
      return runCli([`https://${nginx.host}/team/app:${tag}`], { cwd: cwd.path, env });
    }

    test("takes a push without a flag, though the limit is not announced", async () => {
      const { nginx } = scene();
      const { code, stderr, stdout } = await push("v1", image);
      expect(code, stderr).toBe(0);
      expect(stderr).toContain("BODY_REFUSED");
      const reference = `${nginx.host}/team/app:v1`;
      const pulled = await readBack(reference, "--src-cert-dir", join(nginx.authority, ".."));
      expect(stdout).toBe(`${reference}@${pulled.manifestDigest}\n`);
      expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
      expect(pulled.diffIds).toEqual([...image.diffIds]);
    });

    test("refuses no body of the next push, which remembers the limit", async () => {
      const other = dockerArchive([seededLayer(2_500_000, "another")], ["team/app:v2"]);
      const { code, stderr } = await push("v2", other);
      expect(code, stderr).toBe(0);
      expect(stderr).not.toContain("BODY_REFUSED");
    });
  },
);
