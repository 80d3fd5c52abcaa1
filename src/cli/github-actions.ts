import { appendFile } from "node:fs/promises";
import { messageOf } from "../errors.ts";
import type { Pushed } from "../push/options.ts";
import type { Report } from "../report/events.ts";
import { markdownSummary } from "../report/summary.ts";
import type { Environment } from "./values.ts";

/** The files through which GitHub Actions learns of a push. */
export type ActionsFiles = {
  readonly report: Report;
  /** Appends a summary of the published targets. */
  writeSummary(): Promise<void>;
  /** Appends the outputs of the step: `digest` and `reference` of the first target. */
  writeOutputs(pushed: Pushed): Promise<void>;
};

/** Opens the files that the runner names. @param warn prints a failed write: the image is pushed anyway */
export function actionsFiles(env: Environment, warn: (line: string) => void): ActionsFiles {
  const summary = markdownSummary();
  const append = async (name: string, text: string) => {
    const path = env[name];
    if (!path || text === "") return;
    try {
      await appendFile(path, text);
    } catch (error) {
      warn(`Warning: cannot write to the file that ${name} names: ${messageOf(error)}`);
    }
  };
  return {
    report: summary.report,
    writeSummary: () => append("GITHUB_STEP_SUMMARY", summary.text()),
    // A validated reference and a digest have no line breaks.
    writeOutputs: ({ reference, digest }) =>
      append("GITHUB_OUTPUT", `digest=${digest}\nreference=${reference}@${digest}\n`),
  };
}
