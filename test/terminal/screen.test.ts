/** The screen of a push, as a person sees it: the real program in a real terminal, through a slow link. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { answer, type Fault, slowLink } from "../../dev/faults/fault.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { cliCommand } from "../support/run-cli.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { ENDED, openTerminal, type TerminalOptions } from "./tmux.ts";

setDefaultTimeout(120_000);

const IMAGE = dockerArchive(
  [seededLayer(20_000, 1), seededLayer(400_000, 2), seededLayer(300_000, 3)],
  ["my/app:v1"],
);

/** An archive of two images without layers. */
const TWO_IMAGES = tarBytes([
  ...["a", "b"].map((name) => ({ path: `${name}.json`, body: configOf(name) })),
  {
    path: "manifest.json",
    body: JSON.stringify(
      ["a", "b"].map((name) => ({ Config: `${name}.json`, RepoTags: [`${name}:v1`], Layers: [] })),
    ),
  },
]);

function configOf(name: string): string {
  return JSON.stringify({ architecture: "amd64", os: "linux", rootfs: { diff_ids: [] }, name });
}

type SceneOptions = Partial<TerminalOptions> & {
  readonly bytesPerSecond?: number;
  /** For each chunk of a large layer, by its number. */
  readonly faultAt?: (chunk: number) => Fault | undefined;
  readonly archive?: Uint8Array;
  readonly credentials?: { readonly username: string; readonly password: string };
};

/** A folder with an image, and a slow way to a registry. */
async function setUp({
  bytesPerSecond = 250_000,
  faultAt,
  archive,
  credentials,
  ...options
}: SceneOptions = {}) {
  const resources = new AsyncDisposableStack();
  const { path: cwd } = resources.use(await temporaryFolder());
  const registry = resources.use(await startTestRegistry(credentials && { credentials }));
  const link = slowLink({ bytesPerSecond, latencyMs: 5 });
  const proxy = resources.use(
    await startFaultProxy({
      upstreamHost: () => registry.host,
      plan: ({ kind, occurrence }) =>
        (kind === "middle-patch" ? faultAt?.(occurrence) : undefined) ??
        (kind.endsWith("patch") || kind.endsWith("put") ? link : undefined),
    }),
  );
  await Bun.write(join(cwd, "output.tar"), archive ?? IMAGE.archive);
  const terminal = resources.use(await openTerminal({ columns: 80, rows: 24, cwd, ...options }));
  const target = `${proxy.host}/my/app:v1`;
  const push = (before = "true") =>
    terminal.run(
      `${before}; sh -c 'echo $$ > pid; exec "$@"' sh ${cliCommand(["--parallel", "2", target]).join(" ")}`,
    );
  const pid = async () => Number(await Bun.file(join(cwd, "pid")).text());
  return { terminal, target, push, pid, registry, [Symbol.asyncDispose]: () => resources.disposeAsync() };
}

/** Replaces what differs from run to run. */
function masked(lines: readonly string[], target: string): string[] {
  return lines.map((line) =>
    line
      .replaceAll(target, "TARGET")
      .replace(/\d+(?:\.\d+)? [kM]?B\/s/g, "RATE")
      .replace(/\d+(?:\.\d+)? s\b/g, "TIME")
      .replace(/sha256:[0-9a-f]+|\b[0-9a-f]{12}\b/g, "DIGEST")
      .trimEnd(),
  );
}

/** Waits until a process is gone. */
async function expectEnd(pid: number): Promise<void> {
  for (let looks = 0; looks < 400; looks++) {
    try {
      process.kill(pid, 0);
    } catch {
      return;
    }
    await sleep(50);
  }
  throw new Error(`The process ${pid} still runs.`);
}

const oneOf = (lines: readonly string[], word: RegExp) => lines.filter((line) => word.test(line)).length;

