import { describe, expect, test } from "bun:test";
import { once } from "node:events";
import { chmod, mkdir, readdir, symlink } from "node:fs/promises";
import { createServer } from "node:net";
import { join, resolve } from "node:path";
import { detectCompression } from "../../src/oci/image.ts";
import { openJob } from "../../src/push/job.ts";
import { openJobSource } from "../../src/push/open-source.ts";
import { readStream } from "../../src/push/read-stream.ts";
import { connectTarget } from "../../src/push/target.ts";
import type { Report } from "../../src/report/events.ts";
import { openSource } from "../../src/source/open.ts";
import type { Source } from "../../src/source/source.ts";
import { unpackArchive } from "../../src/source/stream/unpack-archive.ts";
import { fixtureImage, untypedManifest } from "../support/image-fixture.ts";
import { archiveBytes, classicFiles, layoutFiles, podmanFiles, writeFolder } from "../support/image-forms.ts";
import { onlyImage } from "../support/open-fixture.ts";
import { piecesOf } from "../support/pieces.ts";
import { rejection } from "../support/rejection.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { bytesOf } from "../support/stored-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const REPOSITORY = join(import.meta.dir, "../..");
const image = fixtureImage(1, 2, 1);
const classic = classicFiles(image, ["my/app:v1"]);

/** A folder to work in, a cache, and a registry to which what comes as a stream is sent as it comes. */
async function workplace() {
  const resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry());
  const cacheDirectory = join(folder.path, "cache");
  const controller = new AbortController();
  return {
    path: folder.path,
    cacheDirectory,
    controller,
    leftovers: async () => (await readdir(cacheDirectory)).filter((name) => name.endsWith(".tmp")),
    /** Opens a source as a push does, and reads it where it comes as a stream. */
    async open(source: string, report: Report = () => {}): Promise<Source> {
      const job = await openJob({
        source: resolve(folder.path, source),
        target: `${registry.host}/my/app:v1`,
        cacheDirectory,
        signal: controller.signal,
        report,
      });
      try {
        const source = await readStream(await openJobSource(job), await connectTarget(job), job);
        return { ...source, [Symbol.asyncDispose]: () => job[Symbol.asyncDispose]() };
      } catch (error) {
        await job[Symbol.asyncDispose]();
        throw error;
      }
    },
    [Symbol.asyncDispose]: () => resources.disposeAsync(),
  };
}

async function expectWholeImage(source: Source): Promise<void> {
  if (source.access !== "any") throw new Error("This should be an image in files.");
  const { config, layers } = onlyImage(source.content);
  expect(await config.content.text()).toBe(image.config);
  expect(layers.map((layer) => String(layer.diffId))).toEqual([...image.diffIds]);
  for (const [i, layer] of layers.entries()) {
    expect(await bytesOf(layer.content)).toEqual(image.layers[i] ?? new Uint8Array());
  }
}

