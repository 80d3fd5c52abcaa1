import { prepareLayer, type ReadyBlob } from "../layers/prepare.ts";
import { type Job, reportBlob } from "./job.ts";
import type { PlannedLayer } from "./plan.ts";
import { cachedState } from "./settle.ts";

/**
 * Prepares a layer of a stored source. Throws what `prepareLayer` throws.
 *
 * @param repairs whether to verify a cached blob first, which may be damaged
 */
export async function makeStored(planned: PlannedLayer, job: Job, repairs = false): Promise<ReadyBlob> {
  const { layer } = planned;
  if (layer === undefined) throw new Error(`The source has no content for ${planned.title}.`);
  const totalBytes = layer.content.size;
  let doneBytes = 0;
  const compresses = layer.compression === "none" && job.pool !== undefined;
  return job.making.run(totalBytes ?? 0, async () => {
    const ready = await prepareLayer(layer, {
      ...job,
      repairs,
      onProgress(bytes) {
        doneBytes = bytes;
        reportBlob(job, planned, { state: compresses ? "compressing" : "verifying", doneBytes, totalBytes });
      },
      onWaiting: () => reportBlob(job, planned, { state: "awaiting-compress" }),
    });
    const sizeBytes = ready.blob.descriptor.size;
    if (ready.origin === "cache") reportBlob(job, planned, cachedState(ready.blob));
    else if (ready.guard === undefined)
      reportBlob(job, planned, {
        state: "ready",
        how: compresses ? "compressed" : "verified",
        totalBytes: totalBytes ?? doneBytes,
        sizeBytes,
      });
    return ready;
  });
}
