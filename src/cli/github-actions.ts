import { appendFile } from "node:fs/promises";
import { messageOf } from "../errors.ts";
import type { Pushed } from "../push/options.ts";
import type { Report } from "../report/events.ts";
import { markdownSummary } from "../report/summary.ts";
import type { Environment } from "./values.ts";

/** What GitHub Actions is told of a push, besides the lines of its log. */
export type ActionsFiles = {
  readonly report: Report;
  /** Appends a summary of the targets that are published. */
  writeSummary(): Promise<void>;
  /** Appends the outputs of the step: `digest` and `reference`, those of the first target. */
  writeOutputs(pushed: Pushed): Promise<void>;
};

/** Opens the files that the runner names. @param warn told what could not be written: the image is pushed all the same */
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
