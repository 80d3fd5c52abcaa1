import { setTimeout as sleep } from "node:timers/promises";
import { PushError, statusOf } from "../errors.ts";
import { formatBytes } from "../format.ts";
import { pushScope } from "../registry/auth/scope.ts";
import { exchange } from "../registry/http/send.ts";
import type { Call, Registry, Repository } from "../registry/registry.ts";
import { isSizeRefused, isUnsupported } from "../registry/upload/body-refusal.ts";
import { assertChunkLimits, type ChunkLimits, chooseChunkSize } from "../registry/upload/chunk-size.ts";
import { goesWhole } from "../registry/upload/plan-chunks.ts";
import { askUpload, sendChunk, type UploadSession } from "../registry/upload/session.ts";
import { seededBytes } from "./seeded-bytes.ts";
import type { Finding } from "./steps.ts";
import { startTrial, type TrialUpload } from "./trial-upload.ts";

/**
 * The size of the first trial chunk. serverless-registry refuses a chunk under 5 MiB that is not smaller than the one before,
 * so the next chunks are smaller.
 */
const TRIAL_BYTES = 512 * 1024;

/** The wait after a cut request, in which a registry may notice the cut. */
const NOTICE_MS = 300;

/** Checks the credentials. Throws as `exchange` if the registry or its token server refuses them. */
export async function checkLogin(
  registry: Registry,
  name: string,
  who: { readonly username: string | undefined; readonly from: string | undefined },
  call: Call,
): Promise<Finding> {
  const request = {
    method: "GET",
    url: new URL(`${registry.origin}/v2/`),
    scopes: name === "" ? [] : [pushScope(name)],
  } as const;
  await exchange({ registry, name }, request, [200, 404], call);
  const { username, from } = who;
  if (username === undefined) return { state: "ok", text: "anonymous", facts: { anonymous: true } };
  const text = from === undefined ? username : `${username} (${from})`;
  return { state: "ok", text, facts: { username, from } };
}

/** Begins an upload, because registries check the right to push then. The caller cancels it. */
export async function checkPush(
  at: Repository,
  call: Call,
): Promise<Finding & { readonly value: TrialUpload }> {
  const upload = await startTrial(at, call);
  const { host, origin } = upload.session.location;
  const elsewhere = origin === at.registry.origin ? "" : `; uploads go to ${host}`;
  return { state: "ok", text: `allowed to ${at.name}${elsewhere}`, value: upload };
}

/** Says how large the chunks of a push would be, and why. Throws `REGISTRY_UNSUPPORTED` as a push does. */
export function checkChunks(registry: Registry, limits: ChunkLimits, wishBytes: number | undefined): Finding {
  assertChunkLimits(limits, registry.origin);
  const { learned } = registry;
  const chunkOn = (bytesPerSecond: number) =>
    chooseChunkSize(0, wishBytes, limits, learned.maxBodyBytes, bytesPerSecond);
  const [leastBytes, mostBytes] = [chunkOn(0), chunkOn(Number.POSITIVE_INFINITY)];
  const isWhole = goesWhole(registry);
  const facts = {
    ...limits,
    rememberedMaxBytes: learned.maxBodyBytes,
    chunkBytes: isWhole ? undefined : mostBytes,
  };
  const told = `; ${announced(limits)}`;
  if (isWhole) {
    const text = `none: each layer in 1 request, because a chunk was refused in an earlier push${told}`;
    return { state: "ok", text, facts };
  }
  const size =
    leastBytes === mostBytes ? `${formatBytes(mostBytes)} each` : `up to ${formatBytes(mostBytes)}`;
  if (wishBytes !== undefined && wishBytes !== mostBytes) {
    const than = wishBytes > mostBytes ? "more" : "less";
    return {
      state: "limited",
      text: `${size}: --chunk-size ${formatBytes(wishBytes)} is ${than} than the registry allows${told}`,
      hint: "Leave --chunk-size out: chunkpush uses what the registry allows.",
      facts,
    };
  }
  const isLearned = (learned.maxBodyBytes ?? Number.POSITIVE_INFINITY) <= mostBytes;
  const why = [
    wishBytes !== undefined && ", by --chunk-size",
    isLearned && ", because a larger request was refused in an earlier push",
    leastBytes !== mostBytes && ", as the link allows",
  ].find(Boolean);
  return { state: "ok", text: `${size}${why || ""}${told}`, facts };
}

function announced({ minBytes, maxBytes }: ChunkLimits): string {
  if (minBytes === undefined && maxBytes === undefined) return "no limits announced";
  if (maxBytes === undefined) return `announced: at least ${formatBytes(minBytes ?? 0)}`;
  if (minBytes === undefined) return `announced: at most ${formatBytes(maxBytes)}`;
  return `announced: ${formatBytes(minBytes)} to ${formatBytes(maxBytes)}`;
}

/** Turns a refusal into undefined. Throws other errors, and the signal's reason. */
function refusedAs({ signal }: Call) {
  return (error: unknown) => {
    signal.throwIfAborted();
    if (error instanceof PushError) return undefined;
    throw error;
  };
}

/** Sends a chunk, cuts the next one off in the middle, and resumes at the offset that the registry reports. */
export async function checkResume(at: Repository, upload: TrialUpload, call: Call): Promise<Finding> {
  const { learned } = at.registry;
  const size = Math.min(
    TRIAL_BYTES,
    upload.limits.maxBytes ?? TRIAL_BYTES,
    learned.maxBodyBytes ?? TRIAL_BYTES,
  );
  const chunk = new Blob([seededBytes(size)]);
  let sent: UploadSession;
  try {
    sent = await sendChunk(at, upload.session, chunk, () => {}, call);
  } catch (error) {
    const isTooLarge = isSizeRefused(error);
    if (!isTooLarge && !isUnsupported(error)) throw error;
    return {
      state: "limited",
      text: `the registry refuses a chunk of ${formatBytes(size)} (PATCH answers ${statusOf(error) ?? "nothing"})`,
      hint: isTooLarge
        ? "chunkpush tries smaller chunks. Find the limit with --upload 1MB."
        : "chunkpush sends each layer in one request there. An interrupted layer starts over.",
      facts: { resumes: false, status: statusOf(error) },
    };
  }
  upload.session = sent;
  const cut = new AbortController();
  const signal = AbortSignal.any([call.signal, cut.signal]);
  const breakOff = (end: number) => {
    if (end > size / 2) cut.abort(new PushError("CONNECTION_LOST", "The check broke the chunk off."));
  };
  await sendChunk(at, sent, chunk.slice(0, (size * 3) / 4), breakOff, { ...call, signal }).catch(() =>
    call.signal.throwIfAborted(),
  );
  // Some registries, such as zot, delete an upload whose request was cut.
  await sleep(NOTICE_MS, undefined, call).catch(() => call.signal.throwIfAborted());
  const current = await askUpload(at, sent, call);
  upload.session = current ?? sent;
  const isAtOffset = current !== undefined && current.offset >= size;
  // Gitea reports the right offset, but refuses the next chunk.
  const next =
    isAtOffset &&
    (await sendChunk(at, current, chunk.slice(0, size / 4), () => {}, call).catch(refusedAs(call)));
  if (next) {
    upload.session = next;
    const text = "an interrupted layer resumes where it stopped";
    return { state: "ok", text, facts: { resumes: true } };
  }
  return {
    state: "limited",
    text: "the registry forgets interrupted uploads",
    hint: "An interrupted layer starts over at this registry. Ctrl-C lets running chunks end, which avoids that.",
    facts: { resumes: false },
  };
}
