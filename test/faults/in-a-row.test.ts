/** Several failures in a row of the same request: the push goes on from where it stood each time. */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { answer, type Fault, reset } from "../../dev/faults/fault.ts";
import { allOf, faultAt } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import { requireParts } from "../support/parts.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { CHUNK_BYTES, layerOfChunks, type PreparedImage, prepareImage, pushImage } from "./prepared-image.ts";
import { dockerTarget, type PushTarget, strictTarget, whatDiffers } from "./push-target.ts";

setDefaultTimeout(120_000);

let folder: TemporaryFolder;
let image: PreparedImage;
beforeAll(async () => {
  folder = await temporaryFolder();
  image = await prepareImage(folder.path, "in-a-row", [layerOfChunks("in a row", 4)]);
});
afterAll(() => folder[Symbol.asyncDispose]());

const [BUSY, BEFORE, AFTER] = [answer(503), reset("before"), reset("after")];
/** Once the registry has closed the upload, the blob is there: what comes after `AFTER` is met by nobody. */
const AT_CLOSE: readonly (readonly Fault[])[] = [
  [BUSY, BUSY, BUSY],
  [BEFORE, BEFORE, BEFORE],
  [BUSY, BEFORE, AFTER],
  [BEFORE, BUSY, AFTER],
  [BUSY, AFTER],
  [BEFORE, AFTER],
];

/** Pushes through faults that the first requests of a kind meet. */
async function pushThrough(
  target: PushTarget,
  repository: string,
  kind: RequestKind,
  faults: readonly Fault[],
) {
  await using proxy = await startFaultProxy({
    upstreamHost: target.upstreamHost,
    plan: allOf(...faults.map((fault, i) => faultAt(kind, i + 1, fault))),
    blobBytes: image.layers.map(({ descriptor }) => descriptor.size),
  });
  const flags = ["--parallel", "1", "--chunk-size", `${CHUNK_BYTES}`];
  await pushImage(image, `${proxy.host}/${repository}:v1`, flags, target.env);
  return {
    differs: await whatDiffers(target, repository, image),
    met: proxy.requests.flatMap(({ fault }) => fault ?? []),
    againBytes: proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0) - image.sentBytes,
  };
}

const sequences = AT_CLOSE.map((faults, i) => ({
  name: faults.map(({ name }) => name).join(", "),
  faults,
  i,
}));

describe.concurrent("a push to the strict registry", () => {
  test.each(sequences)(
    "succeeds, and sends nothing twice, where the closing PUT meets $name",
    async ({ faults }) => {
      await using target = await strictTarget();
      const met = faults.map(({ name }) => name);
      const pushed = await pushThrough(target, "team/app", "closing-put", faults);
      expect(pushed).toEqual({ differs: undefined, met, againBytes: 0 });
    },
  );
});

describe.skipIf(!requireParts("docker-registry")).concurrent("a push to docker-registry", () => {
  let target: PushTarget;
  beforeAll(async () => {
    target = await dockerTarget();
  });
  afterAll(() => target[Symbol.asyncDispose]());

  test.each(sequences)(
    "succeeds, and sends nothing twice, where the closing PUT meets $name",
    async ({ faults, i }) => {
      const met = faults.map(({ name }) => name);
      const pushed = await pushThrough(target, `close/${i}`, "closing-put", faults);
      expect(pushed).toEqual({ differs: undefined, met, againBytes: 0 });
    },
  );

  // It knows of no upload by the address before the lost one: each time the blob starts again.
  test("succeeds where four answers to a chunk are lost", async () => {
    const faults = [AFTER, AFTER, AFTER, AFTER];
    const { differs, met } = await pushThrough(target, "lost", "middle-patch", faults);
    expect([differs, met]).toEqual([undefined, faults.map(({ name }) => name)]);
  });
});
