/**
 * Identifies a failure for scripts and tests. Codes are stable: scripts depend on them. `docs/errors.md` has a section for
 * each.
 */
export const ERROR_CODES = [
  // The command
  "USAGE",
  "REFERENCE_INVALID",
  "RUNTIME_TOO_OLD",
  "INTERRUPTED",
  // The image
  "SOURCE_NOT_FOUND",
  "SOURCE_AMBIGUOUS",
  "SOURCE_STALE",
  "SOURCE_NOT_IMAGE",
  "ARCHIVE_INVALID",
  "IMAGE_INVALID",
  "IMAGE_INCOMPLETE",
  "IMAGE_NOT_FOUND",
  "CONTENT_MISMATCH",
  "ENGINE_MISSING",
  "ENGINE_UNREACHABLE",
  "ENGINE_FAILED",
  // This machine
  "FILE_FAILED",
  "COMPRESSION_FAILED",
  "CACHE_IN_USE",
  // Credentials
  "PASSWORD_MISSING",
  "LOGIN_INVALID",
  "CREDENTIAL_HELPER_FAILED",
  "TOKEN_FAILED",
  "UNAUTHORIZED",
  "DENIED",
  // The way to the registry
  "HOST_UNKNOWN",
  "CONNECTION_REFUSED",
  "CONNECTION_LOST",
  "STALLED",
  "PROXY_FAILED",
  "TLS_UNTRUSTED",
  "TLS_UNSUPPORTED",
  "TLS_REQUIRED",
  "TLS_CLIENT_CERTIFICATE",
  "REDIRECT_REFUSED",
  // The registry
  "NOT_A_REGISTRY",
  "BODY_TOO_LARGE",
  "BLOB_TOO_LARGE",
  "RATE_LIMITED",
  "REGISTRY_REFUSED",
  "REGISTRY_UNSUPPORTED",
  "REGISTRY_FAILED",
] as const;

export type ErrorCode = (typeof ERROR_CODES)[number];

/**
 * A failure that the user can understand and act on. The message says what failed and why; the hint says what to do.
 * Any other error that reaches `main` is a bug in chunkpush.
 */
export class PushError extends Error {
  readonly code: ErrorCode;
  readonly hint: string | undefined;
  /** A list to print below the message, one item per line, such as the images to choose from. */
  readonly details: readonly string[];
  /** Output of another program, printed only with `--debug` because it may contain a secret. */
  readonly said: string | undefined;

  constructor(
    code: ErrorCode,
    message: string,
    options: {
      hint?: string | undefined;
      details?: readonly string[];
      said?: string | undefined;
      cause?: unknown;
    } = {},
  ) {
    super(message, { cause: options.cause });
    this.name = "PushError";
    this.code = code;
    this.hint = options.hint;
    this.details = options.details ?? [];
    this.said = options.said;
  }
}

/** The parts of a registry's response that callers base decisions on. */
type Answer = {
  readonly status: number;
  /** Error codes of the distribution spec, such as `BLOB_UNKNOWN`. */
  readonly specCodes: readonly string[];
  /** Every digest in the response, such as those of missing blobs. */
  readonly namedDigests: readonly string[];
  readonly headers: Headers;
  /** The URL of the request; a relative `Location` resolves against it. */
  readonly url: string;
};

/** A registry responded with an unexpected status. */
export class RegistryError extends PushError {
  readonly answer: Answer;

  constructor(code: ErrorCode, message: string, answer: Answer, options: { hint?: string } = {}) {
    super(code, message, options);
    this.name = "RegistryError";
    this.answer = answer;
  }
}

/** Returns the status of a registry's answer. Undefined for any other failure. */
export function statusOf(error: unknown): number | undefined {
  return error instanceof RegistryError ? error.answer.status : undefined;
}

/** Maps an error to an exit code: 1 failed; 2 wrong usage; 130 interrupted (128 + SIGINT, as in shells). */
export function exitCodeOf(error: unknown): 1 | 2 | 130 {
  if (!(error instanceof PushError)) return 1;
  if (error.code === "INTERRUPTED") return 130;
  return error.code === "USAGE" || error.code === "REFERENCE_INVALID" ? 2 : 1;
}

/** The advice to resume a push, for messages and hints. */
export const RESUME = "Run the same command to resume.";

/** Returns the message of any thrown value. */
export function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The meaning of the system's error codes, and the remedies. */
const SYSTEM_ERRORS: Readonly<Record<string, readonly [reason: string, remedy: string]>> = {
  ENOSPC: ["the disk is full", "Free some disk space"],
  EDQUOT: ["the disk quota is used up", "Free some disk space"],
  EACCES: ["permission denied", "Check the permissions"],
  EPERM: ["permission denied", "Check the permissions"],
  EROFS: ["the file system is read-only", "Choose a place that can be written to"],
  ENOTDIR: ["a part of its path is not a folder", "Check the path"],
  EISDIR: ["a folder is in the place of a file", "Check the path"],
  EEXIST: ["a part of its path is not a folder", "Check the path"],
  ENOENT: ["there is no such file or folder", "Check the name, and that no other program removes it"],
};

/**
 * Wraps a system error in `FILE_FAILED` with a hint. Returns any other value unchanged.
 *
 * @param alternative another remedy for the hint, such as `choose another folder with --cache-dir`
 */
export function fileError(cause: unknown, action: string, alternative?: string): unknown {
  const isFromSystem = cause instanceof Error && "syscall" in cause && "code" in cause;
  if (!isFromSystem) return cause;
  const [reason, remedy] = SYSTEM_ERRORS[String(cause.code)] ?? [];
  const hint = [remedy, alternative].filter(Boolean).join(", or ");
  const said = reason === undefined ? messageOf(cause) : `${reason} (${cause.code}).`;
  return new PushError("FILE_FAILED", `Cannot ${action}: ${said}`, {
    cause,
    ...(hint !== "" && { hint: `${hint.charAt(0).toUpperCase()}${hint.slice(1)}.` }),
  });
}

/** The alternative to offer when the cache folder is unusable. */
export const OTHER_CACHE = "choose another folder with --cache-dir";
