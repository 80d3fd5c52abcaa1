import { createHash } from "node:crypto";
import type { Fault } from "./fault.ts";
import type { RequestKind } from "./request-kind.ts";

/** What a plan may decide by. */
export type PlannedRequest = {
  readonly kind: RequestKind;
  /** Among all requests, from 1. */
  readonly number: number;
  /** Among the requests of its kind, from 1. */
  readonly occurrence: number;
};

/** Decides what happens to each request. Undefined: it passes. */
export type Plan = (request: PlannedRequest) => Fault | undefined;

export const noFaults: Plan = () => undefined;

/** The request of a kind with this number, counted from 1, meets a fault. */
export function faultAt(kind: RequestKind, occurrence: number, fault: Fault): Plan {
  return (request) => (request.kind === kind && request.occurrence === occurrence ? fault : undefined);
}

/** Every request of a kind meets a fault, from the one with this number on. */
export function faultAlways(kind: RequestKind, fault: Fault, occurrence = 1): Plan {
  return (request) => (request.kind === kind && request.occurrence >= occurrence ? fault : undefined);
}

/** The request with this number, whatever its kind, meets a fault. */
export function faultAtRequest(number: number, fault: Fault): Plan {
  return (request) => (request.number === number ? fault : undefined);
}

/** The first plan that has a fault for a request decides. */
export function allOf(...plans: readonly Plan[]): Plan {
  return (request) => {
    for (const plan of plans) {
      const fault = plan(request);
      if (fault !== undefined) return fault;
    }
    return undefined;
  };
}

/**
 * A share of the requests meets faults that look random. They depend on the seed and on a request's place among those
 * of its kind alone: where requests come one after another, the same seed gives the same run.
 *
 * @param share from 0 to 1
 * @param faultsFor the faults to choose from; a kind without any is spared
 */
export function seededFaults(
  seed: number,
  share: number,
  faultsFor: (kind: RequestKind) => readonly Fault[],
): Plan {
  return ({ kind, occurrence }) => {
    const faults = faultsFor(kind);
    const place = `${seed} ${kind} ${occurrence}`;
    if (faults.length === 0 || seededFraction(`whether ${place}`) >= share) return undefined;
    return faults[Math.floor(seededFraction(`which ${place}`) * faults.length)];
  };
}

/** A number from 0 up to 1, the same for the same text. */
export function seededFraction(text: string): number {
  return createHash("sha256").update(text).digest().readUInt32LE() / 2 ** 32;
}
