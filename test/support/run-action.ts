/** Runs action.yml as GitHub's runner does, as far as the action goes: what it has beyond that is an error. */
import { cp, mkdir } from "node:fs/promises";
import { join } from "node:path";

type Step = {
  readonly id?: string;
  readonly if?: string;
  readonly uses?: string;
  readonly with?: Readonly<Record<string, string>>;
  readonly shell?: string;
  readonly run?: string;
  readonly env?: Readonly<Record<string, string>>;
  readonly "working-directory"?: string;
};

export type Action = {
  readonly name: string;
  readonly description: string;
  readonly inputs: Readonly<
    Record<string, { readonly description: string; readonly default?: string; readonly required?: boolean }>
  >;
  readonly outputs: Readonly<Record<string, { readonly description: string; readonly value: string }>>;
  readonly runs: { readonly using: string; readonly steps: readonly Step[] };
};

/** GitHub's caches of a repository, the oldest first. */
export type SavedCache = { readonly key: string; readonly folder: string };

export type ActionRun = {
  readonly isSuccess: boolean;
  readonly outputs: Readonly<Record<string, string>>;
  readonly summary: string;
  /** Everything that the log has: lines and outputs. */
  readonly log: string;
};

export type ActionOptions = {
  /** The checkout of the action. */
  readonly actionPath: string;
  readonly workspace: string;
  /** For the files that the runner makes for each step. */
  readonly runnerTemp: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly caches: SavedCache[];
  readonly env?: Readonly<Record<string, string>>;
};

export async function readAction(path: string): Promise<Action> {
  return Bun.YAML.parse(await Bun.file(join(path, "action.yml")).text()) as Action;
}

/** Runs the steps in their order. @returns what the step that uses the action sees */
export async function runAction(options: ActionOptions): Promise<ActionRun> {
  const action = await readAction(options.actionPath);
  const outputs = new Map<string, Record<string, string>>();
  const inputs = inputsOf(action, options.inputs);
  const evaluate = (text: string) =>
    text.replace(/\$\{\{(.*?)\}\}/g, (_, each) => lookUp(each.trim(), inputs, outputs));
  let isSuccess = true;
  let log = "";
  let summary = "";
  for (const [i, step] of action.runs.steps.entries()) {
    if (!isWanted(step.if, isSuccess, (each) => lookUp(each, inputs, outputs))) continue;
    const entries = (given: Readonly<Record<string, string>> = {}) =>
      Object.fromEntries(Object.entries(given).map(([name, text]) => [name, evaluate(text)]));
    if (step.uses !== undefined) {
      outputs.set(step.id ?? "", await useCache(step.uses, entries(step.with), options));
      continue;
    }
    const ran = await runScript(
      step,
      evaluate(step["working-directory"] ?? "."),
      entries(step.env),
      i,
      options,
    );
    isSuccess &&= ran.code === 0;
    outputs.set(step.id ?? "", outputsIn(ran.output));
    log += ran.log + ran.output;
    summary += ran.summary;
  }
  const values = Object.entries(action.outputs).map(([name, { value }]) => [name, evaluate(value)] as const);
  return { isSuccess, outputs: Object.fromEntries(values.filter(([, value]) => value !== "")), summary, log };
}

function inputsOf(action: Action, given: Readonly<Record<string, string>>): Map<string, string> {
  for (const name of Object.keys(given)) {
    if (!Object.hasOwn(action.inputs, name)) throw new Error(`The action has no input "${name}".`);
  }
  return new Map(
    Object.entries(action.inputs).map(([name, input]) => [name, given[name] ?? input.default ?? ""]),
  );
}

/** Evaluates the forms of an expression that the action has. A step that did not run has no outputs. */
function lookUp(
  expression: string,
  inputs: ReadonlyMap<string, string>,
  outputs: ReadonlyMap<string, Readonly<Record<string, string>>>,
): string {
  if (expression === "runner.os") return "Linux";
  const [, input, id, output] =
    /^(?:inputs\.([\w-]+)|steps\.([\w-]+)\.outputs\.([\w-]+))$/.exec(expression) ?? [];
  const value = input === undefined ? id && output && (outputs.get(id)?.[output] ?? "") : inputs.get(input);
  if (value === undefined) throw new Error(`Unknown expression "${expression}"`);
  return value;
}

