/**
 * `node dev/with-bun.mjs ARGS…` runs `bun ARGS…`, after making sure that the packages of bun.lock are there.
 *
 * Every script of package.json starts here, so that each of them may be the first command in a fresh clone, on a
 * machine with Node and npm or with nothing but Bun (whose `bun run` stands in for a missing `node`). Hence plain
 * JavaScript without dependencies.
 */
import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from "node:fs";
import { constants } from "node:os";
import { delimiter, dirname, isAbsolute, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = dirname(dirname(fileURLToPath(import.meta.url)));
const modules = join(root, "node_modules");
const exe = process.platform === "win32" ? ".exe" : "";

const manifestText = readFileSync(join(root, "package.json"), "utf8");
const lockText = readFileSync(join(root, "bun.lock"), "utf8");
const minimum = JSON.parse(manifestText).engines.bun.replace(">=", "");
const lock = parseLock(lockText);
const locked = versionOf("bun");

/** Names what is installed: another lock, or the same folder seen from another system, needs another install. */
const stamp = createHash("sha256")
  .update(JSON.stringify([manifestText, lockText, process.platform, process.arch]))
  .digest("hex");
const stampFile = join(modules, ".with-bun");

try {
  run((isInstalled() && bunAtHand()) || install());
} catch (error) {
  console.error(error instanceof Error ? error.message : error);
  process.exitCode = 1;
}

/** bun.lock is JSON with trailing commas. Strings are matched first, so that a comma inside one stays. */
function parseLock(text) {
  return JSON.parse(
    text.replace(/"(?:[^"\\]|\\.)*"|,(?=\s*[}\]])/g, (match) => (match === "," ? "" : match)),
  );
}

/** `"bun": ["bun@1.2.3", …]` → `1.2.3`. */
function versionOf(name) {
  return lock.packages[name][0].slice(name.length + 1);
}

function isInstalled() {
  return existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp;
}

/** A Bun that needs no download: the one running this, the project's own, the one on PATH. */
function bunAtHand() {
  const running = process.versions.bun;
  if (running && isAtLeast(running, minimum)) {
    // Started as `node`, Bun would go on behaving like Node; its twin lies beside it.
    return process.execPath.replace(/node(\.exe)?$/, "bun$1");
  }
  const own = ownBuns().find((bun) => versionFrom(bun) === locked);
  if (own) return own;
  const onPath = versionFrom("bun");
  return onPath && isAtLeast(onPath, minimum) ? "bun" : undefined;
}

/** Where the binary lies depends on whether the install script of `bun` was allowed to move it. */
function ownBuns() {
  const scope = join(modules, "@oven");
  const platforms = existsSync(scope) ? readdirSync(scope) : [];
  return [
    ...platforms.map((name) => join(scope, name, "bin", `bun${exe}`)),
    exe ? join(modules, "bun", "bin", "bun.exe") : join(modules, ".bin", "bun"),
  ].filter((file) => existsSync(file));
}

/** The version that a binary answers with; undefined for what is missing, broken or built for another system. */
function versionFrom(bun) {
  const { status, stdout } = spawnSync(bun, ["--version"], { encoding: "utf8" });
  return status === 0 ? stdout.trim() : undefined;
}

function isAtLeast(version, wanted) {
  const difference = version
    .split(".")
    .map((part, i) => Number.parseInt(part, 10) - Number(wanted.split(".")[i]));
  return (difference.find((n) => n !== 0) ?? 0) >= 0;
}

/** Makes node_modules what bun.lock says, and returns the Bun to go on with. */
function install() {
  console.error("Installing the packages of bun.lock (once) …");
  const bun = bunAtHand() ?? downloadBun();
  // No install script is needed, and on many machines none may run.
  const result = spawnSync(bun, ["install", "--frozen-lockfile", "--ignore-scripts"], {
    cwd: root,
    encoding: "utf8",
  });
  if (result.status !== 0) {
    throw new Error(`${outputOf(result)}\n\`bun install --frozen-lockfile\` failed, see above.`);
  }
  writeFileSync(stampFile, stamp);
  // Now the project has its own; and the name `bun` may by now mean the stub that waits for the install script.
  return bunAtHand() ?? bun;
}

