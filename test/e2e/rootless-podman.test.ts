/** A rootless Podman's storage, whose files belong to users of its namespace, read by the push of its user. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, chown, readFile, rm } from "node:fs/promises";
import { join } from "node:path";
import { run, runWell } from "../support/command.ts";
import { type DockerRegistry, startDockerRegistry } from "../support/docker-registry.ts";
import { requireParts } from "../support/parts.ts";
import { readBack } from "../support/read-back.ts";
import { cliCommand } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(120_000);

const USER = "cp-rootless";

/** Makes files of several users, of which some nobody else may read, as a script. */
const FILES = `
set -e
i=0
for owner in 0 1 33 1000 65534; do
  for mode in 644 600 000; do
    i=$((i + 1))
    cp large $owner-$mode && chown $owner:$owner $owner-$mode && chmod $mode $owner-$mode
  done
done
mkdir closed && echo secret >closed/file && chown -R 33:33 closed && chmod 700 closed
tar --exclude=files.tar -cf files.tar . && chmod 644 files.tar
`;

describe.skipIf(!requireParts("podman", "newuidmap", "useradd", "docker-registry", "skopeo"))(
  "a push by the user of a rootless Podman",
  () => {
    const resources = new AsyncDisposableStack();
    afterAll(() => resources.disposeAsync());
    let folder: TemporaryFolder;
    let registry: DockerRegistry;

    /** Runs a command as the user. */
    const asUser = (command: readonly string[], env: Readonly<Record<string, string>> = {}) =>
      run(["runuser", "-u", USER, "--", ...command], {
        cwd: folder.path,
        env: { HOME: folder.path, XDG_RUNTIME_DIR: join(folder.path, "run"), ...env },
      });
    const push = (to: string, path = process.env["PATH"] ?? "") =>
      asUser(cliCommand(["--debug", "containers-storage:my/app:v1", `${registry.host}/${to}:v1`]), {
        PATH: path,
      });

    beforeAll(async () => {
      folder = resources.use(await temporaryFolder());
      registry = resources.use(await startDockerRegistry());
      // An interrupted run has left the user, and its last process may still end.
      const removeUser = () => run(["userdel", "--force", USER]);
      await removeUser();
      // useradd gives it sub-users, as Debian's login.defs says.
      await runWell(["useradd", "--home-dir", folder.path, "--no-create-home", USER]);
      resources.defer(async () => {
        // Files of sub-users go with their namespace.
        await asUser(["podman", "system", "reset", "--force"]);
        await removeUser();
      });
      const owner = Number(await runWell(["id", "-u", USER]));
      await runWell(["mkdir", "-m", "700", join(folder.path, "run")]);
      for (const path of [folder.path, join(folder.path, "run")]) await chown(path, owner, owner);
      const context = join(folder.path, "context");
      await Bun.write(join(context, "large"), seededBytes(300_000, "rootless"));
      await runWell(["sh", "-c", FILES], { cwd: context });
      await Bun.write(join(context, "Dockerfile"), "FROM scratch\nADD files.tar /\nCOPY large /more/\n");
      for (const name of await Array.fromAsync(new Bun.Glob("*-*").scan(context)))
        await rm(join(context, name));
      await rm(join(context, "closed"), { recursive: true });
      const built = await asUser(["podman", "build", "--tag", "my/app:v1", context]);
      if (built.code !== 0) throw new Error(built.stderr);
    });

    test("reads the files of all users, saves nothing, and brings the image that Podman has", async () => {
      const { code, stderr } = await push("app");
      expect(code, stderr).toBe(0);
      expect(stderr).not.toContain("The engine saves the image");
      const inspected = await asUser(["podman", "image", "inspect", "my/app:v1"]);
      const [image] = JSON.parse(inspected.stdout);
      const pushed = await readBack(`${registry.host}/app:v1`);
      expect(pushed.diffIds).toEqual(image.RootFS.Layers);
      expect(new Bun.CryptoHasher("sha256").update(pushed.config).digest("hex")).toBe(image.Id);
    });

    test("has Podman save the image where it makes no namespace, and says why", async () => {
      const podman = join(folder.path, "bin/podman");
      const real = Bun.which("podman");
      await Bun.write(
        podman,
        `#!/bin/sh\n[ "$1" = unshare ] && echo "Error: no newuidmap" >&2 && exit 125\nexec ${real} "$@"\n`,
      );
      await chmod(podman, 0o755);
      const { code, stderr } = await push("saved", `${join(folder.path, "bin")}:${process.env["PATH"]}`);
      expect(code, stderr).toBe(0);
      expect(stderr).toContain("no newuidmap");
      expect((await readBack(`${registry.host}/saved:v1`)).diffIds).toEqual(
        (await readBack(`${registry.host}/app:v1`)).diffIds,
      );
    });

    test("has no command that reads the storage for anybody but a push", async () => {
      const alone = await asUser(cliCommand(["__read-podman-storage"]));
      expect([alone.code, alone.stdout]).toEqual([1, ""]);
      expect(await readFile(join(import.meta.dir, "../../src/cli/push-program.ts"), "utf8")).not.toContain(
        "__read-podman-storage",
      );
    });
  },
);
