import { type Checked, checkRegistry } from "../check/check.ts";
import type { Finding, OnStep, Step, StepName } from "../check/steps.ts";
import { toPrintable } from "../format.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import { describeNotice } from "../report/notices.ts";
import { type CheckCommand, type CheckTarget, checkProgram, parseCheckCommand } from "./check-program.ts";
import { defineCommand } from "./command.ts";
import { credentialsReader } from "./credentials.ts";
import { ownersUnderSudo } from "./owners.ts";
import type { Environment } from "./values.ts";

export const CHECK = defineCommand({
  program: checkProgram,
  parse: parseCheckCommand,
  async run(command, { process, stop, warn }) {
    warn();
    return runCheck(command, process, stop);
  },
});

/** A slower step is named while it runs. */
const SILENT_MS = 800;

const SYMBOLS: Readonly<Record<Finding["state"], string>> = {
  ok: "✓",
  limited: "!",
  unused: "–",
  failed: "✗",
  skipped: "–",
};

/** The width of the longest name. */
const NAME_WIDTH = 9;

/** Checks a registry, and prints each step as it ends. Throws what `checkRegistry` throws. @returns the exit code */
async function runCheck(
  command: CheckCommand,
  { stdout, stderr, env }: Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment },
  stop: AbortSignal,
): Promise<number> {
  const { target, json } = command;
  const print = (text: string) => stdout.write(`${toPrintable(text)}\n`);
  const read = credentialsReader(command, target.host, {
    environment: env,
    signal: stop,
    onNotice: (code) => stderr.write(`${describeNotice({ type: "notice", code })}\n`),
  });
  const login = read({ host: target.host, repository: target.repository ?? "" });
  // A prompt comes before the steps. A failure is the result of the step "Login".
  await login.catch(() => undefined);
  stop.throwIfAborted();
  const using = waitingLine(stderr);
  if (!json) for (const line of heading(target)) print(line);
  const onStep: OnStep = {
    begin: (step) => using.show(step),
    end(step) {
      using.clear();
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
  ).finally(() => using.clear());
  if (json) stdout.write(`${JSON.stringify(toJson(checked, target), null, 2)}\n`);
  else for (const line of conclusion(checked, target)) print(line);
  return checked.ready ? 0 : 1;
}

/** Says how a target is written, from whatever address was given. */
function heading({ host, repository = "REPOSITORY" }: CheckTarget): string[] {
  return [`Target: ${host}/${repository}:TAG`, ""];
}

/** @returns the lines of a step: what was found, and below it what to do */
function describeStep({ step, state, text, hint }: Step): string[] {
  const indent = " ".repeat(NAME_WIDTH + 3);
  return [
    `${SYMBOLS[state]} ${step.padEnd(NAME_WIDTH)} ${text}`,
    ...(hint === undefined ? [] : [`${indent}${hint}`]),
  ];
}

/** @returns the steps that were skipped, by their reasons, and the result */
function conclusion({ ready, steps }: Checked, { host, repository }: CheckTarget): string[] {
  const skipped = Map.groupBy(
    steps.filter(({ state }) => state === "skipped"),
    ({ text }) => text,
  );
  const lines = [...skipped].map(
    ([text, same]) => `${SYMBOLS.skipped} ${same.map(({ step }) => step).join(", ")}: ${text}`,
  );
  const limits = steps.filter(({ state }) => state === "limited").length;
  if (!ready) return [...lines, "", "Not ready: a push would fail."];
  const isWhole = repository !== undefined;
  const result = !isWhole
    ? `The registry answers. Check the right to push as well: ${PROGRAM_NAME} check ${host}/my/app`
    : limits > 0
      ? "Ready, with the limits above."
      : "Ready.";
  return [...lines, "", result];
}

/** The document of `--json`, version 1: see docs/check.md. */
function toJson({ origin, ready, steps }: Checked, { host, repository }: CheckTarget) {
  return {
    version: 1,
    origin,
    target: `${host}/${repository ?? "REPOSITORY"}:TAG`,
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

/** Names a step that takes long, on standard error: in place on a terminal, else in a line. */
function waitingLine(stderr: NodeJS.WriteStream) {
  let timer: NodeJS.Timeout | undefined;
  let isShown = false;
  return {
    show(step: StepName) {
      timer = setTimeout(() => {
        isShown = stderr.isTTY === true;
        stderr.write(isShown ? `… ${step}` : `Checking ${step} …\n`);
      }, SILENT_MS);
    },
    clear() {
      clearTimeout(timer);
      if (isShown) stderr.write("\r\x1b[K");
      isShown = false;
    },
  };
}