describeWith("tmux", "A push on a terminal", () => {
  test.concurrent("is drawn in place on 80 columns, and leaves its rows and its sums", async () => {
    await using scene = await setUp();
    await scene.push();
    const running = await scene.terminal.until(/^↑ .* [1-9]\d? % .*B\/s$[\s\S]*^ *[1-9]\d? % /m);
    expect(running[0]).toBe(`my/app:v1 → ${scene.target}`);
    expect(running.join("\n")).toMatch(/^↑ [0-9a-f]{12} +\d+ kB {2}■*◧□* +\d+ %/m);
    expect(oneOf(running, /^ *\d+ % {2}[█░]/)).toBe(1);
    expect(await scene.terminal.isCursorShown()).toBe(false);

    const ended = masked(await scene.terminal.until(ENDED), scene.target);
    expect(ended.map((line) => line.replace(/\d+(?:\.\d)? kB/g, "SIZE").replace(/ +/g, " "))).toEqual([
      "my/app:v1 → TARGET",
      "output.tar, just now · linux/amd64 · 3 layers, SIZE · anonymous",
      "",
      "✓ DIGEST SIZE TIME",
      "✓ DIGEST SIZE TIME",
      "✓ DIGEST SIZE TIME",
      "✓ Pushed in TIME: SIZE sent",
      " Largest request SIZE. docker push would have needed one of SIZE.",
      "TARGET@DIGEST",
      "ended 0",
      "ready",
    ]);
    expect(await scene.terminal.isCursorShown()).toBe(true);
  });

  test.concurrent.each([
    [40, 15],
    [200, 50],
    [80, 6],
  ])("has no line that wraps on %d columns and %d rows", async (columns, rows) => {
    await using scene = await setUp({ columns, rows });
    await scene.push();
    const running = await scene.terminal.until(/^ *[1-9]\d? % .*(?: of |\/)/m);
    for (const line of running) expect(Bun.stringWidth(line)).toBeLessThanOrEqual(columns);
    const ended = await scene.terminal.until(ENDED);
    expect(oneOf(ended, /Pushed in/)).toBe(1);
  });

  test.concurrent("shows the last character of a line that is as wide as the terminal", async () => {
    await using scene = await setUp({ columns: 20, rows: 15 });
    await scene.push();
    const [head = ""] = await scene.terminal.until(/^↑ /m);
    expect(head).toBe(`${`→ ${scene.target}`.slice(0, 19)}…`);
  });

  test.concurrent("leaves no remains of old frames if the terminal changes its size in the middle", async () => {
    await using scene = await setUp({ columns: 120, rows: 30, bytesPerSecond: 120_000 });
    // tmux moves the topmost lines out of the screen where others break.
    await scene.push("seq 8");
    await scene.terminal.until(/^↑ /m);
    for (const [columns, rows] of [
      [60, 20],
      [42, 24],
      [100, 24],
    ] as const) {
      await scene.terminal.resize(columns, rows);
      // A frame of the new size.
      const bar =
        columns < 60
          ? /^\d+ % {2}/m
          : new RegExp(`^ *\\d+ % {2}[█▏▎▍▌▋▊▉░]{${Math.min(60, Math.max(8, columns - 56))}} `, "m");
      const lines = await scene.terminal.until(bar);
      expect(oneOf(lines, /→/), lines.join("\n")).toBe(1);
      expect(oneOf(lines, /^ *\d+ % {2}/), lines.join("\n")).toBe(1);
    }
    const ended = await scene.terminal.until(ENDED);
    expect(oneOf(ended, /→/), ended.join("\n")).toBe(1);
    expect(oneOf(ended, /^✓ [0-9a-f]{12} /)).toBe(3);
  });

  test.concurrent("stays below the lines before it if the terminal becomes wider", async () => {
    await using scene = await setUp({ columns: 60, rows: 24, bytesPerSecond: 120_000 });
    await scene.push("seq 8");
    await scene.terminal.until(/^↑ /m);
    await scene.terminal.resize(100, 24);
    const lines = await scene.terminal.until(/^ *\d+ % {2}[█▏▎▍▌▋▊▉░]{44} /m);
    expect(lines.slice(0, 9).join()).toBe(`1,2,3,4,5,6,7,8,my/app:v1 → ${scene.target}`);
    expect(oneOf(lines, /^ *\d+ % {2}/), lines.join("\n")).toBe(1);
  });

  test.concurrent("shows a retry as the state of a row", async () => {
    await using scene = await setUp({ faultAt: (chunk) => (chunk === 2 ? answer(503) : undefined) });
    await scene.push();
    await scene.terminal.until(/^↻ [0-9a-f]{12} .*▣.* retry 1\/8 (?:in \d s|now) \(503\)$/m);
    const ended = await scene.terminal.until(ENDED);
    expect(ended.join("\n")).toMatch(/✓ Pushed in .* sent, 1 retry/);
  });

  test.concurrent("stops at Ctrl-C, shows what the registry has, and resumes with the same command", async () => {
    await using scene = await setUp({ bytesPerSecond: 120_000 });
    await scene.push();
    await scene.terminal.until(/^↑ .*■/m);
    await scene.terminal.press("C-c");
    const stopped = (await scene.terminal.until(ENDED)).join("\n");
    expect(stopped).toMatch(
      /^Interrupted: .* are safe at the registry\.\n {2}Run the same command to resume\.$/m,
    );
    expect(stopped).toContain("ended 130");
    expect(await scene.terminal.isCursorShown()).toBe(true);

    await scene.push();
    await scene.terminal.until(/^Resumed: .* already in the registry, .* to send\.$/m);
    const ended = (await scene.terminal.until(ENDED)).join("\n");
    expect(ended).toMatch(/^✓ [0-9a-f]{12} .* resumed at .*; sent /m);
    expect(ended).toContain("ended 0");
  });

  test.concurrent("ends at once at the second Ctrl-C, and shows the cursor again", async () => {
    await using scene = await setUp({ bytesPerSecond: 15_000 });
    await scene.push();
    await scene.terminal.until(/^↑ .*◧/m);
    await scene.terminal.press("C-c");
    await scene.terminal.until("Ctrl-C again to stop now.");
    await scene.terminal.press("C-c");
    await scene.terminal.until("ended 130");
    expect(await scene.terminal.isCursorShown()).toBe(true);
  });

  test.concurrent("leaves the terminal to the shell at Ctrl-Z, and continues below", async () => {
    await using scene = await setUp({ bytesPerSecond: 120_000 });
    await scene.push();
    await scene.terminal.until(/^↑ .*◧/m);
    await scene.terminal.press("C-z");
    await scene.terminal.until("Stopped");
    expect(await scene.terminal.isCursorShown()).toBe(true);
    await scene.terminal.run("fg");
    const ended = await scene.terminal.until(/^ended 0$/m);
    expect(oneOf(ended, /^✓ Pushed in /)).toBe(1);
    expect(oneOf(ended, /→/)).toBe(1);
    expect(await scene.terminal.isCursorShown()).toBe(true);
  });

  test.concurrent("ends with its terminal, and leaves nothing running", async () => {
    await using scene = await setUp({ bytesPerSecond: 120_000 });
    await scene.push();
    await scene.terminal.until(/^↑ .*◧/m);
    const pid = await scene.pid();
    await scene.terminal.close();
    await expectEnd(pid);
  });

  test.concurrent("shows the cursor again after a failure and after SIGTERM", async () => {
    await using scene = await setUp({ bytesPerSecond: 60_000, faultAt: () => answer(403) });
    await scene.push();
    expect((await scene.terminal.until(ENDED)).join("\n")).toContain("[DENIED]");
    expect(await scene.terminal.isCursorShown()).toBe(true);

    await using other = await setUp({ bytesPerSecond: 30_000 });
    await other.push();
    await other.terminal.until(/^↑ .*◧/m);
    process.kill(await other.pid(), "SIGTERM");
    expect((await other.terminal.until(ENDED)).join("\n")).toContain("ended 143");
    expect(await other.terminal.isCursorShown()).toBe(true);
  });

  test.concurrent("asks for the password and the image first, and its frames have no remains of the questions", async () => {
    const credentials = { username: "me", password: "hush-Xq7" };
    await using scene = await setUp({ archive: TWO_IMAGES, credentials, env: { USERNAME_REGISTRY: "me" } });
    await scene.push();
    await scene.terminal.until("Password of me");
    await scene.terminal.type(credentials.password);
    await scene.terminal.until("Which image");
    expect(await scene.terminal.isCursorShown()).toBe(false);
    await scene.terminal.press("Down", "Enter");
    const ended = await scene.terminal.until(ENDED);
    const text = ended.join("\n");
    expect(text).toContain("ended 0");
    expect(text).not.toContain(credentials.password);
    expect(oneOf(ended, /^✓ Pushed in /)).toBe(1);
    expect(oneOf(ended, /logged in as me/)).toBe(1);
    expect(await scene.terminal.isCursorShown()).toBe(true);
  });
});
