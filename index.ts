#!/usr/bin/env bun
/**
 * chunkpush pushes a container image to a registry in chunks, for registries that refuse big request bodies.
 *
 * This file is the script, the `bin` and the library. `push()` is the whole push, `main()` runs a command.
 */
import { bringBlobs } from "./src/push/bring.ts";
import { openJob } from "./src/push/job.ts";
import { openJobSource } from "./src/push/open-source.ts";
import type { Pushed, PushOptions } from "./src/push/options.ts";
import { passOn } from "./src/push/pass-on.ts";
import { startPlan } from "./src/push/plan.ts";
import { publish } from "./src/push/publish.ts";
import { readStream, type Source } from "./src/push/read-stream.ts";
import { guardSource } from "./src/push/stale-source.ts";
import { connectTargets } from "./src/push/target.ts";

export { type ErrorCode, PushError } from "./src/errors.ts";
export type { Pushed, PushLogin, PushOptions } from "./src/push/options.ts";
export type { PushEvent, Report } from "./src/report/events.ts";

/**
 * Pushes an image. Layers are compressed and uploaded side by side. An engine that keeps them compressed pushes them
 * itself, to a local registry of ours that forwards them. The manifest goes last, when the registry has every blob: a
 * failed push tags nothing. Throws `PushError`.
 *
 * @example
 * ```ts
 * import { push } from "chunkpush";
 *
 * const { reference, digest } = await push({
 *   source: "output.tar",
 *   target: "registry.example.com/my/app:v1",
 *   login: { credentials: { username: "me", password } },
 *   report: (event) => {
 *     if (event.type === "blob" && event.state === "done") console.log(event.title, event.how);
 *   },
 * });
 * console.log(`${reference}@${digest}`);
 * ```
 */
export async function push(options: PushOptions): Promise<Pushed> {
  await using job = await openJob({
    ...options,
    engineEnvironment: options.engineEnvironment ?? process.env,
  });
  const guard = guardSource(job);
  const [targets, opened] = await job.all([connectTargets(job), openJobSource(job)]);
  const all: Pushed[] = [];
  let source: Source | undefined;
  for (const { target, job: own } of targets) {
    const passed = source === undefined ? await passOn(opened, target, own) : undefined;
    if (passed === undefined) {
      if (source === undefined) {
        source = await readStream(opened, target, own);
        await guard.before(source);
      }
      const plan = startPlan(source, target, own);
      const blobs = bringBlobs(plan, own);
      all.push(await publish(plan, blobs, own));
    } else all.push(passed);
  }
  await guard.after();
  const [first, ...others] = all;
  return { ...(first as Pushed), ...(others.length > 0 && { others }) };
}

/** Runs the command of the arguments. @returns the exit code */
async function main(): Promise<number> {
  const { runCommand } = await import("./src/cli/run.ts");
  return runCommand(process.argv.slice(2), process, push);
}

if (import.meta.main) process.exit(await main());
