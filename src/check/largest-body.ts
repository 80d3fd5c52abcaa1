import { PushError } from "../errors.ts";
import { formatBytes } from "../format.ts";
import { expectStatus } from "../registry/http/expect-status.ts";
import { send } from "../registry/http/send.ts";
import type { Answer } from "../registry/http/send-once.ts";
import { printable, readSpecErrors, titleOf } from "../registry/http/spec-errors.ts";
import type { Call, Repository } from "../registry/registry.ts";
import { chunkRequest, nextLocation } from "../registry/upload/session.ts";
import { seededBytes } from "./seeded-bytes.ts";
import type { Finding } from "./steps.ts";
import { cancelTrial, startTrial, type TrialUpload } from "./trial-upload.ts";

/** The time limit of the whole search. */
const SEARCH_MS = 10_000;

/** The smallest body to try: no proxy has a lower limit. */
const LEAST_BYTES = 64 * 1024;

/** The search ends when the smallest refused body is less than 3 % larger than the largest one that passed. */
const CLOSE_ENOUGH = 1.03;

const BLOCK_BYTES = 1024 * 1024;

/** A refused body, and the server that refused it, as far as the answer names one. */
type Refusal = { readonly bytes: number; readonly by: string; readonly facts: object };

type Trial =
  | { readonly kind: "passed" }
  | { readonly kind: "refused"; readonly refusal: Refusal }
  | { readonly kind: "late"; readonly sentBytes: number };

/**
 * Searches for the largest body that passes, from a size downwards. Sends each body to its own upload, which it cancels.
 * Throws any other failure than a refused body.
 *
 * @param deadline ends the search
 */
export async function checkLargestBody(
  at: Repository,
  mostBytes: number,
  call: Call,
  deadline = AbortSignal.timeout(SEARCH_MS),
): Promise<Finding> {
  const block = seededBytes(Math.min(BLOCK_BYTES, mostBytes));
  const content = new Blob(Array<typeof block>(Math.ceil(mostBytes / block.length)).fill(block));
  let passedBytes = 0;
  let refusal: Refusal | undefined;
  for (let size = mostBytes; ; ) {
    const trial = await tryBody(at, content.slice(0, size), call, deadline);
    if (trial.kind === "late") return late(size, trial.sentBytes, passedBytes, refusal);
    if (trial.kind === "passed") passedBytes = size;
    else refusal = trial.refusal;
    if (refusal === undefined || refusal.bytes <= LEAST_BYTES) break;
    if (passedBytes > 0 && refusal.bytes / passedBytes < CLOSE_ENOUGH) break;
    size = Math.max(LEAST_BYTES, Math.floor((passedBytes + refusal.bytes) / 2));
    if (size === passedBytes) break;
  }
  if (refusal === undefined) {
    return {
      state: "ok",
      text: `a body of ${formatBytes(passedBytes)} passes`,
      facts: { passedBytes, refusedBytes: undefined },
    };
  }
  return found(passedBytes, refusal);
}

function found(passedBytes: number, refusal: Refusal): Finding {
  const facts = { passedBytes, refusedBytes: refusal.bytes, ...refusal.facts };
  const [passed, larger] = [passedBytes, refusal.bytes].map(formatBytes);
  const refused = `${passed === larger ? "a slightly larger one" : larger} is refused by ${refusal.by}`;
  if (passedBytes === 0)
    return {
      state: "failed",
      text: `even a body of ${refused}`,
      hint: "Raise the limit of that server or proxy.",
      facts,
    };
  return {
    state: "ok",
    text: `a body of ${passed} passes; ${refused}`,
    hint: `chunkpush finds the limit by itself. To begin below it: --chunk-size ${chunkSize(passedBytes)}`,
    facts,
  };
}

function late(size: number, sentBytes: number, passedBytes: number, refusal: Refusal | undefined): Finding {
  if (passedBytes > 0 && refusal !== undefined) return found(passedBytes, refusal);
  const refused = refusal === undefined ? "" : `; ${formatBytes(refusal.bytes)} is refused by ${refusal.by}`;
  const isWhole = sentBytes >= size;
  const within = `within ${SEARCH_MS / 1000} s`;
  const body = `a body of ${formatBytes(size)}`;
  const text = isWhole
    ? `${body} was sent, but not answered ${within}`
    : sentBytes === 0
      ? `nothing of ${body} was sent ${within}`
      : `${body} was not refused, but only ${formatBytes(sentBytes)} of it was sent ${within}`;
  return {
    state: sentBytes === 0 ? "limited" : "ok",
    text: `${text}${refused}`,
    ...(!isWhole && { hint: `Try a smaller one: --upload ${chunkSize(Math.max(sentBytes, LEAST_BYTES))}` }),
    facts: { passedBytes, refusedBytes: refusal?.bytes, sentBytes, ...refusal?.facts },
  };
}

/** Writes a size as `--chunk-size` takes it, rounded down. */
function chunkSize(bytes: number): string {
  return bytes >= 10_000_000 ? `${Math.floor(bytes / 1e6)}MB` : `${Math.floor(bytes / 1000)}kB`;
}

async function tryBody(at: Repository, body: Blob, call: Call, deadline: AbortSignal): Promise<Trial> {
  const timed = { ...call, signal: AbortSignal.any([call.signal, deadline]) };
  let upload: TrialUpload | undefined;
  let sentBytes = 0;
  try {
    upload = await startTrial(at, timed);
    const onPiece = (end: number) => {
      sentBytes = end;
    };
    const request = chunkRequest(upload.session, body, onPiece);
    const answer = await send(at, request, timed);
    const { status, headers } = answer;
    if ([200, 201, 202, 204].includes(status)) {
      upload.session = { location: nextLocation(answer, upload.session), offset: body.size };
      return { kind: "passed" };
    }
    const isRefusal = status === 413 || (status === 416 && !headers.has("range"));
    if (!isRefusal) expectStatus(at, request, answer, []);
    return { kind: "refused", refusal: { bytes: body.size, ...refuser(answer, at) } };
  } catch (error) {
    call.signal.throwIfAborted();
    if (deadline.aborted) return { kind: "late", sentBytes };
    const isBroken = error instanceof PushError && error.code === "CONNECTION_LOST";
    // Without an upload, the failure is not about the body.
    if (!isBroken || upload === undefined) throw error;
    const by = "something on the way, which breaks the connection";
    return { kind: "refused", refusal: { bytes: body.size, by, facts: {} } };
  } finally {
    if (upload !== undefined) await cancelTrial(at, upload, call);
  }
}

/** Names the server that refused a body: a registry answers in JSON, a proxy with a page. */
function refuser(answer: Answer, { registry }: Repository) {
  const { status, headers, text } = answer;
  const secrets = registry.auth.secrets();
  const header = (name: string) => printable(headers.get(name) ?? "", secrets) || undefined;
  const server = header("server");
  const ray = header("cf-ray");
  const title = titleOf(answer, secrets);
  const isRegistry = readSpecErrors(text).length > 0;
  const by = [
    ray !== undefined ? "Cloudflare" : isRegistry ? "the registry" : (server ?? "a server without a name"),
    `(${[status, title && `"${title}"`, ray && `cf-ray ${ray}`].filter(Boolean).join(", ")})`,
  ].join(" ");
  return { by, facts: { status, server, cfRay: ray, title } };
}
