/** What chunkpush's container image has in it. */
import { existsSync } from "node:fs";
import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { formatOf } from "./format.ts";
import { collectLicenses } from "./licenses.ts";
import type { TarEntry } from "./tar-of.ts";
import { TARGETS } from "./targets.ts";

export type Architecture = "amd64" | "arm64";

export type ImageLayer = { readonly title: string; readonly entries: readonly TarEntry[] };

export type LayerInput = {
  readonly architecture: Architecture;
  /** The file of the executable. */
  readonly binary: string;
  /** A folder with the files of Debian's libc6, ca-certificates and base-files, such as `/` of a Debian. */
  readonly root: string;
  /** The folder of this project. */
  readonly project: string;
};

const PLATFORMS = {
  amd64: { target: "linux-x64", triplet: "x86_64-linux-gnu", loader: "lib64/ld-linux-x86-64.so.2" },
  arm64: { target: "linux-arm64", triplet: "aarch64-linux-gnu", loader: "lib/ld-linux-aarch64.so.1" },
} as const;

/** What Bun's executables are linked with. Since glibc 2.34, libc looks names up without further files. */
const LIBRARIES = ["libc.so.6", "libdl.so.2", "libm.so.6", "libpthread.so.0"];

/** The layer that hardly ever changes, and the one with the executable. */
export async function imageLayers(input: LayerInput): Promise<ImageLayer[]> {
  const executable = await readFile(input.binary);
  assertFormat(executable, input.binary, input.architecture);
  const libraries = await libraryEntries(input);
  const libc = libraries.find(({ path }) => path.endsWith("/libc.so.6"))?.content ?? Buffer.alloc(0);
  assertFormat(libc, "libc.so.6", input.architecture);
  const [, glibc = "glibc"] = /GNU C Library \(([^)]+)\)/.exec(libc.toString("latin1")) ?? [];
  const system = [
    ...libraries,
    file("etc/group", "root:x:0:\nnogroup:x:65534:\n"),
    file(
      "etc/passwd",
      "root:x:0:0:root:/root:/sbin/nologin\nnobody:x:65534:65534:nobody:/nonexistent:/sbin/nologin\n",
    ),
    file("etc/nsswitch.conf", "passwd: files\ngroup: files\nhosts: files dns\n"),
    file("etc/ssl/certs/ca-certificates.crt", await certificates(input.root)),
    ...(await systemLicenses(input.root)),
    { path: "root", mode: 0o700 },
    { path: "tmp", mode: 0o1777 },
    // Any user may push from one registry to another without a folder of the host.
    { path: "work", mode: 0o1777 },
  ];
  const program = [
    { path: "usr/local/bin/chunkpush", mode: 0o755, content: executable },
    file("licenses/chunkpush", await collectLicenses(input.project)),
  ];
  return [
    { title: `${glibc}, certificate authorities of Mozilla`, entries: system },
    { title: "chunkpush", entries: program },
  ];
}

function file(path: string, content: string | Uint8Array): TarEntry {
  return { path, mode: 0o644, content: Buffer.from(content) };
}

function assertFormat(bytes: Buffer, name: string, architecture: Architecture): void {
  const wanted = TARGETS.find(({ platform }) => platform === PLATFORMS[architecture].target)?.format;
  const format = formatOf(bytes);
  if (format !== wanted)
    throw new Error(`"${name}" is "${format}", and not "${wanted}" for ${architecture}.`);
}

async function libraryEntries({ architecture, root }: LayerInput) {
  const { triplet, loader } = PLATFORMS[architecture];
  const names = [loader.replace(/.*\//, ""), ...LIBRARIES];
  return Promise.all(
    names.map(async (name) => {
      const content = await readFirst(root, [`usr/lib/${triplet}/${name}`, `lib/${triplet}/${name}`]);
      const path = loader.endsWith(`/${name}`) ? loader : `lib/${triplet}/${name}`;
      return { path, mode: 0o755, content };
    }),
  );
}

async function readFirst(root: string, paths: readonly string[]): Promise<Buffer> {
  const path = paths.map((each) => join(root, each)).find((each) => existsSync(each));
  if (path === undefined) {
    throw new Error(
      `"${root}" has no ${paths[0]}. dev/release/debian-roots makes folders that have all that is needed.`,
    );
  }
  return readFile(path);
}

/** Mozilla's authorities alone: a machine's own bundle may have others that somebody added there. */
async function certificates(root: string): Promise<string> {
  const folder = join(root, "usr/share/ca-certificates/mozilla");
  if (!existsSync(folder))
    throw new Error(`"${root}" has no certificates: Debian's ca-certificates is missing.`);
  const names = (await readdir(folder)).filter((name) => name.endsWith(".crt")).sort();
  const texts = await Promise.all(names.map((name) => readFile(join(folder, name), "utf8")));
  return texts.map((text) => `${text.trimEnd()}\n`).join("");
}

async function systemLicenses(root: string): Promise<TarEntry[]> {
  const packages = ["libc6", "ca-certificates"].map(async (name) =>
    file(`licenses/${name}`, await readFirst(root, [`usr/share/doc/${name}/copyright`])),
  );
  const texts = ["LGPL-2", "LGPL-2.1", "MPL-2.0"].map(async (name) =>
    file(`licenses/common/${name}`, await readFirst(root, [`usr/share/common-licenses/${name}`])),
  );
  return Promise.all([...packages, ...texts]);
}
