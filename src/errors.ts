/** What went wrong, in one word that scripts and tests can rely on. */
export type ErrorCode =
  | "USAGE"
  | "RUNTIME_TOO_OLD"
  | "INTERRUPTED"
  | "REFERENCE_INVALID"
  | "DIGEST_INVALID"
  | "SOURCE_NOT_FOUND"
  | "SOURCE_AMBIGUOUS"
  | "ENGINE_MISSING"
  | "ENGINE_UNREACHABLE"
  | "ENGINE_FAILED"
  | "IMAGE_NOT_FOUND"
  | "IMAGE_INVALID"
  | "ARCHIVE_INVALID"
  | "CONTENT_MISMATCH"
  | "FILE_FAILED"
  | "CACHE_IN_USE"
  | "PASSWORD_MISSING"
  | "LOGIN_INVALID"
  | "CREDENTIAL_HELPER_FAILED"
  | "CONNECTION_REFUSED"
  | "CONNECTION_LOST"
  | "HOST_UNKNOWN"
  | "STALLED"
  | "TLS_UNTRUSTED"
  | "TLS_EXPECTED"
  | "TLS_UNEXPECTED"
  | "REDIRECT_REFUSED"
  | "TOKEN_FAILED"
  | "UNAUTHORIZED"
  | "DENIED"
  | "BODY_TOO_LARGE"
  | "BLOB_TOO_LARGE"
  | "REGISTRY_FAILED";

/**
 * A failure that the user can understand and act on. The message says what was tried and what is wrong; the
 * hint says what to do. Anything else that reaches `main` is a bug of ours.
 */
export class PushError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** What the message speaks of, an item a line: the choices, say. */
  readonly details: readonly string[];

  constructor(
    code: ErrorCode,
    message: string,
    options: { hint?: string; details?: readonly string[]; cause?: unknown } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "PushError";
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? [];
  }
}

/** What a registry answered, beyond its status: the parts that a caller may decide on. */
type Answer = {
  readonly status: number;
  /** Error codes of the distribution spec, such as `BLOB_UNKNOWN`. */
  readonly specCodes: readonly string[];
  /** Every digest that the answer mentions, such as those of blobs that it misses. */
  readonly namedDigests: readonly string[];
  readonly headers: Headers;
  /** The URL that was asked, against which a relative `Location` resolves. */
  readonly url: string;
};

/** A registry answered, but not with what the request wanted. */
export class RegistryError extends PushError {
  readonly answer: Answer;

  constructor(code: ErrorCode, message: string, answer: Answer, options: { hint?: string } = {}) {
    super(code, message, options);
    this.name = "RegistryError";
    this.answer = answer;
  }
}

/** 0 is done; 1 failed; 2 wrong use; 130 interrupted, as shells have it (128 + SIGINT). */
export function exitCodeOf(error: unknown): 1 | 2 | 130 {
  if (!(error instanceof PushError)) return 1;
  if (error.code === "INTERRUPTED") return 130;
  return error.code === "USAGE" || error.code === "REFERENCE_INVALID" ? 2 : 1;
}

/** The text of anything that was thrown. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

const REMEDIES: Readonly<Record<string, string>> = {
  ENOSPC: "The disk is full: make room",
  EDQUOT: "The disk quota is used up: make room",
  EACCES: "Check the permissions",
  EPERM: "Check the permissions",
  EROFS: "The file system is read-only",
  ENOTDIR: "Something on the way is not a folder",
  EEXIST: "Something on the way is not a folder",
  ENOENT: "Check its name, and that nothing removes it meanwhile",
};

/**
 * Says what could not be done to a file, and what to do about it. What is not the system's error passes through.
 *
 * @param alternative another way out, such as `or choose another folder with --cache-dir`
 */
export function fileError(cause: unknown, action: string, alternative?: string): unknown {
  const isFromSystem = cause instanceof Error && "syscall" in cause && "code" in cause;
  if (!isFromSystem) return cause;
  const hint = [REMEDIES[String(cause.code)], alternative].filter(Boolean).join(", ");
  return new PushError("FILE_FAILED", `Cannot ${action}: ${messageOf(cause)}`, {
    cause,
    ...(hint !== "" && { hint: `${hint}.` }),
  });
}

/** The way out of whatever is wrong with the cache's folder. */
export const OTHER_CACHE = "or choose another folder with --cache-dir";
