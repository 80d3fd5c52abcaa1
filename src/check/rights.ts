import { setTimeout as sleep } from "node:timers/promises";
import { PushError, statusOf } from "../errors.ts";
import { formatBytes } from "../format.ts";
import { pushScope } from "../registry/auth/scope.ts";
import { exchange } from "../registry/http/send.ts";
import type { Call, Registry, Repository } from "../registry/registry.ts";
import { isSizeRefused, isUnsupported } from "../registry/upload/body-refusal.ts";
import type { ChunkLimits } from "../registry/upload/chunk-size.ts";
import { askUpload, sendChunk, type UploadSession } from "../registry/upload/session.ts";
import { seededBytes } from "./seeded-bytes.ts";
import type { Finding } from "./steps.ts";
import { startTrial, type TrialUpload } from "./trial-upload.ts";

/** Two chunks of at most this size go to the registry. serverless-registry wants each smaller than the one before, if small. */
const TRIAL_BYTES = 512 * 1024;

/** How long a registry may take to notice that a request broke off. */
const NOTICE_MS = 300;

/** Checks the credentials. Throws what the registry, or its token server, refuses. */
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

/** Begins an upload: a registry checks the right to push then. The caller cancels it. */
export async function checkPush(
  at: Repository,
  call: Call,
): Promise<Finding & { readonly value: TrialUpload }> {
  const upload = await startTrial(at, call);
  const { host, origin } = upload.session.location;
  const elsewhere = origin === at.registry.origin ? "" : `; uploads go to ${host}`;
  return { state: "ok", text: `allowed to ${at.name}${elsewhere}`, value: upload };
}

/** Says how large chunks may be. */
export function checkChunks(
  { learned }: Registry,
  { minBytes, maxBytes }: ChunkLimits,
  wishBytes: number | undefined,
): Finding {
  const facts = { minBytes, maxBytes, rememberedMaxBytes: learned.maxBodyBytes };
  const told =
    maxBytes !== undefined
      ? `${formatBytes(minBytes ?? 0)} to ${formatBytes(maxBytes)} announced`
      : minBytes !== undefined
        ? `at least ${formatBytes(minBytes)} announced`
        : "no limits announced; chunks of up to 100 MB are used";
  const remembered =
    learned.maxBodyBytes === undefined
      ? ""
      : `; an earlier push learned that bodies over ${formatBytes(learned.maxBodyBytes)} are refused`;
  const isTooLarge = wishBytes !== undefined && maxBytes !== undefined && wishBytes > maxBytes;
  if (!isTooLarge) return { state: "ok", text: `${told}${remembered}`, facts };
  return {
    state: "limited",
    text: `${told}; --chunk-size ${formatBytes(wishBytes)} is more`,
    hint: "Leave --chunk-size out: chunkpush uses what the registry allows.",
    facts,
  };
}

/** A refusal by the registry is undefined. */
function refusedAs({ signal }: Call) {
  return (error: unknown) => {
    signal.throwIfAborted();
    if (error instanceof PushError) return undefined;
    throw error;
  };
}

/** Sends a chunk, breaks the next one off in the middle, and goes on from where the registry says. */
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
  // Some registries delete an upload when they notice the cut.
  await sleep(NOTICE_MS, undefined, call).catch(() => call.signal.throwIfAborted());
  const current = await askUpload(at, sent, call);
  upload.session = current ?? sent;
  const isAtOffset = current !== undefined && current.offset >= size;
  // Gitea tells an offset, and refuses to go on from there.
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
