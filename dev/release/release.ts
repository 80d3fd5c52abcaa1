/**
 * Makes all files of a release, and publishes nothing: executables, SHA256SUMS, LICENSES.txt, and notes.md from the
 * changelog. The workflow runs it with the tag. Without one, the notes may be those of what is not released yet.
 */
import { createHash } from "node:crypto";
import { mkdir, readFile, rm } from "node:fs/promises";
import { join, resolve } from "node:path";
import { parseArgs } from "node:util";
import packageJson from "../../package.json";
import { changesOf } from "./changelog.ts";
import { compile } from "./compile.ts";
import { formatOf } from "./format.ts";
import { collectLicenses } from "./licenses.ts";
import { installRuntimes } from "./runtimes.ts";
import { fileOf, TARGETS } from "./targets.ts";

const ROOT = join(import.meta.dir, "../..");

const { values } = parseArgs({
  args: process.argv.slice(2),
  options: { tag: { type: "string" }, out: { type: "string", default: join(ROOT, "dist/release") } },
});
try {
  await makeRelease(resolve(values.out), values.tag);
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

async function makeRelease(out: string, tag: string | undefined): Promise<void> {
  const { version } = packageJson;
  if (tag !== undefined && tag !== `v${version}`)
    throw new Error(
      `The tag is ${tag}, but package.json says ${version}. Tag v${version}, or change the version.`,
    );
  const changelog = await readFile(join(ROOT, "CHANGELOG.md"), "utf8");
  const isNamed = tag !== undefined || changelog.includes(`\n## [${version}]`);
  const notes = changesOf(changelog, isNamed ? version : "Unreleased");
  const licenses = await collectLicenses(ROOT);

  await rm(out, { recursive: true, force: true });
  await mkdir(out, { recursive: true });
  const runtimes = join(out, "runtimes");
  const sums: string[] = [];
  const note = (name: string, bytes: Uint8Array | string) => {
    sums.push(`${createHash("sha256").update(bytes).digest("hex")}  ${name}\n`);
  };
  try {
    const runtimeAt = await installRuntimes(runtimes, TARGETS);
    for (const target of TARGETS) {
      const name = fileOf(target);
      const bytes = await readFile(await compile(target, runtimeAt(target), out));
      const format = formatOf(bytes);
      if (format !== target.format) throw new Error(`${name} is "${format}" instead of "${target.format}".`);
      note(name, bytes);
      console.log(`${name.padEnd(28)} ${(bytes.length / 1e6).toFixed(0).padStart(4)} MB  ${format}`);
    }
  } finally {
    await rm(runtimes, { recursive: true, force: true });
  }
  note("LICENSES.txt", licenses);
  await Bun.write(join(out, "LICENSES.txt"), licenses);
  await Bun.write(join(out, "SHA256SUMS"), sums.join(""));
  await Bun.write(join(out, "notes.md"), notes);
  console.log(`chunkpush ${version} is in ${out}`);
}
