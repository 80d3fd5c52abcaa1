import { statusOf } from "../../errors.ts";
import type { Descriptor } from "../../oci/descriptor.ts";
import { backOff, NO_FAILURES } from "../../retry.ts";
import { retryAfterMs } from "../http/transient.ts";
import { unlessAborted } from "../http/unless-aborted.ts";
import type { Repository } from "../registry.ts";
import type { Turn } from "../slots.ts";
import { assertSize, noteUpload } from "./begin.ts";
import { suspectBodyLimit } from "./body-refusal.ts";
import { LEAST_LINK_BYTES } from "./chunk-size.ts";
import { isCut, isPassing, isThere, maySessionBeDead } from "./failures.ts";
import type { Outgoing } from "./outgoing.ts";
import { adaptChunks, goesWhole, planChunks } from "./plan-chunks.ts";
import { sendInTurn, type TurnOptions } from "./send-in-turn.ts";
import {
  askUpload,
  closeUpload,
  giveUp,
  isServerlessRegistry,
  sendChunk,
  sessionFromRefusal,
  startUpload,
  type Upload,
  type UploadSession,
} from "./session.ts";

/** The time that is added to the stall timeout of the closing PUT: serverless-registry copies the whole blob. */
const CLOSE_MS_PER_MB = 300;

/** The limit on sending a blob again because the server has all of it, but cannot assemble it. */
const MAX_DEATHS = 2;

/** The failures of one chunk at one offset, the last of them a 500, after which the session is abandoned. */
const MAX_STUCK = 3;

/** The progress that resets the retries: a 416 might move the offset by a byte at a time. */
const LEAST_PROGRESS_BYTES = 1024 * 1024;

/** A new upload with smaller chunks has to divide their size at least by this. */
const SHRINK_FACTOR = 2;

type Work = ReturnType<typeof workOn>;

/** The state of `finishUpload`. */
function workOn(at: Repository, blob: Outgoing, upload: Upload, options: TurnOptions, turn: Turn) {
  return {
    at,
    blob,
    upload,
    options,
    turn,
    /** Undefined while the blob grows. */
    descriptor: blob.descriptor,
    /** The end of the furthest chunk that was read from the blob. */
    reach: upload.session.offset,
    /** The furthest offset that the server had in this session. */
    furthest: upload.session.offset,
    /** Failures since the last progress. */
    failures: NO_FAILURES,
    /** The furthest offset at the last progress. */
    secured: upload.session.offset,
    restarts: 0,
    /** Whether the last request was the closing PUT. */
    isClosing: false,
    /** Whether to use a PATCH even if the blob fits one chunk. */
    isSplit: at.registry.learned.emptyPuts,
    /** Closing PUTs of this session that failed as if it were dead. */
    closeFailures: 0,
    deaths: 0,
    /** Failures of the chunk at this offset. */
    stuck: 0,
    /** Broken connections in a row before the server had any byte. */
    cuts: 0,
  };
}

/**
 * Sends the rest of a blob, and closes the upload. All retries of an upload session happen here: after a failure, asks the
 * server for its offset, and resumes there. Each chunk, or MiB of one, resets the retries. If the first chunk is lost, and
 * was too large for the link, begins a new upload with smaller ones.
 *
 * @param upload changes with every chunk
 * @returns the blob's descriptor
 */
export async function finishUpload(
  at: Repository,
  blob: Outgoing,
  upload: Upload,
  options: TurnOptions,
  turn: Turn,
): Promise<Descriptor> {
  const { retries } = at.registry;
  const work = workOn(at, blob, upload, options, turn);
  for (;;) {
    try {
      const descriptor = await sendRest(work);
      if (work.isSplit) at.registry.learned.emptyPuts = true;
      return descriptor;
    } catch (error) {
      options.signal.throwIfAborted();
      const mayGoOn = work.failures.count < retries.count && isPassing(error);
      if (mayGoOn) work.failures = await backOff(retries, work.failures, error, retryAfterMs(error), options);
      const { descriptor } = work;
      if (work.isClosing && descriptor && (await isThere(at, descriptor.digest, error, mayGoOn, options)))
        return descriptor;
      if (!mayGoOn) throw error;
      await findPlace(work, error);
    }
  }
}

/** Sends all chunks from the session's offset on, and closes the upload. Sends a blob that fits one chunk in one PUT. */
async function sendRest(work: Work): Promise<Descriptor> {
  const { at, upload } = work;
  work.isClosing = false;
  while (work.descriptor === undefined || upload.session.offset < work.descriptor.size) {
    if (adaptChunks(at.registry, upload, work.descriptor?.size, work.options.chunkBytes))
      await beginAnew(work, upload.session);
    const { session } = upload;
    const chunk = await readChunk(work);
    if (session.offset === 0 && chunk.size === work.descriptor?.size && !work.isSplit)
      return close(work, work.descriptor, chunk);
    if (chunk.size === 0) break;
    const next = await sendInTurn(work, session.offset, chunk.size, (onPiece, call) =>
      sendChunk(at, session, chunk, onPiece, call),
    );
    await moveTo(work, next);
  }
  if (work.descriptor === undefined) throw new Error("A blob has ended, and has no descriptor.");
  return close(work, work.descriptor);
}

