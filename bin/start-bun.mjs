/**
 * Finds a Bun, and starts it so that the files of the working folder decide nothing. Plain JavaScript without
 * dependencies, for Node, and for Bun in the place of Node.
 */
import { spawn, spawnSync } from "node:child_process";
import { existsSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import { constants } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { isatty } from "node:tty";
import { fileURLToPath } from "node:url";

export const root = dirname(dirname(fileURLToPath(import.meta.url)));
export const exe = process.platform === "win32" ? ".exe" : "";
export const manifest = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
/** The oldest Bun that will do. */
export const minimum = manifest.engines.bun.replace(">=", "");

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

/** The package that has Bun for this system and processor; on Linux, for one of the two C libraries. */
function bunPackage(isMusl) {
  const system = { win32: "windows", android: "linux" }[process.platform] ?? process.platform;
  const library = process.platform === "android" ? "-android" : isMusl ? "-musl" : "";
  return `@oven/bun-${system}-${process.arch === "arm64" ? "aarch64" : process.arch}${library}`;
}

/** The package that has Bun for this machine. */
export function neededPackage() {
  return bunPackage(hasMusl());
}

/** Takes milliseconds, so it is asked only where it matters. */
export function hasMusl() {
  if (process.platform !== "linux") return false;
  process.report.excludeNetwork = true;
  return !process.report.getReport().header.glibcVersionRuntime;
}

/** The Bun that this package pins, where it is installed. */
export function pinnedBun() {
  const file = (isMusl) => fileOf(bunPackage(isMusl), `bun${exe}`);
  if (process.platform !== "linux") return file(false);
  const [glibc, musl] = [file(false), file(true)];
  // yarn 1 and old npms install both.
  return glibc && musl ? (hasMusl() ? musl : glibc) : (glibc ?? musl);
}

/** Where the install script of the package `bun` moves the binary to, if it may run. The name is the same everywhere. */
export function movedBun() {
  return fileOf("bun", "bun.exe");
}

/** A program of an installed package, wherever the package manager has put it. */
function fileOf(name, program) {
  try {
    const file = join(
      dirname(createRequire(import.meta.url).resolve(`${name}/package.json`)),
      "bin",
      program,
    );
    if (existsSync(file)) return file;
  } catch {
    // Not installed.
  }
}

/** Files named `bun` in the folders of PATH. Windows itself would look in the working folder first. */
export function bunsOnPath() {
  const folders = new Set((process.env.PATH ?? "").split(delimiter).filter(isAbsolute));
  return [...folders].map((folder) => join(folder, `bun${exe}`)).filter((file) => existsSync(file));
}

/** Asks a binary for its version. There is none where it is broken or built for another system: then see the rest. */
export function tryBun(bun) {
  const { error, status, signal, stdout, stderr } = spawnSync(bun, ["--version"], { encoding: "utf8" });
  return { version: status === 0 ? stdout.trim() : undefined, error, signal, stderr };
}

export function isAtLeast(version, wanted) {
  const difference = version
    .split(".")
    .map((part, i) => Number.parseInt(part, 10) - Number(wanted.split(".")[i]));
  return (difference.find((n) => n !== 0) ?? 0) >= 0;
}

/**
 * Hands terminal, arguments and signals to Bun, and waits for its end.
 * @returns the exit code, or the error if the system does not start it
 */
export function startBun(bun, args, options) {
  // At a terminal, these reach the child by themselves. Passed on, they would count as a second one.
  const atTerminal = [0, 1, 2].some(isatty);
  for (const signal of ["SIGINT", "SIGHUP"]) process.on(signal, () => atTerminal || child.kill(signal));
  process.on("SIGTERM", () => child.kill("SIGTERM"));
  // Started after that: a Ctrl-C that comes with the child's first words must not end this process alone.
  const child = spawn(bun, [...safeFlags, ...args], { stdio: "inherit", ...options });

  return new Promise((resolve) => {
    child.on("error", resolve);
    child.on("exit", (code, signal) => resolve(code ?? 128 + constants.signals[signal]));
  });
}
