import { readFileSync, statSync } from "node:fs";
import { parseEnv } from "node:util";
import type { Environment } from "./values.ts";

/** Our own settings that may be in a `.env` file: they decide neither whom a push trusts nor what it starts. */
const HARMLESS =
  /^(?:USERNAME_REGISTRY|REGISTRY_JWT_TOKEN|SKIP_AUTH|MAX_PARALLEL_LAYERS|MAX_RETRIES|CHUNKPUSH_(?!(?:RUNTIME|CREDENTIAL_COMMAND)$)\w+)$/;

/** Variables that decide whom a push trusts, or what the programs that it starts do. */
const STEERING =
  /^(?:(?:HTTPS?|ALL|NO)_PROXY|(?:NODE|BUN)_(?!ENV$)\w+|SSL_CERT_\w+|DOCKER_\w+|CONTAINERS?_\w+|REGISTRY_AUTH_FILE|INSECURE_HTTP_PUSH|CHUNKPUSH_(?:RUNTIME|CREDENTIAL_COMMAND)|XDG_\w+|HOME|PATH)$/i;

const MODES = ["development", "production", "test"];

type EnvFile = { readonly name: string; readonly values: ReadonlyMap<string, string> };

/**
 * Removes variables from `process.env` that only a `.env` file of the working folder sets, except our own harmless
 * settings. Adds those if Bun was told to read no such files. The folder may be a stranger's, and Bun's fetch, its TLS
 * and the programs that we start obey the variables.
 *
 * @returns a warning for each file that would have decided whom the push trusts
 */
export function settleEnvironment({ env, execArgv }: Pick<NodeJS.Process, "env" | "execArgv">): string[] {
  // The user has named the files, and Bun reads no others.
  if (execArgv.some((flag) => flag.startsWith("--env-file"))) return [];
  const isUnread = execArgv.includes("--no-env-file");
  const real = isUnread ? env : startEnvironment();
  const files = readEnvFiles(real ? [modeOf(real)] : MODES);
  const isReal = (name: string) =>
    real
      ? real[name] !== undefined
      : // PATH is always set. Bun may have expanded a value with a "$" to anything.
        /^PATH$/i.test(name) ||
        files.every(({ values }) => values.get(name) !== env[name] && !values.get(name)?.includes("$"));

  const ignored = new Map<string, string>();
  for (const { name: file, values } of files) {
    for (const [name, value] of values) {
      if (isReal(name)) continue;
      const expanded = isUnread ? expand(value, env, files) : (env[name] ?? "");
      // No path and no argument of a program may contain a NUL, and no real variable does.
      if (HARMLESS.test(name) && !expanded.includes("\0")) env[name] = expanded;
      else delete env[name];
      if (STEERING.test(name) && !ignored.has(name)) ignored.set(name, file);
    }
  }
  const names = Map.groupBy(ignored.keys(), (name) => ignored.get(name));
  return [...names].map(
    ([file, each]) =>
      `Warning: ignored ${each.join(", ")} from "${file}": a file in the current folder must not decide whom a push trusts. Set them in the environment instead.`,
  );
}

/** Returns the environment that this process was started with. Undefined if the system does not show it. */
function startEnvironment(): Environment | undefined {
  try {
    const entries = readFileSync("/proc/self/environ", "utf8").split("\0");
    const variables = Object.fromEntries(entries.map((entry) => entry.split(/=(.*)/s)));
    return Object.assign(Object.create(null), variables);
  } catch {
    return undefined;
  }
}

/** Returns Bun's mode: https://bun.com/docs/runtime/environment-variables */
function modeOf({ BUN_ENV, NODE_ENV }: Environment): string {
  const mode = BUN_ENV || NODE_ENV || "";
  return MODES.includes(mode) ? mode : "development";
}

/** Reads the files that Bun reads. Earlier ones override later ones. */
function readEnvFiles(modes: readonly string[]): EnvFile[] {
  const names = modes.flatMap((mode) => [
    `.env.${mode}.local`,
    ...(mode === "test" ? [] : [".env.local"]),
    `.env.${mode}`,
  ]);
  return [...new Set([...names, ".env"])].flatMap((name) => {
    try {
      // Bun ignores pipes and devices, too.
      if (!statSync(name).isFile()) return [];
      return { name, values: new Map(Object.entries(parseEnv(readFileSync(name, "utf8")) as object)) };
    } catch {
      return [];
    }
  });
}

/** Expands `$NAME`, `${NAME}` and `${NAME:-default}` once, as Bun does. `\$` is a dollar. */
function expand(value: string, env: Environment, files: readonly EnvFile[]): string {
  return value.replace(
    /\\\$|\$(?:\{(\w*)(?::-([^}]*))?\}|(\w+))/g,
    (match, braced: string | undefined, fallback: string | undefined, plain: string | undefined) => {
      const name = braced ?? plain;
      if (name === undefined) return match.slice(1);
      const found = env[name] ?? files.find(({ values }) => values.has(name))?.values.get(name);
      return found ?? expand(fallback ?? "", env, files);
    },
  );
}
