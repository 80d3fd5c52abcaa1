import { type Checked, checkRegistry } from "../check/check.ts";
import type { Finding, OnStep, Step } from "../check/steps.ts";
import { PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { isLoopback } from "../oci/address.ts";
import { formatRegistry } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import { describeNotice } from "../report/notices.ts";
import { printableJson } from "../report/printable-json.ts";
import { type CheckCommand, type CheckTarget, checkProgram, parseCheckCommand } from "./check-program.ts";
import { defineCommand, interruptedAs } from "./command.ts";
import { credentialsReader } from "./credentials.ts";

import { ownersUnderSudo } from "./owners.ts";
import type { Environment } from "./values.ts";
import { waitingLine } from "./waiting-line.ts";

export const CHECK = defineCommand({
  program: checkProgram,
  parse: parseCheckCommand,
  async run(command, { process, stop, warn }) {
    warn();
    return runCheck(command, process, stop).catch(interruptedAs("the check did not finish", stop));
  },
});

const SYMBOLS: Readonly<Record<Finding["state"], string>> = {
  ok: "✓",
  limited: "!",
  unused: "–",
  failed: "✗",
  skipped: "–",
};

/** The width of the longest step name and a space. */
const NAME_WIDTH = 9;
const INDENT = " ".repeat(NAME_WIDTH + 3);

/** Checks a registry, and prints each step as it ends. Throws what `checkRegistry` throws. @returns the exit code */
async function runCheck(
  command: CheckCommand,
  { stdout, stderr, env }: Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment },
  stop: AbortSignal,
): Promise<number> {
  const { target, json } = command;
  // Only a terminal needs lines of its width.
  const columns = stdout.isTTY ? stdout.columns : Number.POSITIVE_INFINITY;
  const print = (text: string) => {
    for (const line of wrapped(toPrintable(text), columns)) stdout.write(`${line}\n`);
  };
  const read = credentialsReader(command, target.host, {
    environment: env,
    signal: stop,
    onNotice: (code) => stderr.write(`${describeNotice({ type: "notice", code })}\n`),
  });
  const login = read({ host: target.host, repository: target.repository ?? "" });
  // The prompt comes before the steps. A failure becomes the result of the step "Login".
  await login.catch((error: unknown) => {
    if (error instanceof PushError && error.code === "INTERRUPTED") throw error;
  });
  stop.throwIfAborted();
  const waiting = waitingLine(stderr);
  if (!json) for (const line of [`Target: ${formOf(target)}`, ""]) print(line);
  const onStep: OnStep = {
    begin: (step) => waiting.show(`Checking ${step}`),
    end(step) {
      waiting.clear();
      if (!json && step.state !== "skipped") for (const line of describeStep(step)) print(line);
    },
  };
  const checked = await checkRegistry(
    {
      ...command,
      login,
      proxy: proxyFrom(env),
      environment: env,
      cacheOwners: ownersUnderSudo(env),
    },
    onStep,
    stop,
  ).finally(() => waiting.clear());
  if (json) stdout.write(`${printableJson(toJson(checked, target))}\n`);
  else for (const line of conclusion(checked, target)) print(line);
  return checked.ready ? 0 : 1;
}

/** Formats the target for a push. Leaves out the scheme if it is the default. */
function formOf({ scheme, host, repository = "REPOSITORY" }: CheckTarget): string {
  const usual = isLoopback(new URL(`http://${host}`)) ? "http" : "https";
  const prefix = scheme === undefined || scheme === usual ? "" : `${scheme}://`;
  return `${prefix}${host}/${repository}:TAG`;
}

/** @returns the lines of a step: what was found, and below it what to do */
function describeStep({ step, state, text, hint }: Step): string[] {
  return [
    `${SYMBOLS[state]} ${step.padEnd(NAME_WIDTH)} ${text}`,
    ...(hint === undefined ? [] : [`${INDENT}${hint}`]),
  ];
}

/** Breaks a line between words, and indents the rest to the column of the findings. */
function wrapped(line: string, columns: number): string[] {
  if (line.length <= columns) return [line];
  const end = line.lastIndexOf(" ", columns);
  // A long word stays whole: it may be a command or an address.
  if (end <= INDENT.length) return [line];
  return [line.slice(0, end), ...wrapped(`${INDENT}${line.slice(end + 1)}`, columns)];
}

/** @returns the steps that were skipped, by their reasons, and the result */
function conclusion({ ready, steps }: Checked, target: CheckTarget): string[] {
  const skipped = Map.groupBy(
    steps.filter(({ state }) => state === "skipped"),
    ({ text }) => text,
  );
  const lines = [...skipped].map(
    ([text, same]) => `${SYMBOLS.skipped} ${same.map(({ step }) => step).join(", ")}: ${text}`,
  );
  const limits = steps.filter(({ state }) => state === "limited").length;
  if (!ready) return [...lines, "", "Not ready: a push would fail."];
  const isWhole = target.repository !== undefined;
  const result = !isWhole
    ? `The registry answers. Check the right to push as well: ${PROGRAM_NAME} check ${formatRegistry(target)}/my/app`
    : limits > 0
      ? "Ready, with the limits above."
      : "Ready.";
  return [...lines, "", result];
}

/** The document of `--json`, version 1: see docs/check.md. */
function toJson({ origin, ready, steps }: Checked, target: CheckTarget) {
  return {
    version: 1,
    origin,
    target: formOf(target),
    ready,
    steps: steps.map(({ step, state, text, hint, facts }) => ({
      step: step.toLowerCase(),
      state,
      text,
      hint,
      ...facts,
    })),
  };
}
