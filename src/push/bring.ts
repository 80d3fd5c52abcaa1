import type { ReadyBlob } from "../layers/prepare.ts";
import type { RegistryBlob } from "../oci/descriptor.ts";
import { tryMount, uploadKey } from "../registry/upload/begin.ts";
import { dropCachedLayer } from "../store/layers.ts";
import { recallUpload } from "../store/upload-notes.ts";
import { callOf, type Job } from "./job.ts";
import { makeStored } from "./make-stored.ts";
import { makeStreamed, remakeStreamed, type Saves, startSaves } from "./make-streamed.ts";
import type { Plan, PlannedBlob, PlannedLayer } from "./plan.ts";
import { bringReady, isDamaged, present, readyAsStored, type Sendable, sendReady } from "./send.ts";
import { configName, findConfig, type Step } from "./settle.ts";
import type { Brought } from "./target.ts";

/** Blobs up to this size, such as configs and attestations, are sent first. */
const SMALL_BYTES = 1024 * 1024;

/** The blobs of a plan, on their way to the registry. */
export type BroughtBlobs = {
  /** Each promise resolves when the registry has the blob. */
  readonly all: ReadonlyMap<PlannedBlob, Promise<Brought>>;
  /** Sends a blob that the registry wrongly reported as present. Its descriptor may change. */
  sendAgain(blob: PlannedBlob): Promise<Brought>;
};

/** Starts to mount, prepare and send every missing blob: small ones first, then the largest. Publishes no manifest. */
export function bringBlobs(plan: Plan, job: Job): BroughtBlobs {
  const begun = new Map(plan.layers.map((layer) => [layer, beginLayer(layer, plan, job)]));
  const saves = plan.source.access === "save" ? startSaves(plan.source, plan, toMake(begun), job) : undefined;
  const all = new Map<PlannedBlob, Promise<Brought>>();
  for (const [layer, step] of begun) all.set(layer, bringLayer(layer, step, saves, plan, job));
  for (const blob of plan.others) all.set(blob, bringOther(blob, saves, plan, job));
  // The promise of a failed blob throws the error as well.
  reportSettled([...begun.values(), ...plan.others.map(({ settled }) => settled)], plan, job).catch(() => {});
  return {
    all,
    async sendAgain(blob) {
      const ready = await obtain(blob, saves, plan, job);
      return sendReady(ready, blob, plan.target, job, { mayMount: false });
    },
  };
}

/** The remaining work for a layer after its mount was tried. */
type Begun = { readonly step: "done"; readonly brought: Brought } | Extract<Step, { step: "send" | "make" }>;

async function beginLayer(layer: PlannedLayer, { target }: Plan, job: Job): Promise<Begun> {
  const step = await layer.settled;
  if (step.step === "send" || step.step === "make") return step;
  const { descriptor } = step;
  const from = step.step === "mount" ? step.from : undefined;
  if (from !== undefined && !(await tryMount(target.at, descriptor, from, callOf(job, layer))))
    return { step: "make" };
  return { step: "done", brought: present(descriptor, layer, job, from) };
}

/** Reports that all blobs are settled, and how many bytes of the missing ones earlier pushes have sent. */
async function reportSettled(
  pending: readonly Promise<Begun | Step>[],
  { target: { at } }: Plan,
  { report }: Job,
): Promise<void> {
  const steps = await Promise.all(pending);
  const noted = steps.map(async (step) => {
    if (step.step !== "send") return 0;
    const upload = await recallUpload(at.registry.notes, uploadKey(at, step.ready.blob.descriptor.digest));
    return upload?.offset ?? 0;
  });
  const resumableBytes = (await Promise.all(noted)).reduce((sum, each) => sum + each, 0);
  report({ type: "settled", resumableBytes });
}

/** Returns the layers to make, once all have begun. */
async function toMake(begun: ReadonlyMap<PlannedLayer, Promise<Begun>>): Promise<PlannedLayer[]> {
  const steps = await Promise.all(begun.values());
  return [...begun.keys()].filter((_, i) => steps[i]?.step === "make");
}

async function bringLayer(
  layer: PlannedLayer,
  begun: Promise<Begun>,
  saves: Saves | undefined,
  plan: Plan,
  job: Job,
): Promise<Brought> {
  const step = await begun;
  if (step.step === "done") return step.brought;
  const ready =
    step.step === "send"
      ? step.ready
      : saves === undefined
        ? await makeStored(layer, job)
        : await makeStreamed(saves, layer);
  try {
    return await bringReady(ready, layer, plan.target, job, step.step === "send" ? step : {});
  } catch (error) {
    if (!(await isDamaged(error, ready, plan.source, job))) throw error;
    await dropCachedLayer(job.cache, ready.blob);
    return sendReady(await remake(layer, saves, plan, job), layer, plan.target, job);
  }
}

async function bringOther(
  blob: PlannedBlob,
  saves: Saves | undefined,
  plan: Plan,
  job: Job,
): Promise<Brought> {
  const step = await blob.settled;
  if (step.step === "mount") throw new Error("Only layers are mounted.");
  const nameOf = ({ descriptor }: Pick<RegistryBlob, "descriptor">) =>
    blob.stored === undefined ? configName({ descriptor }) : blob;
  if (step.step === "present") return present(step.descriptor, nameOf(step), job);
  if (step.step === "make" && saves === undefined) throw new Error("Nobody makes the config.");
  const ready: Sendable =
    step.step === "send" ? step.ready : { blob: await (saves as Saves).config, origin: "source" };
  // Small blobs go first: a user without push rights then fails after a few bytes.
  const { size } = ready.blob.descriptor;
  const priority = size <= SMALL_BYTES ? Number.POSITIVE_INFINITY : size;
  return bringReady(ready, nameOf(ready.blob), plan.target, job, { ...step, priority });
}

/** Returns the content of a blob that the registry wrongly reported as present. */
async function obtain(blob: PlannedBlob, saves: Saves | undefined, plan: Plan, job: Job): Promise<Sendable> {
  const layer = plan.layers.find((each) => each === blob);
  if (layer !== undefined) return remake(layer, saves, plan, job);
  if (blob.stored !== undefined) return readyAsStored(blob.stored, blob.title, job.signal);
  const config = (await findConfig(plan.layers, plan, job)) ?? (await (saves as Saves).config);
  return { blob: config, origin: "source" };
}

async function remake(
  layer: PlannedLayer,
  saves: Saves | undefined,
  { source }: Plan,
  job: Job,
): Promise<ReadyBlob> {
  if (saves !== undefined) return remakeStreamed(saves, layer);
  if (source.access === "any") await source.again?.();
  return makeStored(layer, job, true);
}
