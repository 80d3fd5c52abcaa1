import { readdir, readFile, writeFile } from "node:fs/promises";

/** What Linux tells of processes in /proc. Of one that has ended, or on another system, it tells nothing. */
export type ProcessUse = {
  /** The most memory that it has had at once, since it was started or its peak was forgotten. */
  readonly peakRssBytes: number;
  /** Of itself, and of those of its children that have ended and were waited for. */
  readonly cpuMs: number;
  readonly writtenBytes: number;
};

/** A tick is a hundredth of a second on every Linux that Bun runs on. */
const TICK_MS = 10;

/** A process and all below it. */
export async function processTree(pid: number): Promise<number[]> {
  // Each thread has children of its own, and in Go any of them starts programs.
  const threads = await readdir(`/proc/${pid}/task`).catch(unlessGone);
  const lists = await Promise.all(
    (threads ?? []).map((thread) => readProc(`${pid}/task/${thread}/children`)),
  );
  const children = lists.flatMap((list) => (list ?? "").split(" ").filter(Boolean).map(Number));
  return [pid, ...(await Promise.all(children.map(processTree))).flat()];
}

export async function processUse(pid: number): Promise<ProcessUse | undefined> {
  const [status, stat, io] = await Promise.all(
    ["status", "stat", "io"].map((file) => readProc(`${pid}/${file}`)),
  );
  const peak = /^VmHWM:\s+(\d+) kB$/m.exec(status ?? "")?.[1];
  if (peak === undefined || stat === undefined) return undefined;
  // The command's name, in brackets, may have spaces in it. The 14th to 17th field are times.
  const times = stat
    .slice(stat.lastIndexOf(")") + 2)
    .split(" ")
    .slice(11, 15)
    .map(Number);
  return {
    peakRssBytes: Number(peak) * 1024,
    cpuMs: times.reduce((sum, ticks) => sum + ticks, 0) * TICK_MS,
    writtenBytes: Number(/^write_bytes: (\d+)$/m.exec(io ?? "")?.[1] ?? 0),
  };
}

/** The sum of what a process and all below it have used. */
export async function treeUse(pid: number): Promise<ProcessUse> {
  const uses = await Promise.all((await processTree(pid)).map(processUse));
  const sum = { peakRssBytes: 0, cpuMs: 0, writtenBytes: 0 };
  for (const use of uses) {
    sum.peakRssBytes += use?.peakRssBytes ?? 0;
    sum.cpuMs += use?.cpuMs ?? 0;
    sum.writtenBytes += use?.writtenBytes ?? 0;
  }
  return sum;
}

/** Lets the peak of a daemon's memory begin anew with what it has now: proc(5), clear_refs. */
export async function forgetPeaks(pid: number): Promise<void> {
  // A process that ends meanwhile has no peak to forget.
  for (const each of await processTree(pid))
    await writeFile(`/proc/${each}/clear_refs`, "5").catch(unlessGone);
}

function readProc(path: string): Promise<string | undefined> {
  return readFile(`/proc/${path}`, "utf8").catch(unlessGone);
}

function unlessGone(error: NodeJS.ErrnoException): undefined {
  if (error.code !== "ENOENT" && error.code !== "ESRCH") throw error;
}
