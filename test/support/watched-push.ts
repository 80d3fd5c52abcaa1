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
