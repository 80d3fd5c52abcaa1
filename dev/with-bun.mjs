/**
 * `node dev/with-bun.mjs ARGS…` runs `bun ARGS…`, after making sure that the packages of bun.lock are there. With
 * `--production` in front of ARGS, those that only development needs are left out.
 *
 * Every script of package.json starts here, so that each of them may be the first command in a fresh clone, on a
 * machine with Node and npm or with nothing but Bun (whose `bun run` stands in for a missing `node`). Hence plain
 * JavaScript without dependencies.
 */
import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import {
  bunsOnPath,
  exe,
  isAtLeast,
  minimum,
  movedBun,
  neededPackage,
  pinnedBun,
  root,
  runningBun,
  startBun,
  tryBun,
} from "../bin/start-bun.mjs";

const modules = join(root, "node_modules");

const manifestText = readFileSync(join(root, "package.json"), "utf8");
const lockText = readFileSync(join(root, "bun.lock"), "utf8");
const lock = parseLock(lockText);
const locked = versionOf("bun");

const isProduction = process.argv[2] === "--production";
if (isProduction) process.argv.splice(2, 1);

/** Names what is installed: another lock, or the same folder seen from another system, needs another install. */
const lockStamp = createHash("sha256")
  .update(JSON.stringify([manifestText, lockText, process.platform, process.arch]))
  .digest("hex");
const stamp = isProduction ? `${lockStamp} production` : lockStamp;
const stampFile = join(modules, ".with-bun");

try {
  await run((isInstalled() && bunAtHand()) || install());
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
  // What is whole has what production needs.
  return existsSync(stampFile) && [stamp, lockStamp].includes(readFileSync(stampFile, "utf8"));
}

/** A Bun that needs no download: the one running this, the project's own, the one on PATH. */
function bunAtHand() {
  return (
    runningBun() ??
    [pinnedBun(), movedBun()].find((bun) => bun && tryBun(bun).version === locked) ??
    bunsOnPath().find((bun) => isAtLeast(tryBun(bun).version ?? "0", minimum))
  );
}

/** Makes node_modules what bun.lock says, and returns the Bun to go on with. */
function install() {
  console.error("Installing the packages of bun.lock (once) …");
  const bun = bunAtHand() ?? downloadBun();
  // No install script is needed, and on many machines none may run.
  const args = ["install", "--frozen-lockfile", "--ignore-scripts"];
  if (isProduction) args.push("--production", "--omit=peer");
  const result = spawnSync(bun, args, { cwd: root, encoding: "utf8" });
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
  const name = neededPackage();
  const integrity = lock.packages[name]?.at(-1);
  if (!integrity) throw new Error(`bun.lock knows no ${name}.`);
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

function outputOf({ error, stdout, stderr }) {
  return [error?.message, stdout, stderr].filter(Boolean).join("\n").trim();
}

/** Goes on as Bun. */
async function run(bun) {
  // What Bun starts finds this Bun too. Windows may spell the name differently.
  const name = Object.keys(process.env).find((key) => key.toUpperCase() === "PATH") ?? "PATH";
  const env = { ...process.env, [name]: dirname(bun) + delimiter + (process.env[name] ?? "") };
  const code = await startBun(bun, process.argv.slice(2), {
    env,
    ...(isProduction && { argv0: "chunkpush" }),
  });
  if (typeof code === "number") process.exit(code);
  throw new Error(`Could not start ${bun}: ${code.message}`);
}
