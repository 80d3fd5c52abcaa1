import { PushError } from "../errors.ts";

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
   * `limited`: a push works, but not as well as it could. `unused`: a push does without. `skipped`: not checked, because of
   * an earlier step.
   */
  readonly state: "ok" | "limited" | "unused" | "failed" | "skipped";
  /** What was found, in one line. */
  readonly text: string;
  /** What to do about it. */
  readonly hint?: string | undefined;
  /** The same for programs. */
  readonly facts?: Readonly<Record<string, unknown>>;
};

export type Step = Finding & { readonly step: StepName };

/** Called when a step begins, and with its result. */
export type OnStep = { begin(step: StepName): void; end(step: Step): void };

/** Runs steps one after the other. A step whose conditions are not met is skipped. */
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
     * Takes a step, and returns what it found besides. A `PushError` is a failure of the step.
     *
     * @param obstacle why the step cannot be taken. Undefined if it can
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

/** Makes the result of a step that a `PushError` ended. */
export function failureOf({ code, message, hint }: PushError): Finding {
  return { state: "failed", text: message, hint, facts: { code } };
}
