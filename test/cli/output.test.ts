/** Much output, and a reader that is slower than the push. */
import { expect, test } from "bun:test";
import { join } from "node:path";
import { cliEnvironment } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

const LINES = 5000;

// Hundreds of kilobytes, which no pipe holds.
const SCRIPT = `
  import { runCommand } from ${JSON.stringify(join(import.meta.dir, "../../src/cli/run.ts"))};
  const push = async ({ report, target: [{ tag }] }) => {
    for (let i = 0; i < ${LINES}; i++)
      report({ type: "notice", code: "BODY_REFUSED", id: "x", title: "layer " + "x".repeat(80), bodyBytes: i });
    if (tag === "failing") throw new Error("at the end");
    const pushed = { reference: "r".repeat(500_000), digest: "sha256:the-end", sentBytes: 0, presentBytes: 0 };
    report({ type: "pushed", ...pushed, durationMs: 0 });
    if (tag === "half") throw new Error("at the second target");
    return pushed;
  };
  process.exit(await runCommand(["image.tar", "localhost:1/my/app:" + process.argv[2]], process, push));`;

/** Runs the script with a shell's loop as the reader, which reads byte by byte. */
async function runSlowly(tag: string, pipe: string): Promise<string> {
  await using folder = await temporaryFolder();
  await Bun.write(join(folder.path, "script.ts"), SCRIPT);
  const reader = `while IFS= read -r line; do printf '%s\\n' "$line"; done`;
  const child = Bun.spawn(["sh", "-c", `"${process.execPath}" script.ts ${tag} ${pipe} | ${reader}`], {
    cwd: folder.path,
    env: cliEnvironment({ cwd: folder.path, env: { SKIP_AUTH: "1" } }),
    stdout: "pipe",
    stderr: "ignore",
  });
  return await child.stdout.text();
}

test("A slow reader of standard error gets every line before chunkpush ends, the failure last", async () => {
  const lines = (await runSlowly("failing", "2>&1 >/dev/null")).trimEnd().split("\n");
  expect(lines.filter((line) => line.includes("layer xxx"))).toHaveLength(LINES);
  expect(lines.join()).toContain("at the end");
});

test("A slow reader of standard output gets all of it before chunkpush ends", async () => {
  expect(await runSlowly("passing", "2>/dev/null")).toEndWith("@sha256:the-end\n");
});

test("Standard output has the published targets if a later one fails", async () => {
  expect(await runSlowly("half", "2>/dev/null")).toEndWith("@sha256:the-end\n");
});
