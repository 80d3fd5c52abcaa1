import { PushError, RegistryError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { isTransient } from "../registry/http/transient.ts";

const COMMON = { "docker-distribution-api-version": "registry/2.0" };

/** Creates an answer to a client. */
export function respond(
  status: number,
  headers: Readonly<Record<string, string>> = {},
  body: ReadableStream<Uint8Array> | Uint8Array<ArrayBuffer> | string | null = null,
): Response {
  return new Response(body, { status, headers: { ...COMMON, ...headers } });
}

/**
 * Refuses a request with an error of the distribution spec:
 * https://github.com/opencontainers/distribution-spec/blob/v1.1.1/spec.md#error-codes
 */
export function refuse(
  status: number,
  code: string,
  message: string,
  headers: Readonly<Record<string, string>> = {},
): Response {
  const body = JSON.stringify({ errors: [{ code, message }] });
  return respond(status, { "content-type": "application/json", ...headers }, body);
}

/** Creates the answer to a request that failed. Throws an error that is no `PushError`: it is a bug. */
export function refuseFor(error: unknown): Response {
  if (!(error instanceof PushError)) throw error;
  const { status, code } = statusFor(error);
  const message = [error.message, error.hint].filter(Boolean).join(" ");
  return refuse(status, code, toPrintable(message));
}

/** The codes for refusals of the registry without a code. */
const USUAL_CODES: Readonly<Record<number, string>> = {
  403: "DENIED",
  404: "NAME_UNKNOWN",
  405: "UNSUPPORTED",
  413: "SIZE_INVALID",
  415: "MANIFEST_INVALID",
};

function statusFor(error: PushError): { readonly status: number; readonly code: string } {
  if (error instanceof RegistryError) {
    const { status, specCodes } = error.answer;
    // A client without credentials must not ask its user for some.
    if (status === 401 || status === 407) return { status: 403, code: "DENIED" };
    const said = specCodes.find((code) => /^[A-Z_]{1,40}$/.test(code));
    if (status >= 400 && status < 500 && !isTransient(error))
      return { status, code: said ?? USUAL_CODES[status] ?? "UNKNOWN" };
  }
  switch (error.code) {
    case "CONTENT_MISMATCH":
      return { status: 400, code: "DIGEST_INVALID" };
    case "BLOB_TOO_LARGE":
      return { status: 413, code: "SIZE_INVALID" };
    case "IMAGE_INVALID":
    case "IMAGE_INCOMPLETE":
      return { status: 400, code: "MANIFEST_INVALID" };
    case "UNAUTHORIZED":
    case "DENIED":
      return { status: 403, code: "DENIED" };
    case "FILE_FAILED":
      return { status: 507, code: "UNAVAILABLE" };
    default:
      // Do not answer 429: Docker's classic store and skopeo fail at the first one.
      return { status: 503, code: "UNAVAILABLE" };
  }
}

/**
 * Waits for work for a time. Undefined if it takes longer; the work continues.
 *
 * @param ms the longest wait, in milliseconds; may be infinite
 */
export async function within<T>(ms: number, work: Promise<T>): Promise<{ readonly value: T } | undefined> {
  const done = work.then((value) => ({ value }));
  if (!Number.isFinite(ms)) return done;
  let timer: Timer | undefined;
  const late = new Promise<undefined>((resolve) => {
    timer = setTimeout(() => resolve(undefined), ms);
  });
  try {
    return await Promise.race([done, late]);
  } finally {
    clearTimeout(timer);
    // Its failure is reported elsewhere.
    done.catch(() => undefined);
  }
}

/**
 * Matches Docker's containerd store, containerd and BuildKit. Newer versions give up 30 s after the last byte, and retry at
 * once after a 429, six times in all. Other clients wait, and Docker's classic store and skopeo fail at the first 429.
 */
const IMPATIENT = /\b(?:containerd|buildkit)\b/i;

/** Tells whether a client gives up after 30 s. */
export function isImpatient({ headers }: Request): boolean {
  return IMPATIENT.test(headers.get("user-agent") ?? "");
}
