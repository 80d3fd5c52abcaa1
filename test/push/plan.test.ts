/** The plan of a push: what it settles on, and that it changes nothing at the registry. */

import { expect, test } from "bun:test";
import { join } from "node:path";
import { push } from "../../index.ts";
import { openJob } from "../../src/push/job.ts";
import { openJobSource } from "../../src/push/open-source.ts";
import { startPlan } from "../../src/push/plan.ts";
import { connectTarget } from "../../src/push/target.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

const layers = [1, 2].map((seed) => seededLayer(5000, seed));

test("A plan that settles on mounts has neither sent nor mounted anything", async () => {
  await using folder = await temporaryFolder();
  await using registry = await startTestRegistry();
  const source = join(folder.path, "output.tar");
  await Bun.write(source, dockerArchive(layers, ["team/base:v1"]).archive);
  const cacheDirectory = join(folder.path, "first-cache");
  await push({ source, target: `${registry.host}/team/base:v1`, cacheDirectory });
  const before = registry.requests.length;

  await using job = await openJob({
    source,
    target: `${registry.host}/team/app:v1`,
    cacheFrom: [{ repository: "team/base", tag: "v1" }],
    cacheDirectory: join(folder.path, "second-cache"),
  });
  const opened = await openJobSource(job);
  if (opened.access === "stream") throw new Error("This should be read in place.");
  const plan = startPlan(opened, await connectTarget(job), job);
  const steps = await Promise.all([...plan.others, ...plan.layers].map(({ settled }) => settled));

  expect(steps.map(({ step }) => step)).toEqual(["send", "mount", "mount"]);
  const methods = new Set(registry.requests.slice(before).map(({ method }) => method));
  expect([...methods].toSorted()).toEqual(["GET", "HEAD"]);
  expect(job.count).toMatchObject({ sentBytes: 0, presentBytes: 0, bodies: 0 });
});
