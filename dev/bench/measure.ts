import { forgetPeaks, treeUse } from "./processes.ts";

export type Command = {
  readonly argv: readonly string[];
  /** In place of this process's own, of which only PATH is kept. */
  readonly env: Readonly<Record<string, string>>;
  readonly cwd: string;
  /** Daemons that do its work, whose use counts as its own. */
  readonly daemons?: readonly number[];
};

/** What a command has cost. */
export type Cost = {
  readonly wallMs: number;
  /** User and system, of all cores, children and daemons included. */
  readonly cpuMs: number;
  /** The most memory of the client and what it started, at once or not. Undefined where /proc is missing. */
  readonly peakRssBytes: number | undefined;
  /** The same of the daemons. */
  readonly daemonRssBytes: number | undefined;
  /** Given to the disk to write, registry not included: by /proc's account, so cached writes count, too. */
  readonly writtenBytes: number | undefined;
};

/** How a command that failed ended, in its own words. */
export class CommandFailed extends Error {}

const SAMPLE_MS = 50;

/**
 * Runs a command to its end, and measures it. Throws `CommandFailed`.
 *
 * The peak of memory is read from /proc while it runs: what the kernel tells at the end (`ru_maxrss`) begins with the
 * memory of this process, which was the child's own until it became another program. The last 50 ms may be missing.
 */
export async function measure({ argv, env, cwd, daemons = [] }: Command): Promise<Cost> {
  for (const daemon of daemons) await forgetPeaks(daemon);
  const before = await useOf(daemons);
  const started = performance.now();
  const child = Bun.spawn([...argv], {
    cwd,
    env: { PATH: process.env["PATH"] ?? "", ...env },
    stdin: "ignore",
    stdout: "pipe",
    stderr: "pipe",
  });
  const onExit = () => child.kill();
  process.on("exit", onExit);
  let [peakRssBytes, writtenBytes] = [0, 0];
  const sample = async () => {
    const use = await treeUse(child.pid);
    peakRssBytes = Math.max(peakRssBytes, use.peakRssBytes);
    writtenBytes = Math.max(writtenBytes, use.writtenBytes);
  };
  let wallMs = 0;
  const ended = Promise.all([child.stdout.text(), child.stderr.text(), child.exited.then(stopTheClock)]);
  function stopTheClock(code: number) {
    wallMs = performance.now() - started;
    return code;
  }
  while (child.exitCode === null && child.signalCode === null) {
    await sample();
    await Promise.race([child.exited, Bun.sleep(SAMPLE_MS)]);
  }
  const [stdout, stderr, code] = await ended;
  process.off("exit", onExit);
  if (code !== 0) throw new CommandFailed(lastWords(`${stdout}\n${stderr}`) || `It ended with ${code}.`);
  const after = await useOf(daemons);
  const hasDaemons = daemons.length > 0;
  return {
    wallMs,
    cpuMs: Number(child.resourceUsage()?.cpuTime.total ?? 0) / 1000 + after.cpuMs - before.cpuMs,
    peakRssBytes: peakRssBytes || undefined,
    daemonRssBytes: hasDaemons ? after.peakRssBytes : undefined,
    writtenBytes:
      peakRssBytes === 0
        ? undefined
        : writtenBytes + (hasDaemons ? after.writtenBytes - before.writtenBytes : 0),
  };
}

async function useOf(pids: readonly number[]) {
  const uses = await Promise.all(pids.map(treeUse));
  return {
    peakRssBytes: uses.reduce((sum, use) => sum + use.peakRssBytes, 0),
    cpuMs: uses.reduce((sum, use) => sum + use.cpuMs, 0),
    writtenBytes: uses.reduce((sum, use) => sum + use.writtenBytes, 0),
  };
}

/** The error is at the end; progress comes before it. */
function lastWords(output: string): string {
  const lines = output.trim().split("\n");
  const error = lines.findLastIndex((line) => /^error\b|level=(?:fatal|error)/i.test(line));
  return lines
    .slice(error >= 0 ? error : -2)
    .join(" ")
    .trim()
    .slice(0, 400);
}