describe("a source that is opened", () => {
  const forms = {
    "classic.tar": archiveBytes(classic),
    "podman.tar": archiveBytes(podmanFiles(image, ["my/app:v1"])),
    "layout.tar": archiveBytes({
      ...layoutFiles([{ digest: untypedManifest(image).root.digest }]),
      ...untypedManifest(image).files,
    }),
    // Told by their bytes, and not by their names.
    "gzip.tar": Bun.gzipSync(archiveBytes(classic)),
    "members.tgz": Buffer.concat([
      Bun.gzipSync(archiveBytes(classic).subarray(0, 5000)),
      Bun.gzipSync(archiveBytes(classic).subarray(5000)),
    ]),
    "zstd.tar": Bun.zstdCompressSync(archiveBytes(classic)),
    "frames.tar.zst": Buffer.concat([
      Bun.zstdCompressSync(archiveBytes(classic).subarray(0, 5000)),
      Bun.zstdCompressSync(archiveBytes(classic).subarray(5000)),
    ]),
    "plain.tar.gz": archiveBytes(classic),
    extensionless: archiveBytes(classic),
  };
  test.each(Object.entries(forms))("may be an archive: %s", async (name, bytes) => {
    await using place = await workplace();
    await Bun.write(join(place.path, name), bytes);
    const progress: number[] = [];
    {
      await using source = await place.open(name, (event) => {
        if (event.type === "reading" && event.how === "unpack") progress.push(event.doneBytes);
      });
      await expectWholeImage(source);
      expect(source.origin).toMatchObject({
        kind: "archive",
        name: join(place.path, name),
        sizeBytes: bytes.length,
        date: expect.any(Date),
      });
      const isPacked = (await detectCompression(new Blob([bytes]))) !== "none";
      expect(progress.at(-1)).toBe(isPacked ? bytes.length : undefined);
    }
    expect(await place.leftovers()).toEqual([]);
  });

  test("may be a folder, also by a symlink", async () => {
    await using place = await workplace();
    await writeFolder(join(place.path, "image"), classic);
    await symlink("image", join(place.path, "alias"));
    for (const name of ["image", "image/", "alias"]) {
      await using source = await place.open(name);
      await expectWholeImage(source);
      expect(source.origin).toMatchObject({ kind: "folder", sizeBytes: undefined });
    }
  });

  test("may be a folder that holds only index.json and blobs/", async () => {
    await using place = await workplace();
    const blobs = untypedManifest(image);
    const { "oci-layout": _, ...files } = layoutFiles([{ digest: blobs.root.digest }]);
    await writeFolder(join(place.path, "image"), { ...files, ...blobs.files });
    await using source = await place.open("image");
    await expectWholeImage(source);
  });

  test("is what manifest.json says, where an OCI layout beside it says otherwise", async () => {
    await using place = await workplace();
    const other = untypedManifest(fixtureImage(9));
    const layout = layoutFiles([{ digest: other.root.digest }]);
    await Bun.write(join(place.path, "x.tar"), archiveBytes({ ...layout, ...other.files, ...classic }));
    await using source = await place.open("x.tar");
    await expectWholeImage(source);
  });
});

describe("several images in one archive", () => {
  const other = fixtureImage(9);
  const several = archiveBytes({
    ...classic,
    "other.json": other.config,
    "other.tar": other.layers[0] ?? "",
    "manifest.json": JSON.stringify([
      { Config: "other.json", RepoTags: ["my/other:v1"], Layers: ["other.tar"] },
      ...(JSON.parse(String(classic["manifest.json"])) as unknown[]),
    ]),
  });

  /** Opens the archive as a push to a target does. */
  async function openFor(target: string, check: (source: Source) => Promise<void>): Promise<void> {
    await using place = await workplace();
    const path = join(place.path, "x.tar");
    await Bun.write(path, several);
    await using job = await openJob({ source: path, target, cacheDirectory: place.cacheDirectory });
    const opened = await openJobSource(job);
    if (opened.access === "stream") throw new Error("This should be read in place.");
    await check(opened);
  }

  const targets = ["localhost:5000/my/app:v1", "https://registry.example.com/my/app:v1"];
  test.each(targets)("leave the one to push that is named like the target %s", async (target) => {
    await openFor(target, expectWholeImage);
  });

  test.each(["localhost:5000/my/app:v2", "localhost:5000/app:v1", "localhost:5000/our/my/app:v1"])(
    "are listed as choices where none is named like the target %s",
    async (target) => {
      const error = await rejection(openFor(target, async () => {}));
      expect(error.code).toBe("SOURCE_AMBIGUOUS");
      expect(error.details.join()).toContain("my/app:v1");
      expect(error.details.join()).toContain("my/other:v1");
    },
  );
});