function isWanted(
  condition: string | undefined,
  isSuccess: boolean,
  value: (name: string) => string,
): boolean {
  const terms = condition?.replace(/^\$\{\{(.*)\}\}$/, "$1").split("&&") ?? [];
  const isAlways = terms.some((term) => term.trim() === "always()");
  return (
    (isSuccess || isAlways) &&
    terms.every((term) => {
      if (term.trim() === "always()") return true;
      const [, name, operator, text] = /^\s*(\S+) (==|!=) '([^']*)'\s*$/.exec(term) ?? [];
      if (name === undefined) throw new Error(`Unknown condition "${term}"`);
      return (value(name) === text) === (operator === "==");
    })
  );
}

/** What actions/cache does, with folders in place of GitHub's caches. */
async function useCache(
  uses: string,
  given: Readonly<Record<string, string>>,
  { caches, workspace, runnerTemp }: ActionOptions,
): Promise<Record<string, string>> {
  const [, kind] = /^actions\/cache\/(restore|save)@[0-9a-f]{40}$/.exec(uses) ?? [];
  const { key = "", path = "" } = given;
  const folder = join(workspace, path);
  if (kind === "restore") {
    const prefixes = [key, ...(given["restore-keys"] ?? "").split("\n")].filter(Boolean);
    const found = caches.findLast((each) => prefixes.some((prefix) => each.key.startsWith(prefix)));
    if (found !== undefined) await cp(found.folder, folder, { recursive: true });
    return { "cache-matched-key": found?.key ?? "" };
  }
  if (kind !== "save") throw new Error(`Unknown action ${uses}`);
  const saved = join(runnerTemp, `saved-${caches.length}`);
  await cp(folder, saved, { recursive: true });
  caches.push({ key, folder: saved });
  return {};
}

async function runScript(
  { run, shell }: Step,
  folder: string,
  env: Readonly<Record<string, string>>,
  number: number,
  options: ActionOptions,
) {
  if (shell !== "bash" || run === undefined) throw new Error("A step has no bash script.");
  const place = join(options.runnerTemp, `step-${number}-${crypto.randomUUID()}`);
  await mkdir(place);
  const files = Object.fromEntries(
    ["OUTPUT", "STEP_SUMMARY", "ENV", "PATH"].map((name) => [`GITHUB_${name}`, join(place, name)]),
  );
  for (const path of Object.values(files)) await Bun.write(path, "");
  await Bun.write(join(place, "script.sh"), run);
  const child = Bun.spawn(
    [Bun.which("bash") ?? "bash", "--noprofile", "--norc", "-e", "-o", "pipefail", join(place, "script.sh")],
    {
      cwd: join(options.workspace, folder),
      env: {
        HOME: place,
        GITHUB_ACTIONS: "true",
        CI: "true",
        GITHUB_WORKSPACE: options.workspace,
        GITHUB_ACTION_PATH: options.actionPath,
        RUNNER_OS: "Linux",
        ...files,
        ...options.env,
        ...env,
      },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    },
  );
  const [stdout, stderr, code] = await Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
  const text = (name: string) => Bun.file(files[name] ?? "").text();
  for (const name of ["GITHUB_ENV", "GITHUB_PATH"]) {
    if ((await text(name)) !== "") throw new Error(`The action writes to ${name}, which later steps see.`);
  }
  return {
    code,
    log: stdout + stderr,
    output: await text("GITHUB_OUTPUT"),
    summary: await text("GITHUB_STEP_SUMMARY"),
  };
}

/** Reads `name=value` lines. The runner has another form, for values of several lines, which nothing needs. */
function outputsIn(text: string): Record<string, string> {
  const lines = text.split("\n").slice(0, -1);
  return Object.fromEntries(
    lines.map((line) => {
      const [, name = "", value = ""] = /^([\w-]+)=(.*)$/.exec(line) ?? [];
      if (name === "") throw new Error(`Not an output: ${line}`);
      return [name, value];
    }),
  );
}
