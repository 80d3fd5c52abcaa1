/** What only Podman has: lists of images, and a service on another machine. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type StrictRegistry, startStrictRegistry } from "../../dev/registry/registry.ts";
import { runWell, startDaemon, waitFor } from "../support/command.ts";
import { requireParts } from "../support/parts.ts";
import { openPodmanStore, type PodmanStore } from "../support/podman-store.ts";
import { readBack } from "../support/read-back.ts";
import { runCli } from "../support/run-cli.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

describe.skipIf(!requireParts("podman", "skopeo"))("a push from Podman", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let folder: TemporaryFolder;
  let registry: StrictRegistry;
  let podman: PodmanStore;
  let imageId: string;

  beforeAll(async () => {
    folder = resources.use(await temporaryFolder());
    podman = resources.use(await openPodmanStore());
    registry = resources.use(await startStrictRegistry({ directory: join(folder.path, "registry") }));
    const bin = join(folder.path, "bin");
    await mkdir(bin);
    const words = podman.command.map((word) => `'${word}'`).join(" ");
    await Bun.write(join(bin, "podman"), `#!/bin/sh\nexec ${words} "$@"\n`);
    await chmod(join(bin, "podman"), 0o755);
    const context = join(folder.path, "context");
    await Bun.write(join(context, "file"), "content\n");
    await Bun.write(join(context, "Dockerfile"), "FROM scratch\nCOPY file /\n");
    await podman.podman("build", "--quiet", "--tag", "my/app:v1", context);
    await podman.podman("manifest", "create", "my/list:v1");
    await podman.podman("manifest", "add", "my/list:v1", "containers-storage:localhost/my/app:v1");
    imageId = await podman.podman("image", "inspect", "--format", "{{.Id}}", "my/app:v1");
  });

  const push = (source: string, to: string, env: Readonly<Record<string, string>> = {}) =>
    runCli([source, `${registry.host}/${to}`], {
      cwd: folder.path,
      env: { ...podman.env, PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}`, ...env },
    });

  test.each(["my/app:v1", "localhost/my/app:v1", "containers-storage:my/app:v1"])(
    "finds %s without being told that it is Podman's",
    async (source) => {
      const { code, stderr } = await push(source, "app:v1");
      expect(code, stderr).toBe(0);
      expect(stderr).toContain("(image of Podman, built ");
      const { config } = await readBack(`${registry.host}/app:v1`);
      expect(new Bun.CryptoHasher("sha256").update(config).digest("hex")).toBe(imageId);
    },
  );

  test("refuses a list, and the hint's command writes an archive that is pushed whole", async () => {
    const refused = await push("my/list:v1", "list:v1");
    expect(refused.code).toBe(1);
    const [, command = ""] =
      /: (podman manifest push --all \S+ oci-archive:output\.tar)\./.exec(refused.stderr) ?? [];
    expect(command).not.toBe("");
    expect(refused.stderr).toContain(imageId.slice(0, 12));
    await runWell(["sh", "-c", command], {
      cwd: folder.path,
      env: { ...podman.env, PATH: `${join(folder.path, "bin")}:${process.env["PATH"]}` },
    });
    const pushed = await push("output.tar", "list:v1");
    expect(pushed.code, pushed.stderr).toBe(0);
    const answer = await fetch(`${registry.url}/v2/list/manifests/v1`, {
      headers: { accept: "application/vnd.oci.image.index.v1+json" },
    });
    expect(await answer.json()).toMatchObject({ manifests: [{ platform: { os: "linux" } }] });
    // The image of the list alone, by the ID that the hint names.
    const alone = await push(imageId.slice(0, 12), "alone:v1");
    expect(alone.code, alone.stderr).toBe(0);
  });

  test("reaches the service that CONTAINER_HOST names", async () => {
    const socket = join(folder.path, "sock");
    const log = join(folder.path, "log");
    const service = startDaemon(
      [...podman.command, "system", "service", "--time=0", `unix://${socket}`],
      { stdout: log, stderr: log },
      podman.env,
    );
    try {
      await waitFor("podman's service", async () => {
        const answer = await fetch("http://localhost/_ping", { unix: socket }).catch(() => undefined);
        return answer?.ok ? true : undefined;
      });
      // This machine's own command, whose own store does not have the image.
      const remote = { PATH: process.env["PATH"] ?? "", CONTAINER_HOST: `unix://${socket}` };
      const { code, stderr } = await push("my/app:v1", "remote:v1", remote);
      expect(code, stderr).toBe(0);
      const { config } = await readBack(`${registry.host}/remote:v1`);
      expect(new Bun.CryptoHasher("sha256").update(config).digest("hex")).toBe(imageId);
    } finally {
      await service.stop();
    }
  });
});
