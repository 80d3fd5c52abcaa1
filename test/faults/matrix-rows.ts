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
import type { RequestKind } from "../../dev/faults/request-kind.ts";
import type { ErrorCode } from "../../src/errors.ts";
import type { PushTarget } from "./push-target.ts";

/** How a push has to end. */
type Outcome = "ok" | ErrorCode;

/** A fault, and what becomes of a push that meets it. */
export type MatrixRow = {
  readonly fault: (target: Pick<PushTarget, "restart">) => Fault;
  /** It never passes: every request of the kind meets it. @default it happens once */
  readonly isPermanent?: true;
  /** Undefined: there is no such cell. */
  readonly outcome: (kind: RequestKind) => Outcome | undefined;
  /** The push gives up on a silent server within seconds. */
  readonly isImpatient?: true;
  /** For the real registry as well. */
  readonly isMain?: true;
};

const ok = () => "ok" as const;

/** The greeting finds mistakes in the command: where no answer comes to it, nothing is tried again. */
const okAfterGreeting = (code: ErrorCode) => (kind: RequestKind) => (kind === "ping" ? code : "ok");

/** Whoever may push but not read is refused the status; the next PATCH tells it as well. */
const unlessStatus = (code: ErrorCode) => (kind: RequestKind) => (kind === "upload-status" ? "ok" : code);

const hasBody = (kind: RequestKind) => /-patch$|whole-put|put-manifest/.test(kind);

const restart = (target: Pick<PushTarget, "restart">) => ({
  name: "registry restarts",
  act: () => target.restart(),
});

export const MATRIX_ROWS: readonly MatrixRow[] = [
  { fault: () => reset("before"), outcome: okAfterGreeting("CONNECTION_LOST"), isMain: true },
  { fault: () => reset("middle"), outcome: (kind) => (hasBody(kind) ? "ok" : undefined), isMain: true },
  { fault: () => reset("after"), outcome: okAfterGreeting("CONNECTION_LOST"), isMain: true },
  { fault: (target) => reset("before", restart(target)), outcome: okAfterGreeting("CONNECTION_LOST") },
  {
    fault: (target) => reset("middle", restart(target)),
    outcome: (kind) => (hasBody(kind) ? "ok" : undefined),
  },
  { fault: (target) => reset("after", restart(target)), outcome: okAfterGreeting("CONNECTION_LOST") },
  { fault: () => answer(408), outcome: ok },
  { fault: () => answer(408, "unread"), outcome: ok },
  // Made up by a gateway: it says nothing of where the upload stands.
  { fault: () => answer(416), outcome: (kind) => (/-patch$|-put$/.test(kind) ? "ok" : undefined) },
  { fault: () => tooMany("seconds", 1), outcome: ok, isMain: true },
  { fault: () => tooMany("date", 2), outcome: ok, isMain: true },
  { fault: () => answer(500), outcome: ok },
  { fault: () => answer(502), outcome: ok, isMain: true },
  { fault: () => answer(503), outcome: ok, isMain: true },
  { fault: () => answer(503, "unread"), outcome: ok, isMain: true },
  // To the greeting, the answer may come through or not.
  { fault: () => answer(503, "cut"), outcome: (kind) => (kind === "ping" ? undefined : "ok") },
  { fault: () => answer(520), outcome: ok },
  { fault: () => answer(524), outcome: ok },
  { fault: () => answer(524, "unread"), outcome: ok },
  { fault: stall, outcome: okAfterGreeting("STALLED"), isImpatient: true },
  { fault: () => throttle(400_000), outcome: ok, isMain: true },
  { fault: () => redirect(), outcome: ok, isMain: true },
  { fault: () => redirect("unread"), outcome: ok },
  { fault: () => redirect("read", 308), outcome: ok },
  { fault: () => reset("before"), isPermanent: true, outcome: () => "CONNECTION_LOST" },
  { fault: () => answer(503), isPermanent: true, outcome: () => "REGISTRY_FAILED" },
  {
    fault: () => unauthorized('Basic realm="tests"'),
    isPermanent: true,
    outcome: unlessStatus("UNAUTHORIZED"),
  },
  { fault: () => answer(403), isPermanent: true, outcome: unlessStatus("DENIED"), isMain: true },
  { fault: () => answer(413), isPermanent: true, outcome: () => "BODY_TOO_LARGE", isMain: true },
  { fault: () => answer(413, "unread"), isPermanent: true, outcome: () => "BODY_TOO_LARGE" },
];
