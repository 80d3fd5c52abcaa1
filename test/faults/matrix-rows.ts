import {
  answer,
  type Fault,
  redirect,
  reset,
  stall,
  throttle,
  tooMany,
  unauthorized,
} from "../../dev/faults/fault.ts";
import type { ErrorCode } from "../../src/errors.ts";
import type { ColumnName } from "./matrix-columns.ts";
import type { PushTarget } from "./push-target.ts";

/** How a push has to end. */
type Outcome = "ok" | ErrorCode;

/** What a fault may do to a registry. */
type Faultable = Pick<PushTarget, "restart" | "tokensExpire">;

/** A fault, and what becomes of a push that meets it. */
export type MatrixRow = {
  readonly fault: (target: Faultable) => Fault;
  /** It never passes: every request of the kind meets it. @default it happens once */
  readonly isPermanent?: true;
  /** What comes out, by column; "-": there is no such cell. @default "ok" */
  readonly outcomes?: Outcomes;
  /** It is about the size of a body: the blob has to start again. */
  readonly restartsBlob?: true;
  /** It is about tokens: the registry asks for them in every cell, and not only where the token server fails. */
  readonly needsTokens?: true;
  /** It has a registry of its own in every cell, for it restarts. */
  readonly restarts?: true;
  /** For the real registry as well. */
  readonly isMain?: true;
};

type Outcomes = { readonly [Name in ColumnName | "others"]?: Outcome | "-" };

/** Without a body there is no middle of it. */
const IN_BODY: Outcomes = {
  others: "-",
  "first-patch": "ok",
  "middle-patch": "ok",
  "last-patch": "ok",
  "whole-put": "ok",
  "put-manifest": "ok",
};

/** Where chunks are sent: elsewhere it makes no sense. */
const IN_UPLOAD: Outcomes = {
  others: "-",
  "first-patch": "ok",
  "middle-patch": "ok",
  "last-patch": "ok",
  "whole-put": "ok",
};

/** Only of what has a body it can be true. */
const TOO_LARGE: Outcomes = {
  others: "-",
  "first-patch": "BODY_TOO_LARGE",
  "middle-patch": "BODY_TOO_LARGE",
  "last-patch": "BODY_TOO_LARGE",
  "whole-put": "BODY_TOO_LARGE",
  "put-manifest": "BODY_TOO_LARGE",
  "upload-status": "ok",
};

const NO_TOKENS: Outcomes = { token: "-", "renewed-token": "-" };

const restart = (target: Faultable) => ({ name: "registry restarts", act: () => target.restart() });

export const MATRIX_ROWS: readonly MatrixRow[] = [
  { fault: () => reset("before"), isMain: true },
  { fault: () => reset("middle"), outcomes: IN_BODY, isMain: true },
  { fault: () => reset("after"), isMain: true },
  {
    fault: (target) => reset("before", restart(target)),
    restarts: true,
    isMain: true,
  },
  { fault: (target) => reset("middle", restart(target)), outcomes: IN_BODY, restarts: true, isMain: true },
  { fault: (target) => reset("after", restart(target)), restarts: true, isMain: true },
  { fault: () => answer(408) },
  { fault: () => answer(408, "unread") },
  {
    fault: () => answer(413),
    outcomes: { ...IN_UPLOAD, "upload-status": "ok" },
    restartsBlob: true,
    isMain: true,
  },
  { fault: () => answer(413, "unread"), outcomes: IN_UPLOAD, restartsBlob: true },
  // Without a word of where the upload stands, it is about the size.
  { fault: () => answer(416), outcomes: IN_UPLOAD, restartsBlob: true },
  { fault: () => tooMany("seconds", 1), isMain: true },
  { fault: () => tooMany("date", 2), isMain: true },
  { fault: () => answer(500) },
  { fault: () => answer(502), isMain: true },
  { fault: () => answer(503), isMain: true },
  { fault: () => answer(503, "unread"), isMain: true },
  { fault: () => answer(503, "cut") },
  { fault: () => answer(520) },
  { fault: () => answer(524) },
  { fault: () => answer(524, "unread") },
  { fault: stall },
  { fault: () => throttle(400_000), isMain: true },
  // A token server is wherever the registry says, and nowhere else.
  {
    fault: () => redirect(),
    outcomes: { token: "TOKEN_FAILED", "renewed-token": "TOKEN_FAILED" },
    isMain: true,
  },
  { fault: () => redirect("unread"), outcomes: NO_TOKENS },
  { fault: () => redirect("read", 308), outcomes: NO_TOKENS },
  { fault: (target) => target.tokensExpire, needsTokens: true, isMain: true },
  { fault: () => reset("before"), isPermanent: true, outcomes: { others: "CONNECTION_LOST" } },
  {
    fault: () => answer(503),
    isPermanent: true,
    outcomes: {
      others: "REGISTRY_FAILED",
      token: "TOKEN_FAILED",
      "renewed-token": "TOKEN_FAILED",
      // The next PATCH tells it as well.
      "upload-status": "ok",
    },
  },
  {
    fault: () => unauthorized('Basic realm="tests"'),
    isPermanent: true,
    // Whoever may push but not read is refused the status; the next PATCH tells it as well.
    outcomes: { others: "UNAUTHORIZED", "upload-status": "ok" },
  },
  {
    fault: () => answer(403),
    isPermanent: true,
    outcomes: { others: "DENIED", "upload-status": "ok" },
    isMain: true,
  },
  {
    fault: () => answer(413),
    isPermanent: true,
    outcomes: TOO_LARGE,
    isMain: true,
  },
  {
    fault: () => answer(413, "unread"),
    isPermanent: true,
    outcomes: TOO_LARGE,
  },
];

/** Undefined: there is no such cell. */
export function expectedOutcome({ outcomes = {} }: MatrixRow, name: ColumnName): Outcome | undefined {
  const outcome = outcomes[name] ?? outcomes.others ?? "ok";
  return outcome === "-" ? undefined : outcome;
}
