import { PushError } from "../errors.ts";
import type { Descriptor } from "../oci/descriptor.ts";
import type { Digest } from "../oci/digest.ts";
import type { Repository } from "../registry/registry.ts";
import { BLOB_TYPE } from "../registry/upload/growing-file.ts";
import type { NamedBlob } from "../registry/upload/outgoing.ts";
import { refuse, respond, within } from "./answers.ts";
import type { Context, Session } from "./context.ts";
import { openSpoolFile, type SpoolFile } from "./spool.ts";
import { sendGrowing, sendNamed } from "./transfer.ts";

/** The limit on open uploads. More are an accident or an attack. */
const MAX_SESSIONS = 1000;

/** A smaller blob is sent when it is complete, in one request and with its digest. */
const LEAST_GROWING_BYTES = 5 * 1024 * 1024;

/** Opens an upload session of a client. @returns a refusal if it cannot */
async function openSession(context: Context, name: string, at: Repository): Promise<Session | Response> {
  const file = await openSpoolFile(context.spool);
  // Check this once the file is open: many requests may wait for theirs, and the proxy may have ended meanwhile.
  const hasEnded = context.signal.aborted;
  if (hasEnded || context.sessions.size >= MAX_SESSIONS) {
    await file[Symbol.asyncDispose]();
    return hasEnded
      ? refuse(503, "UNAVAILABLE", "The proxy has ended.")
      : refuse(503, "TOOMANYREQUESTS", "Too many uploads at a time.");
  }
  const session: Session = {
    id: crypto.randomUUID(),
    name,
    at,
    file,
    transfer: undefined,
    abandon: new AbortController(),
    isBusy: false,
    isOver: false,
    idle: undefined,
  };
  context.sessions.set(session.id, session);
  rest(context, session);
  return session;
}

/** POST without a digest: begins an upload. */
export async function beginSession(context: Context, name: string, at: Repository): Promise<Response> {
  const session = await openSession(context, name, at);
  return session instanceof Response ? session : progressOf(session, 202);
}

/** POST with a digest: takes the whole blob. */
export async function takeWhole(
  context: Context,
  name: string,
  at: Repository,
  digest: Digest,
  request: Request,
): Promise<Response> {
  const session = await openSession(context, name, at);
  return session instanceof Response ? session : closeSession(context, session, digest, request);
}

/** PATCH: adds bytes. The client need not send their number. */
export async function addBytes(context: Context, session: Session, request: Request): Promise<Response> {
  if (isElsewhere(session, request)) return refuseRange(session);
  await receive(context, session, request);
  return progressOf(session, 202);
}

/** PUT: adds the last bytes, if any, and closes the upload. It may carry the whole blob. */
export async function closeSession(
  context: Context,
  session: Session,
  digest: Digest,
  request: Request,
): Promise<Response> {
  const { file, name, at } = session;
  if (isElsewhere(session, request)) return refuseRange(session);
  const size = lengthOf(request);
  // The request has the whole blob. Name it now, so that a later push can resume its upload.
  if (file.sizeBytes === 0 && size) {
    file.declare({ mediaType: BLOB_TYPE, digest, size });
    beginNamed(context, session);
  }
  await receive(context, session, request);
  // No other request can close it from here on.
  end(context, session);
  const descriptor = await file.finish(digest).catch((error: unknown) => {
    release(session);
    throw error;
  });
  if (session.transfer === undefined) beginNamed(context, session);
  const commit = context.commits.add(at.name, descriptor, session.transfer as Promise<Descriptor>);
  release(session);
  try {
    await within(context.answerMs, commit.done);
  } catch (error) {
    if (!request.signal.aborted) context.commits.forget(at.name, [digest]);
    throw error;
  }
  // A later failure is reported with the manifest.
  return created(name, descriptor);
}

/** Tells whether a request's bytes do not begin at the upload's offset, or another request adds bytes. */
function isElsewhere({ isBusy, file }: Session, { headers }: Request): boolean {
  const range = headers.get("content-range");
  const [, first] = /^(?:bytes[= ])?(\d{1,15})-\d{1,15}(?:\/.*)?$/.exec(range ?? "") ?? [];
  return isBusy || (range !== null && Number(first) !== file.sizeBytes);
}

function refuseRange(session: Session): Response {
  return refuse(416, "BLOB_UPLOAD_INVALID", "The upload is at another offset.", progressHeaders(session));
}

/** Answers with an upload's offset. */
export function progressOf(session: Session, status: number): Response {
  return respond(status, progressHeaders(session));
}

function progressHeaders({ id, name, file }: Session): Record<string, string> {
  return {
    location: `/v2/${name}/blobs/uploads/${id}`,
    range: `0-${Math.max(0, file.sizeBytes - 1)}`,
    "docker-upload-uuid": id,
  };
}

/** Answers that the registry has a blob. */
export function created(name: string, { digest }: Pick<Descriptor, "digest">): Response {
  const location = `/v2/${name}/blobs/${digest}`;
  return respond(201, { location, "docker-content-digest": digest });
}

/**
 * Drops an upload. Cancels it at the registry if its digest is unknown. Otherwise a later push of the blob resumes it.
 */
export function dropSession(context: Context, session: Session): void {
  end(context, session);
  const reason = new PushError("INTERRUPTED", "The client has cancelled this upload.");
  session.abandon.abort(reason);
  session.file.fail(reason);
  release(session);
}

function end(context: Context, session: Session): void {
  session.isOver = true;
  clearTimeout(session.idle);
  context.sessions.delete(session.id);
}

/** Removes the file once nothing reads it. */
function release({ file, transfer }: Session): void {
  void Promise.allSettled([transfer]).then(() => file[Symbol.asyncDispose]());
}

/** Takes the bytes of a request. Keeps them if the client breaks off, so that it can continue from there. */
async function receive(context: Context, session: Session, request: Request): Promise<void> {
  const { file } = session;
  session.isBusy = true;
  clearTimeout(session.idle);
  try {
    for await (const piece of request.body ?? []) {
      await file.append(piece, request.signal);
      if (session.transfer === undefined && file.sizeBytes >= LEAST_GROWING_BYTES)
        begin(session, sendGrowing(context, session.at, file));
    }
  } catch (error) {
    const mayGoOn = request.signal.aborted && file.descriptor === undefined;
    if (mayGoOn) file.pause();
    else dropSession(context, session);
    throw error;
  } finally {
    session.isBusy = false;
    if (!session.isOver) rest(context, session);
  }
}

function rest(context: Context, session: Session): void {
  session.idle = setTimeout(() => dropSession(context, session), context.idleMs);
}

function beginNamed(context: Context, session: Session): void {
  const { at, file, abandon } = session;
  const signal = AbortSignal.any([context.signal, abandon.signal]);
  begin(session, sendNamed(context, at, file as SpoolFile & NamedBlob, signal));
}

/** Sets a session's transfer, whose failure also ends the client's request. */
function begin(session: Session, transfer: Promise<Descriptor>): void {
  session.transfer = transfer;
  transfer.catch((error: unknown) => session.file.fail(error as Error));
}

/** Returns the exact length of a request's body. Undefined if the client does not send it. */
function lengthOf({ headers }: Request): number | undefined {
  const text = headers.has("transfer-encoding") ? "" : (headers.get("content-length") ?? "");
  return /^\d{1,15}$/.test(text) ? Number(text) : undefined;
}
