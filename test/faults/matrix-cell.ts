import { answer, type Fault } from "../../dev/faults/fault.ts";
import { allOf, faultAlways, faultAt, type Plan } from "../../dev/faults/plan.ts";
import { startFaultProxy } from "../../dev/faults/proxy.ts";
import { PushError } from "../../src/errors.ts";
import type { Column } from "./matrix-columns.ts";
import type { MatrixRow } from "./matrix-rows.ts";
import { CHUNK_BYTES, type PreparedImage, pushImage } from "./prepared-image.ts";
import { type PushTarget, whatDiffers } from "./push-target.ts";

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
    upstreamHost: target.upstreamHost,
    plan: planOf(row, column, fault, target),
    blobBytes: image.layers.map(({ descriptor }) => descriptor.size),
  });
  target.sendForTokens(`${proxy.url}/token`);
  const flags = ["--parallel", "1", "--chunk-size", `${CHUNK_BYTES}`, "--stall-timeout", "2"];
  const retries = ["--retries", row.isPermanent ? "1" : "5"];
  const pushing = pushImage(image, `${proxy.host}/${repository}:v1`, [...flags, ...retries], target.env);
  const outcome = await pushing.then(() => "ok", codeOf);

  const faulty = proxy.requests.filter((request) => request.fault !== undefined);
  const isMet = faulty.some(({ kind, fault: name }) => kind === column.kind && name === fault.name);
  if (!isMet) return `${outcome}, but no fault was met`;
  if (outcome !== "ok") return outcome;
  const differs = await whatDiffers(target, repository, image);
  if (differs !== undefined) return `pushed, but there is ${differs}`;
  const sentBytes = proxy.requests.reduce((sum, { bodyBytes }) => sum + bodyBytes, 0);
  const layerBytes = image.layers.reduce((sum, { descriptor }) => sum + descriptor.size, 0);
  const againBytes = target.resumes && !row.restartsBlob ? CHUNK_BYTES : layerBytes;
  const allowedBytes = image.sentBytes + faulty.length * againBytes + (target.refusedBytes ?? 0);
  return sentBytes <= allowedBytes ? "ok" : `ok, but ${sentBytes} bytes of ${allowedBytes}`;
}

function planOf({ isPermanent }: MatrixRow, column: Column, fault: Fault, target: PushTarget): Plan {
  const { kind, name, occurrence } = column;
  const first = kind === "token" ? occurrence : 1;
  const plan = isPermanent ? faultAlways(kind, fault, first) : faultAt(kind, occurrence, fault);
  const cause = causeOf(name, target);
  if (cause === undefined) return plan;
  const chunk =
    column.layout === "4 chunks" ? faultAt("middle-patch", 1, cause) : faultAt("whole-put", 2, cause);
  return allOf(chunk, plan);
}

/** Some requests are made only where something happened to a chunk. */
function causeOf(name: Column["name"], target: PushTarget): Fault | undefined {
  if (name === "upload-status") return answer(503);
  return name === "renewed-token" ? target.tokensExpire : undefined;
}

function codeOf(error: unknown): string {
  return error instanceof PushError ? error.code : `a bug: ${error}`;
}