describe("a source that cannot be opened", () => {
  test.each([
    "absent.tar",
    "absent.tar.gz",
    "absent.tgz",
    "absent.tar.zst",
    "./absent",
    "../absent",
    "/absent",
    "~/absent",
  ])("is called missing where %s is a path, and not there", async (source) => {
    const choice = { image: undefined, targets: [], platforms: [], allPlatforms: false, choose: undefined };
    const { signal } = new AbortController();
    const error = await rejection(openSource({ ...choice, source, engineEnvironment: {}, signal }));
    expect([error.code, error.message]).toEqual(["SOURCE_NOT_FOUND", expect.stringContaining(`"${source}"`)]);
    expect(error.hint).toContain("docker save");
  });

  test("is answered with the nearest name of its folder, where its own is not there", async () => {
    await using place = await workplace();
    for (const name of ["image.tar", "base.tar"]) await Bun.write(join(place.path, name), "");
    for (const name of ["imgae.tar", "image.tar.gz"])
      expect((await rejection(place.open(name))).hint).toBe(
        `Did you mean "${join(place.path, "image.tar")}"?`,
      );
    for (const name of ["other.tar", "absent/image.tar"])
      expect((await rejection(place.open(name))).hint).toContain("docker save");
  });

  test("is not answered with its own name where it is a link that leads nowhere", async () => {
    await using place = await workplace();
    await symlink("absent", join(place.path, "image.tar"));
    const error = await rejection(place.open("image.tar"));
    expect([error.code, error.hint]).toEqual(["SOURCE_NOT_FOUND", expect.stringContaining("docker save")]);
  });

  test("is called missing where its path leads below a file", async () => {
    await using place = await workplace();
    await Bun.write(join(place.path, "x.tar"), "");
    expect((await rejection(place.open("x.tar/y"))).code).toBe("SOURCE_NOT_FOUND");
  });

  const packed = Bun.gzipSync(archiveBytes(classic));
  const zstd = Bun.zstdCompressSync(archiveBytes(classic));
  const flipped = Buffer.from(packed);
  flipped.writeUInt8((flipped[5000] ?? 0) ^ 0xff, 5000);
  const damaged: [what: string, bytes: Uint8Array][] = [
    ["cut short", archiveBytes(classic).subarray(0, 5000)],
    ["empty", new Uint8Array()],
    ["binary", Buffer.from("no archive at all.\0".repeat(100))],
    ["gzip cut short", packed.subarray(0, packed.length - 100)],
    ["gzip's header alone", packed.subarray(0, 10)],
    ["gzip's magic and then nonsense", Buffer.concat([Buffer.from([0x1f, 0x8b]), seededBytes(2000, 3)])],
    ["gzip with a wrong byte", flipped],
    ["gzip of nothing", Bun.gzipSync(new Uint8Array())],
    ["gzip of an archive cut short", Bun.gzipSync(archiveBytes(classic).subarray(0, 5000))],
    ["zstd cut short", zstd.subarray(0, zstd.length - 3000)],
    ["zstd's magic alone", zstd.subarray(0, 4)],
    [
      "zstd's magic and then nonsense",
      Buffer.concat([Buffer.from([0x28, 0xb5, 0x2f, 0xfd]), seededBytes(2000, 3)]),
    ],
  ];
  test.each(damaged)(
    "is refused by the name that the user knows, and leaves nothing behind: an archive that is %s",
    async (_, bytes) => {
      await using place = await workplace();
      await Bun.write(join(place.path, "mine.tar"), bytes);
      const error = await rejection(place.open("mine.tar"));
      expect(error.code).toBe("ARCHIVE_INVALID");
      expect(error.message).toContain("mine.tar");
      expect(error.message).not.toContain(place.cacheDirectory);
      expect(error.hint).toBeString();
      expect(await place.leftovers()).toEqual([]);
    },
  );

  test("is refused for being neither a file nor a folder nor a pipe", async () => {
    await using place = await workplace();
    const server = createServer().listen(join(place.path, "socket"));
    await once(server, "listening");
    const error = await rejection(place.open("socket"));
    server.close();
    expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining("folder or pipe")]);
  });

  test("is refused where it stands for standard input, which no push reads itself", async () => {
    await using folder = await temporaryFolder();
    const target = "127.0.0.1:1/my/app:v1";
    await using job = await openJob({ source: "-", target, cacheDirectory: folder.path });
    const error = await rejection(openJobSource(job));
    expect(error.code).toBe("USAGE");
    expect(error.message).toContain("standard input");
  });

  test("is no image where it has the files of a container (docker export)", async () => {
    await using place = await workplace();
    await Bun.write(join(place.path, "x.tar"), tarBytes([{ path: "etc/hosts", body: "127.0.0.1" }]));
    const error = await rejection(place.open("x.tar"));
    expect(error.code).toBe("SOURCE_NOT_IMAGE");
  });

  test("is no image where it is an empty folder", async () => {
    await using place = await workplace();
    await mkdir(join(place.path, "empty"));
    expect((await rejection(place.open("empty"))).code).toBe("SOURCE_NOT_IMAGE");
  });

  test("is no image where its index lists nothing that is there", async () => {
    await using place = await workplace();
    const digest = `sha256:${"a".repeat(64)}`;
    await Bun.write(join(place.path, "x.tar"), archiveBytes(layoutFiles([{ digest }])));
    expect((await rejection(place.open("x.tar"))).code).toBe("IMAGE_INVALID");
  });

  test("leaves no unpacked archive behind where its image cannot be read", async () => {
    await using place = await workplace();
    const { [`${image.configHex}.json`]: _, ...files } = classic;
    await Bun.write(join(place.path, "x.tar.gz"), Bun.gzipSync(archiveBytes(files)));
    expect((await rejection(place.open("x.tar.gz"))).code).toBe("IMAGE_INCOMPLETE");
    expect(await place.leftovers()).toEqual([]);
  });

  test("ends its unpacking with the reason of an interruption, and leaves nothing behind", async () => {
    await using place = await workplace();
    // Its one layer is larger than what is read at a time.
    const member = { path: "x/layer.tar", body: new Uint8Array(64 * 1024 * 1024) };
    await Bun.write(join(place.path, "x.tar.gz"), Bun.gzipSync(tarBytes([member])));
    const reason = new Error("enough");
    const opening = place.open("x.tar.gz", ({ type }) => {
      if (type === "reading") place.controller.abort(reason);
    });
    expect(await opening.then(String, (error: unknown) => error)).toBe(reason);
    expect(await place.leftovers()).toEqual([]);
  });

  test("is not unpacked after an interruption, and leaves nothing behind", async () => {
    await using place = await workplace();
    await Bun.write(join(place.path, "x.tar.gz"), packed);
    const reason = new Error("enough");
    place.controller.abort(reason);
    expect(await place.open("x.tar.gz").then(String, (error: unknown) => error)).toBe(reason);
    expect(await place.leftovers()).toEqual([]);
  });
});

