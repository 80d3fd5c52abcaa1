import { watch } from "node:fs";
import { readdir } from "node:fs/promises";
import { type CliOptions, startCli } from "./run-cli.ts";

/** A chunkpush that runs while others look on. */
export type WatchedPush = {
  readonly pid: number;
  /** Waits until it has said something. Rejects where it ends without. */
  says(words: string): Promise<void>;
  /** As nobody can prevent: no farewell. */
  kill(): Promise<void>;
  readonly ended: Promise<{ readonly code: number; readonly stdout: string; readonly stderr: string }>;
};

export function startWatchedPush(args: readonly string[], options: Omit<CliOptions, "input">): WatchedPush {
  const child = startCli(args, options);
  const waiting = new Set<() => void>();
  let stderr = "";
  let hasEnded = false;
  const notify = () => {
    for (const each of waiting) each();
  };
  const reading = (async () => {
    const decoder = new TextDecoder();
    for await (const bytes of child.stderr) {
      stderr += decoder.decode(bytes, { stream: true });
      notify();
    }
    hasEnded = true;
    notify();
  })();
  return {
    pid: child.pid,
    says: (words) =>
      new Promise((resolve, reject) => {
        const look = () => {
          if (stderr.includes(words)) resolve();
          else if (hasEnded) reject(new Error(`It ended without "${words}": ${stderr}`));
          else return;
          waiting.delete(look);
        };
        waiting.add(look);
        look();
      }),
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
    ended: (async () => {
      const [stdout, code] = await Promise.all([child.stdout.text(), child.exited, reading]);
      return { code, stdout, stderr };
    })(),
  };
}

/** Starts a push, waits until a layer is being written, and stops its writer in the middle. */
export async function stopWhileCompressing(folder: string, start: () => WatchedPush): Promise<WatchedPush> {
  const { promise, resolve } = Promise.withResolvers<void>();
  const watcher = watch(folder, (_, name) => {
    if (!name?.startsWith("layer-")) return;
    process.kill(push.pid, "SIGSTOP");
    resolve();
  });
  const push = start();
  await promise;
  watcher.close();
  const unfinished = (await readdir(folder)).filter((name) => name.startsWith("layer-"));
  if (unfinished.length !== 1) throw new Error("The layer was done before its writer was stopped.");
  return push;
}
