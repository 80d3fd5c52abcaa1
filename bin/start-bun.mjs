/**
 * Finds a Bun, and starts it so that the files of the working folder decide nothing. Plain JavaScript without
 * dependencies, for Node, and for Bun in the place of Node.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { constants } from "node:os";
import { basename, delimiter, dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const exe = process.platform === "win32" ? ".exe" : "";
/** The oldest Bun that will do. */
export const minimum = JSON.parse(readFileSync(join(root, "package.json"), "utf8")).engines.bun.replace(
  ">=",
  "",
);

/** Valid as TOML and as JSON with comments. Windows has no /dev/null. */
const empty = join(root, "bin", "empty");

/**
 * Without these, Bun takes from the working folder, before our first line: variables from `.env` (proxies, no TLS
 * checks), code from `bunfig.toml` (`preload`) and `tsconfig.json` (`paths`), and the address from which it downloads
 * missing packages from `.npmrc`.
 */
const safeFlags = ["--no-env-file", `--config=${empty}`, `--tsconfig-override=${empty}`, "--no-install"];

/** The Bun that is running this file, if it is new enough. */
export function runningBun() {
  const running = process.versions.bun;
  // Started as `node`, Bun would go on behaving like Node; its twin lies beside it.
  if (running && isAtLeast(running, minimum)) return process.execPath.replace(/node(\.exe)?$/, "bun$1");
}

/** Bun where packages are installed: in this folder's `node_modules`, or in the one that this folder is in. */
export function installedBuns() {
  const folders = [join(root, "node_modules"), dirname(root)].filter(
    (path) => basename(path) === "node_modules",
  );
  return folders.flatMap((modules) => {
    const scope = join(modules, "@oven");
    const platforms = existsSync(scope) ? readdirSync(scope) : [];
    return [
      ...platforms.map((name) => join(scope, name, "bin", `bun${exe}`)),
      // The install script of `bun`, if it may run, moves the binary here. The name is the same on all systems.
      join(modules, "bun", "bin", "bun.exe"),
    ].filter((file) => existsSync(file));
  });
}

/** Files named `bun` in the folders of PATH. Windows itself would look in the working folder first. */
export function bunsOnPath() {
  const folders = new Set((process.env.PATH ?? "").split(delimiter).filter(isAbsolute));
  return [...folders].map((folder) => join(folder, `bun${exe}`)).filter((file) => existsSync(file));
}

/** The version that a binary answers with; undefined for what is broken or built for another system. */
export function versionFrom(bun) {
  const { status, stdout } = spawnSync(bun, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

export function isAtLeast(version, wanted) {
  const difference = version
    .split(".")
    .map((part, i) => Number.parseInt(part, 10) - Number(wanted.split(".")[i]));
  return (difference.find((n) => n !== 0) ?? 0) >= 0;
}

/** Hands terminal, arguments and signals to Bun, and takes its exit code over. */
export function startBun(bun, args, env = process.env) {
  const child = spawn(bun, [...safeFlags, ...args], { stdio: "inherit", env });

  // At a terminal, these reach the child by themselves. Passed on, they would count as a second one.
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => atTerminal || child.kill(signal));
  process.on("SIGTERM", () => child.kill("SIGTERM"));

  child.on("error", (error) => {
    console.error(`Could not start ${bun}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
