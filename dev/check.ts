/**
 * The one gate: format and lint, types, unused code, tests. Every step runs even if an earlier one failed.
 * With arguments, only the tests that they name run: `npm test -- test/oci`. `--all` runs every case, as CI does.
 * Without it, long tests run in part, and the tests keep their files in memory. If no test is named, they also start
 * the compiled program.
 *
 * Each tool is started through its JavaScript file, by the Bun that runs this: no Node, no shell and no install
 * script is needed.
 */
import { existsSync } from "node:fs";
import { chmod, mkdtemp, readdir, readFile, rm, statfs } from "node:fs/promises";
import { availableParallelism, freemem, tmpdir } from "node:os";
import { join } from "node:path";
import { compileArguments } from "./release/compile.ts";

const root = join(import.meta.dir, "..");
const args = process.argv.slice(2);
const only = args.filter((arg) => arg !== "--all");
const isWhole = args.includes("--all");
const failed: string[] = [];

/** Ends the running step, and skips the others. The tests' files are removed all the same: they take memory. */
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"]) process.on(signal, () => stop.abort());

/** A file system in memory. */
const MEMORY = "/dev/shm";
/** More bytes than the tests have there at once. */
const SPACE = 4 * 1024 ** 3;

if (only.length === 0) {
  await step("Format and lint", "node_modules/@biomejs/biome/bin/biome", "check", "--error-on-warnings");
  await step("Types", "node_modules/typescript/bin/tsc", "--noEmit");
  await step("Unused code", "node_modules/knip/bin/knip-bun.js");
}
const summary = await tests();

if (failed.length > 0) console.log(`\nFailed: ${failed.join(", ")}`);
console.log(`\n${summary}`);
process.exit(failed.length > 0 ? 1 : 0);

/** Runs `bun ARGS…`, and tells whether it went well. */
async function step(title: string, ...args: string[]): Promise<boolean> {
  if (stop.signal.aborted) {
    failed.push(title);
    return false;
  }
  console.log(`\n── ${title}`);
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, ...(isWhole && { CHUNKPUSH_TESTS: "all" }) },
    stdio: ["ignore", "inherit", "inherit"],
    signal: stop.signal,
    killSignal: "SIGINT",
  });
  const isFine = (await child.exited) === 0;
  if (!isFine) failed.push(title);
  return isFine;
}

async function tests(): Promise<string> {
  // Making and removing many small files takes some disks as long as the rest of the tests.
  const inMemory = !isWhole && process.env["TMPDIR"] === undefined && (await hasMemoryFolder());
  const folder = await mkdtemp(join(inMemory ? MEMORY : tmpdir(), "cp-"));
  const report = join(folder, "junit.xml");
  if (inMemory) {
    // Other users may write here, as in /tmp: some tests run programs as another user.
    await chmod(folder, 0o1777);
    process.env["TMPDIR"] = folder;
  }
  if (!isWhole && only.length === 0 && process.env["CHUNKPUSH_TEST_COMMAND"] === undefined) {
    // The tests start chunkpush hundreds of times. The compiled program starts in half the time of the sources.
    const program = join(folder, process.platform === "win32" ? "chunkpush.exe" : "chunkpush");
    const isCompiled = await step(
      "Program",
      ...compileArguments(),
      "--bytecode",
      "--format=esm",
      `--outfile=${program}`,
    );
    if (isCompiled) process.env["CHUNKPUSH_TEST_COMMAND"] = program;
  }
  try {
    // More processes than processors, since tests often wait for servers. The slowest files of the last run start first.
    const times = join(root, "node_modules/.test-times.json");
    const parallel = [`--parallel=${availableParallelism() + 2}`, `--timings=${times}`, "--update-timings"];
    const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
    const isFine = await step("Tests", "test", "--timeout", "120000", ...parallel, ...reporter, ...only);
    const counts = count(existsSync(report) ? await readFile(report, "utf8") : "");
    // A file that cannot be loaded, or a crash, is not in the report; Bun's exit code knows of it.
    if (!isFine && counts.failed === 0) counts.failed = 1;
    if (isFine && counts.passed === 0) failed.push("Tests (none ran)");
    const left =
      inMemory && !stop.signal.aborted
        ? (await readdir(folder)).filter((name) => /^(?:cp|chunkpush)-/.test(name))
        : [];
    if (left.length > 0) failed.push(`Tests (they left ${left.join(", ")})`);
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
    const part = isWhole ? "" : " (long tests in part; all: npm test -- --all)";
    return `${counts.passed} passed, ${counts.failed} failed${skipped}${part}`;
  } finally {
    // Processes of interrupted tests end a moment later, and may make files until then.
    if (stop.signal.aborted) await Bun.sleep(1000);
    await rm(folder, { recursive: true, force: true });
  }
}

/** Tells whether memory has room for the tests' files, and whether programs may run from there. */
async function hasMemoryFolder(): Promise<boolean> {
  try {
    const mounts = (await readFile("/proc/mounts", "utf8")).split("\n").map((line) => line.split(" "));
    const [, , type, flags = ""] = mounts.findLast(([, folder]) => folder === MEMORY) ?? [];
    const { bavail, bsize } = await statfs(MEMORY);
    return (
      type === "tmpfs" && !flags.split(",").includes("noexec") && Math.min(bavail * bsize, freemem()) > SPACE
    );
  } catch {
    return false;
  }
}

/** The totals that JUnit's outermost element carries; its `tests` include those that failed or were skipped. */
function count(junit: string) {
  const totals = /<testsuites [^>]*>/.exec(junit)?.[0] ?? "";
  const total = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(totals)?.[1] ?? 0);
  const [failures, skipped] = [total("failures"), total("skipped")];
  return { passed: total("tests") - failures - skipped, failed: failures, skipped };
}
