/**
 * The one gate: format and lint, types, unused code, tests. Every step runs even if an earlier one failed.
 * With arguments, only the tests that they name: `npm test -- test/oci`. `--all` runs long tests whole, as CI does;
 * without it a part stands for them.
 *
 * Each tool is started through its JavaScript file, by the Bun that runs this: no Node, no shell and no install
 * script is needed.
 */
import { existsSync } from "node:fs";
import { mkdtemp, readFile, rm } from "node:fs/promises";
import { availableParallelism, tmpdir } from "node:os";
import { join } from "node:path";

const root = join(import.meta.dir, "..");
const args = process.argv.slice(2);
const only = args.filter((arg) => arg !== "--all");
const isWhole = args.includes("--all");
const failed: string[] = [];

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
  console.log(`\n── ${title}`);
  const child = Bun.spawn([process.execPath, ...args], {
    cwd: root,
    env: { ...process.env, ...(isWhole && { CHUNKPUSH_TESTS: "all" }) },
    stdio: ["ignore", "inherit", "inherit"],
  });
  const isFine = (await child.exited) === 0;
  if (!isFine) failed.push(title);
  return isFine;
}

async function tests(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), "chunkpush-check-"));
  const report = join(folder, "junit.xml");
  try {
    // More processes than processors: much of the time is spent waiting for servers. The slowest files begin, as far as
    // an earlier run has shown which they are.
    const times = join(root, "node_modules/.test-times.json");
    const parallel = [`--parallel=${availableParallelism() + 1}`, `--timings=${times}`, "--update-timings"];
    const reporter = ["--reporter=junit", `--reporter-outfile=${report}`];
    const isFine = await step("Tests", "test", "--timeout", "120000", ...parallel, ...reporter, ...only);
    const counts = count(existsSync(report) ? await readFile(report, "utf8") : "");
    // A file that cannot be loaded, or a crash, is not in the report; Bun's exit code knows of it.
    if (!isFine && counts.failed === 0) counts.failed = 1;
    if (isFine && counts.passed === 0) failed.push("Tests (none ran)");
    const skipped = counts.skipped > 0 ? `, ${counts.skipped} skipped` : "";
    const part = isWhole ? "" : " (long tests in part; all: npm test -- --all)";
    return `${counts.passed} passed, ${counts.failed} failed${skipped}${part}`;
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}

/** The totals that JUnit's outermost element carries; its `tests` include those that failed or were skipped. */
function count(junit: string) {
  const totals = /<testsuites [^>]*>/.exec(junit)?.[0] ?? "";
  const total = (name: string) => Number(new RegExp(` ${name}="(\\d+)"`).exec(totals)?.[1] ?? 0);
  const [failures, skipped] = [total("failures"), total("skipped")];
  return { passed: total("tests") - failures - skipped, failed: failures, skipped };
}