/** Reads the chunk at the session's offset. Sets the descriptor if it is the last one. */
async function readChunk(work: Work): Promise<Blob> {
  const { at, blob, upload, options, turn } = work;
  const { offset } = upload.session;
  const wholeBytes = upload.chunkBytes;
  const isFixed = isServerlessRegistry(upload.session) || goesWhole(at.registry);
  const { minBytes = 0 } = upload.limits;
  const leastBytes = isFixed ? wholeBytes : Math.min(wholeBytes, Math.max(LEAST_LINK_BYTES, minBytes));
  // Read one byte more, to learn whether this chunk is the last one.
  const slice = blob.slice(offset, offset + wholeBytes + 1, offset + leastBytes + 1);
  const reading = unlessAborted(slice, options.signal);
  const ahead = blob.grows ? await turn.idle(reading) : await reading;
  if (ahead.size <= leastBytes) work.descriptor ??= await unlessAborted(blob.end, options.signal);
  const chunk = ahead.slice(0, wholeBytes);
  work.reach = Math.max(work.reach, offset + chunk.size);
  if (blob.descriptor === undefined) assertSize({ size: work.reach }, upload.session, options);
  const isLast = work.reach === work.descriptor?.size;
  // A refusal is about this body.
  if (!isFixed && !isLast && chunk.size > 0) upload.chunkBytes = chunk.size;
  return chunk;
}

/** PUT: closes the upload, with the whole blob or after all chunks. */
async function close(work: Work, descriptor: Descriptor, content?: Blob): Promise<Descriptor> {
  const { at, upload } = work;
  const { digest, size } = descriptor;
  const timeoutMs = at.registry.stallTimeoutMs + (size / 1_000_000) * CLOSE_MS_PER_MB;
  work.isClosing = true;
  await sendInTurn(work, 0, content?.size ?? 0, (onPiece, call) =>
    closeUpload(at, upload.session, digest, timeoutMs, call, content && { content, onPiece }),
  );
  return descriptor;
}

/** Sets a new place of the upload. Only bytes that the server did not have before count as progress. */
async function moveTo(work: Work, session: UploadSession): Promise<void> {
  const { at, upload, descriptor, options } = work;
  upload.session = session;
  options.onProgress(session.offset, session.offset, upload.chunkBytes);
  work.furthest = Math.max(work.furthest, session.offset);
  const gainedBytes = work.furthest - work.secured;
  const missingBytes = (descriptor?.size ?? Number.POSITIVE_INFINITY) - work.secured;
  if (gainedBytes > 0 && gainedBytes >= Math.min(upload.chunkBytes, LEAST_PROGRESS_BYTES, missingBytes)) {
    work.secured = work.furthest;
    work.failures = NO_FAILURES;
    work.stuck = 0;
  }
  if (descriptor !== undefined) await noteUpload(at, descriptor, upload);
}

/** Asks for the upload's offset after a failure. Begins anew if the session is forgotten, dead, or its chunks too large. */
async function findPlace(work: Work, error: unknown): Promise<void> {
  const { at, upload, options } = work;
  if (!work.isClosing) work.stuck++;
  else if (maySessionBeDead(error)) work.closeFailures++;
  work.isSplit ||= isBodyRefused(work, error);
  const sizeBytes = work.descriptor?.size ?? work.reach;
  const chunkEnd = Math.min(upload.session.offset + upload.chunkBytes, sizeBytes);
  const current = sessionFromRefusal(error) ?? (await askUpload(at, upload.session, options, chunkEnd));
  const hasNothing = work.furthest === 0 && !current?.offset;
  const bodyBytes = Math.min(upload.chunkBytes, sizeBytes);
  work.cuts = isCut(error) && hasNothing ? work.cuts + 1 : 0;
  suspectBodyLimit(error, bodyBytes, work.cuts, upload.limits.minBytes);
  const plannedBytes = planChunks(at.registry, work.descriptor?.size, options.chunkBytes, upload.limits);
  const isTooLarge = hasNothing && plannedBytes * SHRINK_FACTOR <= bodyBytes;
  // After a failed close, serverless-registry still reports the offset of the dead session.
  const isDead = work.closeFailures > 1;
  // Gitea's session is dead once a body was cut.
  const isStuck = statusOf(error) === 500 && work.stuck >= Math.min(MAX_STUCK, at.registry.retries.count);
  if (current !== undefined && current.offset <= sizeBytes && !isDead && !isStuck && !isTooLarge) {
    await moveTo(work, current);
    return;
  }
  // A restart that loses no bytes is limited by the retries alone.
  const isOver = isDead
    ? ++work.deaths > MAX_DEATHS
    : work.furthest > 0 && ++work.restarts > at.registry.retries.count;
  if (isOver) throw error;
  if (isTooLarge) {
    // Use another session: this one may have a chunk after all, and R2 requires equal chunks.
    upload.chunkBytes = plannedBytes;
    work.cuts = 0;
  }
  await beginAnew(work, current);
}

/** Cancels the session, unless the server has forgotten it, and begins another. */
async function beginAnew(work: Work, current: UploadSession | undefined): Promise<void> {
  const { at, upload, options } = work;
  work.furthest = 0;
  work.secured = 0;
  work.closeFailures = 0;
  work.stuck = 0;
  if (current !== undefined) await giveUp(at, { ...upload, session: current }, options);
  const started = await startUpload(at, options);
  upload.isRecalled = false;
  await moveTo(work, started);
}

/** Tells whether the registry may refuse all PUTs with a body: the Rust registry answers 500 in every session. */
function isBodyRefused({ at, upload, furthest, isClosing, deaths }: Work, error: unknown): boolean {
  if (!isClosing || furthest > 0 || deaths === 0 || statusOf(error) !== 500) return false;
  return at.registry.learned.wholePuts !== "only" && !isServerlessRegistry(upload.session);
}
