import { answer } from "../../dev/faults/fault.ts";
import { allOf, faultAlways, faultAt, type Plan } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import { PushError } from "../../src/errors.ts";
import type { MatrixRow } from "./matrix-rows.ts";
import { CHUNK_BYTES, type PreparedImage, pushImage } from "./prepared-image.ts";
import { pushImpatiently } from "./push-impatiently.ts";
import { type PushTarget, whatDiffers } from "./push-target.ts";

/** A column of the matrix. */
export type Column = {
  readonly layout: "4 chunks" | "single PUT";
  readonly kind: RequestKind;
  /** Which request of its kind. The config goes up first, and alone: a second one is the layer's. */
  readonly occurrence: number;
};

const EVERY_PUSH = [
  { kind: "ping", occurrence: 1 },
  { kind: "head-blob", occurrence: 2 },
  { kind: "start-upload", occurrence: 2 },
  { kind: "upload-status", occurrence: 1 },
  { kind: "put-manifest", occurrence: 1 },
] as const;

/** What a push consists of, for a layer in chunks and one in a single PUT. */
export const COLUMNS: readonly Column[] = [
  ...EVERY_PUSH.map((each) => ({ layout: "4 chunks", ...each }) as const),
  { layout: "4 chunks", kind: "first-patch", occurrence: 1 },
  { layout: "4 chunks", kind: "middle-patch", occurrence: 1 },
  { layout: "4 chunks", kind: "last-patch", occurrence: 1 },
  { layout: "4 chunks", kind: "closing-put", occurrence: 1 },
  ...EVERY_PUSH.map((each) => ({ layout: "single PUT", ...each }) as const),
  { layout: "single PUT", kind: "whole-put", occurrence: 2 },
];

/** Pushes an image through a proxy with one fault. @returns `ok`, an error's code, or what is wrong */
export async function runCell(
  row: MatrixRow,
  column: Column,
  image: PreparedImage,
  target: PushTarget,
  repository: string,
): Promise<string> {
  const fault = row.fault(target);
  await using proxy = await startFaultProxy({
    upstreamHost: target.host,
    plan: planOf(row, column, fault),
    blobBytes: image.layers.map(({ descriptor }) => descriptor.size),
  });
  const reference = `${proxy.host}/${repository}:v1`;
  const flags = ["--parallel", "1", "--chunk-size", `${CHUNK_BYTES}`];
  const retries = ["--retries", row.isPermanent ? "1" : "5"];
  const outcome = await (row.isImpatient
    ? pushImpatiently(image, reference)
    : pushImage(image, reference, ...flags, ...retries)
  ).then(() => "ok", codeOf);

  const faulty = proxy.requests.filter((request) => request.fault !== undefined);
  if (!faulty.some((request) => request.kind === column.kind)) return `${outcome}, but no fault was met`;
  if (outcome !== "ok") return outcome;
  const differs = await whatDiffers(target, repository, image);
  if (differs !== undefined) return `pushed, but there is ${differs}`;
  const sentBytes = proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  const layerBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const allowedBytes = image.sentBytes + faulty.length * (target.resumes ? CHUNK_BYTES : layerBytes);
  return sentBytes <= allowedBytes ? "ok" : `ok, but ${sentBytes} bytes of ${allowedBytes}`;
}

/** The status is asked for only where something failed before. */
function planOf(
  { isPermanent }: MatrixRow,
  { kind, layout, occurrence }: Column,
  fault: ReturnType<MatrixRow["fault"]>,
): Plan {
  const plan = isPermanent ? faultAlways(kind, fault) : faultAt(kind, occurrence, fault);
  if (kind !== "upload-status") return plan;
  const cause =
    layout === "4 chunks" ? faultAt("middle-patch", 1, answer(503)) : faultAt("whole-put", 2, answer(503));
  return allOf(cause, plan);
}

function codeOf(error: unknown): string {
  return error instanceof PushError ? error.code : `a bug: ${error}`;
}
