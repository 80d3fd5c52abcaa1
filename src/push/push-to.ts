import type { OpenedSource, Source } from "../source/open.ts";
import { type BroughtBlobs, bringBlobs } from "./bring.ts";
import type { Job } from "./job.ts";
import { passOn } from "./pass-on.ts";
import { type Plan, startPlan } from "./plan.ts";
import { type Pushed, publish } from "./publish.ts";
import { readStream } from "./read-stream.ts";
import type { ConnectedTarget, Target } from "./target.ts";

/**
 * Pushes to one target after the other. A repository gets the blobs once, and a manifest for each target in it. Throws what
 * the first failing target throws: earlier ones have their tags then.
 */
export async function pushToAll(targets: readonly ConnectedTarget[], opened: OpenedSource): Promise<Pushed> {
  const begun = new Map<Target, readonly [Plan, BroughtBlobs]>();
  const all: Pushed[] = [];
  let source: Source | undefined;
  for (const { target, job } of targets) {
    const passed = source === undefined ? await passOn(opened, target, job) : undefined;
    if (passed !== undefined) {
      all.push(passed);
      continue;
    }
    source ??= await readStream(opened, target, job);
    const [plan, blobs] = begun.get(target) ?? begin(startPlan(source, target, job), job);
    begun.set(target, [plan, blobs]);
    all.push(await publish(plan, blobs, job));
  }
  const [first, ...others] = all;
  return { ...(first as Pushed), ...(others.length > 0 && { others }) };
}

function begin(plan: Plan, job: Job): [Plan, BroughtBlobs] {
  job.report({
    type: "planned",
    blobs: [...plan.others, ...plan.layers].map(({ id, title }) => ({ id, title })),
  });
  return [plan, bringBlobs(plan, job)];
}