/**
 * Lets npm fetch the one package that holds Bun for this machine. npm checks it against the hash of bun.lock, and
 * asks whatever registry the user has configured. It ends up where `bun install` would put it, so that Bun, finding
 * the right version there, does not download it a second time.
 */
function downloadBun() {
  const [name, integrity] = bunPackage();
  const dependencies = { [name]: versionOf(name) };
  const path = `node_modules/${name}`;
  const packages = { "": { dependencies }, [path]: { version: versionOf(name), integrity } };

  mkdirSync(join(modules, "@oven"), { recursive: true });
  const folder = mkdtempSync(join(modules, ".npm-"));
  try {
    writeFileSync(join(folder, "package.json"), JSON.stringify({ dependencies }));
    writeFileSync(join(folder, "package-lock.json"), JSON.stringify({ lockfileVersion: 3, packages }));
    // A shell, because npm is a script on Windows. The flags outrank what `npm run --flag` left in the environment.
    const command =
      "npm ci --ignore-scripts --no-audit --no-fund --no-dry-run --no-global --install-strategy=hoisted";
    const result = spawnSync(command, { cwd: folder, shell: true, encoding: "utf8" });
    if (result.status !== 0) {
      throw new Error(
        `${outputOf(result)}\nCould not get Bun ${locked} through npm, see above. ` +
          `Install Bun ${minimum} or newer (https://bun.com) or npm, and try again.`,
      );
    }
    rmSync(join(root, path), { recursive: true, force: true });
    renameSync(join(folder, path), join(root, path));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
  return join(root, path, "bin", `bun${exe}`);
}

/** Name and hash of the lock's Bun for this system, processor and C library. */
function bunPackage() {
  const here = { os: process.platform, cpu: process.arch, libc: libc() };
  const fits = (wanted, actual) => wanted === undefined || [wanted].flat().includes(actual);
  for (const [name, [, , needs, integrity]] of Object.entries(lock.packages)) {
    const isHere =
      name.startsWith("@oven/bun-") && Object.keys(here).every((key) => fits(needs[key], here[key]));
    if (isHere && integrity) return [name, integrity];
  }
  throw new Error(`bun.lock knows no Bun for ${Object.values(here).filter(Boolean).join(" ")}.`);
}

function libc() {
  if (process.platform !== "linux") return undefined;
  return process.report.getReport().header.glibcVersionRuntime ? "glibc" : "musl";
}

function outputOf({ error, stdout, stderr }) {
  return [error?.message, stdout, stderr].filter(Boolean).join("\n").trim();
}

/** Hands terminal, arguments and signals to Bun, and takes its exit code over. */
function run(bun) {
  const env = { ...process.env };
  if (isAbsolute(bun)) {
    // What Bun starts finds this Bun too. Windows may spell the name differently.
    const name = Object.keys(env).find((key) => key.toUpperCase() === "PATH") ?? "PATH";
    env[name] = dirname(bun) + delimiter + (env[name] ?? "");
  }
  const child = spawn(bun, process.argv.slice(2), { stdio: "inherit", env });

  // Ctrl-C reaches the child by itself, as everything at the terminal. Passed on, it would count as a second one.
  const atTerminal = process.stdin.isTTY || process.stdout.isTTY || process.stderr.isTTY;
  process.on("SIGINT", () => atTerminal || child.kill("SIGINT"));
  process.on("SIGTERM", () => child.kill("SIGTERM"));

  child.on("error", (error) => {
    console.error(`Could not start ${bun}: ${error.message}`);
    process.exitCode = 1;
  });
  child.on("exit", (code, signal) => process.exit(code ?? 128 + constants.signals[signal]));
}