describe("an archive that is unpacked as it comes", () => {
  const NO_LIMITS = { timesItsSize: 100, atLeastBytes: 0, keptFreeBytes: 0 };
  const { signal } = new AbortController();

  /** @returns how many bytes came out */
  async function unpack(packed: Uint8Array, limits = NO_LIMITS): Promise<number> {
    const pieces = unpackArchive(piecesOf(packed, 1000), "x.tar.gz", { directory: "/tmp", signal, limits });
    let unpackedBytes = 0;
    for await (const { length } of pieces) unpackedBytes += length;
    return unpackedBytes;
  }

  test("ends at a limit where it unpacks to far too much", async () => {
    const bomb = Bun.gzipSync(new Uint8Array(8 * 1024 * 1024));
    const error = await rejection(unpack(bomb, { ...NO_LIMITS, atLeastBytes: 1e6 }));
    expect([error.code, error.message]).toEqual(["ARCHIVE_INVALID", expect.stringContaining("1.0 MB")]);
  });

  test("may be packed well, up to a hundred times", async () => {
    expect(await unpack(Bun.gzipSync(archiveBytes(classic)))).toBe(archiveBytes(classic).length);
  });

  test("ends where too little of the disk would be left", async () => {
    const packed = Bun.gzipSync(archiveBytes(classic));
    const error = await rejection(unpack(packed, { ...NO_LIMITS, atLeastBytes: 1e9, keptFreeBytes: 1e18 }));
    expect([error.code, error.message]).toEqual(["FILE_FAILED", expect.stringContaining("free on the disk")]);
  });
});

/**
 * Runs the command's own search for a source, and reads what it finds. Runs in a process of its own: a working folder is
 * one per process, and so are rights.
 */
