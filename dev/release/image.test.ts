/** The container image: built without a network, pushed by the executable that is in it, pulled and run by Podman. */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { chown, mkdir, readdir, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import packageJson from "../../package.json";
import { RUNS_ALL } from "../../test/support/all-tests.ts";
import { run, runWell } from "../../test/support/command.ts";
import { type DockerRegistry, startDockerRegistry } from "../../test/support/docker-registry.ts";
import { seededLayer } from "../../test/support/image-fixture.ts";
import { dockerArchive } from "../../test/support/image-forms.ts";
import { type Nginx, startNginx } from "../../test/support/nginx.ts";
import { requireParts } from "../../test/support/parts.ts";
import { openPodmanStore, type PodmanStore } from "../../test/support/podman-store.ts";
import { readBack } from "../../test/support/read-back.ts";
import { type TemporaryFolder, temporaryFolder } from "../../test/support/temporary-folder.ts";

setDefaultTimeout(60_000);

const PROJECT = join(import.meta.dir, "../..");
const ARCHITECTURE = process.arch === "arm64" ? "arm64" : "amd64";
const OTHER = process.arch === "arm64" ? "amd64" : "arm64";
const ME = { username: "me", password: "hush-Xq7" };
/** Neither root nor anybody whom the image knows. */
const USER = 1234;

const hasParts = requireParts(
  ...([
    "podman",
    "unshare",
    "docker-registry",
    "htpasswd",
    "nginx",
    "openssl",
    "skopeo",
    "update-ca-certificates",
  ] as const),
);

describe.skipIf(!RUNS_ALL || !hasParts)("The container image of chunkpush", () => {
  const resources = new AsyncDisposableStack();
  afterAll(() => resources.disposeAsync());
  let folder: TemporaryFolder;
  let binary: string;
  let roots: string;
  let registry: DockerRegistry;
  let nginx: Nginx;
  let podman: PodmanStore;
  let index: string;
  let reference: string;
  let pushed: string;

  beforeAll(async () => {
    folder = resources.use(await temporaryFolder());
    binary = join(folder.path, "chunkpush");
    const [, , ...compile] = packageJson.scripts.compile.replace(/(?<=--outfile=)\S+/, binary).split(" ");
    await runWell([process.execPath, ...compile], { cwd: PROJECT });
    // A Debian machine has the same files in /usr. Its /etc is left out: the owner may have changed it.
    roots = join(folder.path, "roots");
    await mkdir(join(roots, ARCHITECTURE), { recursive: true });
    await symlink("/usr", join(roots, ARCHITECTURE, "usr"));
    registry = resources.use(await startDockerRegistry({ credentials: ME }));
    nginx = resources.use(await startNginx({ registry: registry.host, maxBody: "8m" }));
    podman = resources.use(await openPodmanStore("overlay"));
    const built = await buildImage(join(folder.path, "image"));
    expect(built.code, built.stderr).toBe(0);
    index = built.stdout.trim();
    reference = `${nginx.host}/tools/chunkpush:1.2.3`;
    const result = await run([binary, join(folder.path, "image"), `https://${reference}`], {
      cwd: folder.path,
      env: { HOME: folder.path, USERNAME_REGISTRY: ME.username, SSL_CERT_FILE: nginx.authority },
      input: ME.password,
    });
    expect(result.code, result.stderr).toBe(0);
    pushed = result.stdout;
    await podman.podman("pull", "--quiet", ...access(), reference);
  });

  /** The flags that pull from behind nginx. Skopeo's have a prefix. */
  const access = (prefix = "") => [
    ...[`--${prefix}creds`, `${ME.username}:${ME.password}`],
    ...[`--${prefix}cert-dir`, join(nginx.authority, "..")],
  ];

  /** Runs the script where there is no network. */
  const buildImage = (out: string, flags = [`--${ARCHITECTURE}`, binary], seconds = "1700000000") =>
    run(
      [
        ...["unshare", "--net", process.execPath, "run", join(PROJECT, "dev/release/image.ts")],
        ...["--version", "1.2.3", "--out", out, "--roots", roots],
        ...flags,
      ],
      { env: { SOURCE_DATE_EPOCH: seconds } },
    );

  test("goes through a body limit when its own executable pushes it, and Podman pulls and starts it", async () => {
    expect(pushed).toBe(`${reference}@${index}\n`);
    const version = await run([...container(), reference, "--version"], { env: podman.env });
    expect(version.stderr).toBe("");
    expect(version.stdout).toBe(await runWell([binary, "--version"]));
    expect(await podman.podman("image", "inspect", "--format", "{{json .Labels}}", reference)).toContain(
      '"org.opencontainers.image.version":"1.2.3"',
    );
  });

  test("pushes an archive of a mounted folder for its user, who gives the password on standard input", async () => {
    const work = await workFolder("mounted");
    const image = dockerArchive([seededLayer(3_000_000, "container")], ["team/app:v1"]);
    await Bun.write(join(work, "output.tar"), image.archive);
    const target = `${nginx.host}/team/app:v1`;
    const { code, stdout, stderr } = await run(
      [
        ...container("--interactive", "--user", `${USER}:${USER}`, "--volume", `${work}:/work`),
        ...["--env", "USERNAME_REGISTRY=me", "--env", "SSL_CERT_FILE=/work/authority.crt"],
        ...[reference, "output.tar", `https://${target}`],
      ],
      { env: podman.env, input: `${ME.password}\n` },
    );
    expect(code, stderr).toBe(0);
    const pulled = await readBack(target, ...access("src-"));
    expect(stdout).toBe(`${target}@${pulled.manifestDigest}\n`);
    expect(Buffer.from(pulled.config).equals(image.config)).toBe(true);
    expect(pulled.diffIds).toEqual([...image.diffIds]);
    // The next push starts from what this one has made.
    expect((await stat(join(work, ".cache"))).uid).toBe(USER);
  });

  test.each([
    ["SIGTERM", 143],
    ["SIGINT", 130],
  ])("ends at %s with exit code %d, though it is the container's first process", async (signal, exitCode) => {
    const work = await workFolder(signal);
    await Bun.write(join(work, "output.tar"), dockerArchive([seededLayer(1000, "signal")], ["a:b"]).archive);
    const reached = Promise.withResolvers<void>();
    using silent = Bun.listen({
      hostname: "127.0.0.1",
      port: 0,
      socket: { open: () => reached.resolve(), data: () => {} },
    });
    const name = `stopped-by-${signal}`;
    const running = run(
      [
        ...container("--name", name, "--stop-signal", signal, "--volume", `${work}:/work`),
        ...[reference, "output.tar", `127.0.0.1:${silent.port}/team/app:v1`],
      ],
      { env: podman.env },
    );
    await Promise.race([reached.promise, running]);
    // What does not heed the signal is killed after a while, which is 137.
    await podman.podman("stop", "--time", "20", name);
    const { code, stderr } = await running;
    expect(code, stderr).toBe(exitCode);
  });

  test("has the same digest when it is built again, and shares a layer with the next version", async () => {
    const out = join(folder.path, "again");
    const build = (program: string, seconds: string) =>
      buildImage(out, [`--${ARCHITECTURE}`, `/usr/bin/${program}`], seconds);
    const blobs = async () => (await readdir(join(out, "blobs/sha256"))).sort();
    const first = await build("true", "1700000000");
    expect(first.code, first.stderr).toBe(0);
    const made = await blobs();
    const next = await build("false", "1800000000");
    expect(next.stdout).not.toBe(first.stdout);
    expect((await blobs()).filter((each) => made.includes(each))).toHaveLength(1);
    // And nothing of the other one is left.
    expect((await build("true", "1700000000")).stdout).toBe(first.stdout);
    expect(await blobs()).toEqual(made);
  });

  test("cannot be built from another platform's executable", async () => {
    const refused = await buildImage(join(folder.path, "wrong"), [`--${OTHER}`, binary]);
    expect(refused.code).toBe(1);
    expect(refused.stderr).toStartWith(`"${binary}" is "ELF `);
    expect(refused.stderr).toEndWith(` for ${OTHER}.\n`);
  });

  /** `podman run` on this machine's network. Podman's own limits are more than some machines let it set. */
  const container = (...flags: readonly string[]) => [
    ...[...podman.command, "run", "--rm", "--network", "host"],
    ...["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1024:1024"],
    ...flags,
  ];

  /** A folder of the user in the container, with the certificate that he trusts. */
  async function workFolder(name: string): Promise<string> {
    const work = join(folder.path, name);
    await Bun.write(join(work, "authority.crt"), Bun.file(nginx.authority));
    await chown(work, USER, USER);
    return work;
  }
});
