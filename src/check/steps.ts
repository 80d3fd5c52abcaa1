import { PushError, RESUME } from "../errors.ts";

/** The steps of a check, in their order. */
export type StepName =
  | "Proxy"
  | "Name"
  | "TCP"
  | "TLS"
  | "Registry"
  | "Login"
  | "Push"
  | "Chunks"
  | "Resume"
  | "Body"
  | "Clock";

/** The result of a step. */
export type Finding = {
  /**
   * `limited`: a push works, but not as well as it could. `unused`: a push does not need this. `skipped`: not checked
   * because an earlier step failed, or no repository was named.
   */
  readonly state: "ok" | "limited" | "unused" | "failed" | "skipped";
  /** The finding in one line. */
  readonly text: string;
  /** The remedy. */
  readonly hint?: string | undefined;
  /** The finding as JSON fields, for programs. */
  readonly facts?: Readonly<Record<string, unknown>>;
};

export type Step = Finding & { readonly step: StepName };

/** `begin` is called when a step begins, `end` with its result. Steps that are skipped only end. */
export type OnStep = { begin(step: StepName): void; end(step: Step): void };

/** Returns what runs the steps of a check, and collects their results. */
export function stepRunner(onStep: OnStep, signal: AbortSignal) {
  const steps: Step[] = [];
  const end = (step: StepName, finding: Finding) => {
    steps.push({ step, ...finding });
    onStep.end({ step, ...finding });
  };
  return {
    steps,
    end,
    /** Tells whether a step was taken, and did not fail. */
    passed: (name: StepName) =>
      steps.some(({ step, state }) => step === name && state !== "failed" && state !== "skipped"),
    /**
     * Runs a step, and returns the value of its work. Undefined if it is skipped, or fails with a `PushError`. Throws the
     * signal's reason.
     *
     * @param obstacle the reason to skip the step. Undefined: run it
     */
    async take<T>(
      step: StepName,
      obstacle: string | undefined,
      work: () => Promise<Finding & { readonly value?: T }>,
    ): Promise<T | undefined> {
      if (obstacle !== undefined) {
        end(step, { state: "skipped", text: obstacle });
        return undefined;
      }
      onStep.begin(step);
      try {
        const { value, ...finding } = await work();
        end(step, finding);
        return value;
      } catch (error) {
        signal.throwIfAborted();
        if (!(error instanceof PushError)) throw error;
        end(step, failureOf(error));
        return undefined;
      }
    },
  };
}

/** Returns the result of a step that failed with a `PushError`. */
export function failureOf({ code, message, hint }: PushError): Finding {
  // Hints are written for pushes.
  const advice = hint?.replace(RESUME, "Run the check again.").replace("; it resumes", "");
  return { state: "failed", text: message, hint: advice, facts: { code } };
}