const OPEN = `
  const { openSource } = await import(${JSON.stringify(join(REPOSITORY, "src/source/open.ts"))});
  const { runPush } = await import(${JSON.stringify(join(REPOSITORY, "src/cli/push-command.ts"))});
  const { parsePush } = await import(${JSON.stringify(join(REPOSITORY, "src/cli/invocation.ts"))});
  if (process.env.AS_NOBODY && process.getuid() === 0) process.setuid(65534);
  const { signal } = new AbortController();
  const progress = [];
  async function push({ source, engineEnvironment }) {
    await using opened = await openSource({
      source,
      targets: [],
      platforms: [],
      engineEnvironment,
      signal,
    });
    let text = "";
    if (opened.access === "any") text = await opened.content.layers[0].content.text();
    else for await (const part of opened.read((done) => progress.push(done))) {
      if (part.kind !== "layer") continue;
      for await (const piece of part.bytes) text += Buffer.from(piece).toString();
    }
    console.log([opened.origin.kind, opened.origin.name, text].join(" "));
    if (process.env.SHOW_PROGRESS) console.log([progress.at(0), progress.at(-1)].join("\\n"));
    return { reference: "", digest: "", sentBytes: 0, presentBytes: 0 };
  }
  try {
    const command = parsePush(process.argv.slice(1), process.env);
    const stdout = { write() {} };
    await runPush(command, push, { stdout, stderr: process.stderr, env: process.env }, signal);
  } catch (error) {
    console.log([error.name, error.code, error.message, error.hint].join(" | "));
  }
`;

