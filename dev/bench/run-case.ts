import { createReadStream } from "node:fs";
import { open } from "node:fs/promises";
import type { Case, Contender } from "./cases.ts";
import { CommandFailed, type Cost, measure } from "./measure.ts";
import { openScene, type SceneOptions } from "./scene.ts";

/** One measured run. */
export type Run = Cost & {
  /** What the registry has more than before. */
  readonly storedBytes: number;
  /** What it took the registry, of the same cores: whatever the client does, nobody has these. */
  readonly registryCpuMs: number;
  /** Of bodies that went over the slow link, lost ones included. Undefined: there is none. */
  readonly linkBytes: number | undefined;
};

export type ContenderResult = {
  readonly name: string;
  readonly runs: readonly Run[];
  /** Why it was left out, or how it failed. */
  readonly skipped?: string;
  readonly failed?: string;
};

/** The results of a case; the first that has runs is what the others are measured by. */
export type CaseResult = { readonly title: string; readonly results: readonly ContenderResult[] };

export type RunOptions = Omit<SceneOptions, "isSecure"> & {
  readonly runs: number;
  readonly say: (line: string) => void;
};

/** Lets all contenders run in turn, again and again, each time with an empty registry and empty caches. */
export async function runCase(
  { title, isSecure, contenders }: Case,
  options: RunOptions,
): Promise<CaseResult> {
  const results = contenders.map(({ name, needs }) => ({
    name,
    runs: [] as Run[],
    ...(needs !== undefined && Bun.which(needs) === null && { skipped: `${needs} is not installed` }),
  }));
  for (let run = 1; run <= options.runs; run++) {
    for (const [i, contender] of contenders.entries()) {
      const result: (ContenderResult & { runs: Run[]; failed?: string }) | undefined = results[i];
      if (result === undefined || result.skipped !== undefined || result.failed !== undefined) continue;
      options.say(`${title}: ${contender.name}, ${run} of ${options.runs} …`);
      try {
        result.runs.push(await runOnce(contender, { ...options, isSecure: isSecure ?? false }));
      } catch (error) {
        if (!(error instanceof CommandFailed)) throw error;
        result.failed = error.message;
        options.say(`  failed: ${error.message}`);
      }
    }
  }
  return { title, results };
}

async function runOnce({ prepare, command }: Contender, options: SceneOptions): Promise<Run> {
  await using scene = await openScene(options);
  await prepare?.(scene);
  const storedBefore = await scene.registry.storedBytes();
  const linkBefore = scene.linkBytes();
  await settle(scene.folder);
  const cpuBefore = await scene.registry.cpuMs();
  const cost = await measure(await command(scene));
  const registryCpuMs = (await scene.registry.cpuMs()) - cpuBefore;
  const linkAfter = scene.linkBytes();
  return {
    ...cost,
    registryCpuMs,
    storedBytes: (await scene.registry.storedBytes()) - storedBefore,
    linkBytes: linkAfter === undefined ? undefined : linkAfter - (linkBefore ?? 0),
  };
}

/** Waits until what was prepared is on the disk: nobody is to be measured while it is written. */
async function settle(folder: string): Promise<void> {
  for await (const path of new Bun.Glob("**/*").scan({ cwd: folder, absolute: true, dot: true })) {
    await using file = await open(path);
    await file.sync();
  }
}

/** Reads a file once, so that the first to push it finds it in the system's memory as all others do. */
export async function readAhead(path: string): Promise<void> {
  for await (const _ of createReadStream(path, { highWaterMark: 1 << 20 })) {
  }
}