describe("a command in the working folder", () => {
  async function openIn(
    cwd: string,
    args: readonly string[],
    env: Record<string, string> = {},
  ): Promise<string> {
    const child = Bun.spawn([process.execPath, "-e", OPEN, ...args], {
      cwd,
      env: { ...process.env, ...env },
      stdout: "pipe",
      stderr: "inherit",
    });
    const [stdout] = await Promise.all([child.stdout.text(), child.exited]);
    return stdout.trimEnd();
  }

  /** An image that says where it came from. */
  function marked(mark: string) {
    const diffId = `sha256:${"0".repeat(64)}`;
    return {
      "c.json": JSON.stringify({ rootfs: { diff_ids: [diffId] } }),
      "l.tar": mark,
      "manifest.json": JSON.stringify([{ Config: "c.json", RepoTags: [`${mark}:v1`], Layers: ["l.tar"] }]),
    };
  }

  const inspected = {
    Id: `sha256:${"c".repeat(64)}`,
    RepoTags: ["localhost/app:v1", "other:v2"],
    Created: "2024-05-06T07:08:09Z",
    Size: 1_000_000,
    RootFS: { Layers: [`sha256:${"0".repeat(64)}`] },
  };

  /** A docker command that knows one image, `localhost/app:v1`, and writes down what it was asked. */
  async function installDocker(folder: string): Promise<Record<string, string>> {
    const bin = join(folder, "bin");
    await mkdir(bin);
    await Bun.write(join(folder, "engine.tar"), archiveBytes(marked("engine")));
    await Bun.write(
      join(bin, "docker"),
      `#!/bin/sh
echo "$* token=$REGISTRY_JWT_TOKEN$CHUNKPUSH_HEADERS" >> '${folder}/asked'
if [ -n "$DOCKER_FAILURE" ]; then echo "$DOCKER_FAILURE" >&2; exit 1; fi
case "$1 $2" in
  "image inspect")
    for last; do :; done
    if [ "$last" != localhost/app:v1 ]; then echo "\${NOT_FOUND:-Error: No such image:} $last" >&2; exit 1; fi
    echo '${JSON.stringify([inspected])}' ;;
  "image save") /bin/cat '${folder}/engine.tar'
    if [ -n "$SAVE_FAILURE" ]; then echo "$SAVE_FAILURE" >&2; exit 1; fi ;;
  "image ls") printf 'localhost/app:v1\\n<none>:<none>\\nlocalhost/app:v1\\nzzz:v9\\n' ;;
esac
`,
    );
    await chmod(join(bin, "docker"), 0o755);
    return { PATH: bin };
  }

  test("pushes output.tar first, then .output-image, then the engine's image of the target's name", async () => {
    await using place = await workplace();
    const docker = await installDocker(place.path);
    const target = ["localhost/app:v1"];
    expect(await openIn(place.path, target, docker)).toBe("engine localhost/app:v1 engine");
    await writeFolder(join(place.path, ".output-image"), marked("folder"));
    expect(await openIn(place.path, target, docker)).toBe("folder .output-image folder");
    await Bun.write(join(place.path, "output.tar"), archiveBytes(marked("archive")));
    expect(await openIn(place.path, target, docker)).toBe("archive output.tar archive");
    // A named source is stronger than what lies about.
    expect(await openIn(place.path, ["localhost/app:v1", ...target], docker)).toBe(
      "engine localhost/app:v1 engine",
    );
    expect(await openIn(place.path, [".output-image", ...target], docker)).toBe(
      "folder .output-image folder",
    );
  }, 20_000);

  test("does not pass over a damaged output.tar in silence", async () => {
    await using place = await workplace();
    await writeFolder(join(place.path, ".output-image"), marked("folder"));
    await Bun.write(join(place.path, "output.tar"), "");
    expect(await openIn(place.path, ["localhost/app:v1"])).toStartWith("PushError | ARCHIVE_INVALID |");
  });

  test("gives docker no password, and tells of the nearest names, of no engine, and of no docker", async () => {
    await using place = await workplace();
    const docker = {
      ...(await installDocker(place.path)),
      REGISTRY_JWT_TOKEN: "s3cret",
      CHUNKPUSH_HEADERS: "a: s3cret",
    };
    const open = (source: string, env: Record<string, string>) =>
      openIn(place.path, [source, "localhost/app:v1"], env);

    expect(await open("localhost/app:v1", docker)).toBe("engine localhost/app:v1 engine");
    const missing = await open("localhost/ap:v1", docker);
    expect(missing).toStartWith("PushError | IMAGE_NOT_FOUND |");
    expect(missing).toContain("localhost/app:v1");
    expect(missing).not.toContain("<none>");
    expect(missing.match(/localhost\/app:v1[,.]/g)).toHaveLength(1);
    const asked = await Bun.file(join(place.path, "asked")).text();
    expect(asked).not.toContain("s3cret");
    // Bare hex digits are a repository's name for engines with the containerd store.
    expect(asked).toContain(`image save ${inspected.Id} `);
    expect(await open("localhost/ap:v1", { ...docker, NOT_FOUND: "Error: image not known:" })).toBe(missing);

    const failure =
      "Cannot connect to the Docker daemon at unix:///var/run/docker.sock. Is the docker daemon running?";
    expect(await open("app", { ...docker, DOCKER_FAILURE: failure })).toStartWith(
      "PushError | ENGINE_UNREACHABLE |",
    );
    expect(await open("app", { ...docker, DOCKER_FAILURE: "out of cheese" })).toMatch(
      /^PushError \| ENGINE_FAILED \| .*out of cheese/,
    );
    const greeting = "Emulate Docker CLI using podman. Create /etc/containers/nodocker to quiet msg.\n";
    expect(await open("app", { ...docker, DOCKER_FAILURE: `${greeting}out of cheese` })).not.toContain(
      "Emulate",
    );
    for (const lacking of [
      "no suitable export target found for platform",
      "content digest sha256:00: not found",
    ]) {
      expect(await open("localhost/app:v1", { ...docker, SAVE_FAILURE: lacking })).toMatch(
        /^PushError \| ENGINE_FAILED \| .*a part of the image is missing.*pull --platform/,
      );
    }
    expect(await open("localhost/app:v1", { ...docker, SAVE_FAILURE: "no space left" })).toMatch(
      /^PushError \| ENGINE_FAILED \| .*no space left/,
    );
    expect(await open("app", { PATH: place.cacheDirectory })).toStartWith("PushError | ENGINE_MISSING |");
  }, 20_000);

  test("saves the engine's image with progress, from before its first byte to its last", async () => {
    await using place = await workplace();
    const docker = { ...(await installDocker(place.path)), SHOW_PROGRESS: "1" };
    const sizeBytes = Bun.file(join(place.path, "engine.tar")).size;
    const [, first, last] = (await openIn(place.path, ["localhost/app:v1"], docker)).split("\n");
    expect(first).toBe("0");
    expect(last).toBe(`${sizeBytes}`);
  }, 20_000);

  test("reports an archive or folder that may not be read by its name", async () => {
    await using place = await workplace();
    await Bun.write(join(place.path, "mine.tar"), archiveBytes(marked("archive")));
    await writeFolder(join(place.path, "folder"), marked("folder"));
    await chmod(join(place.path, "mine.tar"), 0);
    await chmod(join(place.path, "folder/manifest.json"), 0);
    await chmod(place.path, 0o755);
    for (const source of ["mine.tar", "folder"]) {
      const said = await openIn(place.path, [source, "localhost/app:v1"], { AS_NOBODY: "1" });
      expect(said).toStartWith("PushError | FILE_FAILED |");
      expect(said).toContain(source);
    }
  }, 20_000);
});
