#!/usr/bin/env node
/** The command `chunkpush` of the package: finds a Bun and runs index.ts with it. */
import { join } from "node:path";
import {
  bunsOnPath,
  hasMusl,
  isAtLeast,
  manifest,
  minimum,
  movedBun,
  neededPackage,
  pinnedBun,
  root,
  runningBun,
  startBun,
  tryBun,
} from "./start-bun.mjs";

const args = [join(root, "index.ts"), ...process.argv.slice(2)];
/** By these, the system says that a program cannot run here; a push may end with the first two as well. */
const neverStarted = [1, 127, 128 + 4];
const tooOld = [];

const isReadable = !(process.versions.pnp && /\.zip[\\/]/.test(root));
let failure;
if (isReadable) {
  // This package is tested with the Bun that it pins, so that comes first. It is not asked for its version: time.
  const pinned = pinnedBun();
  if (pinned) failure = await become(pinned);
  const other = runningBun() ?? [movedBun(), ...bunsOnPath()].find(isNewEnough);
  if (other) failure = await become(other);
}
const [what, todo] = explain();
console.error(`Error: ${what}\n  ${todo}`);
process.exitCode = 1;

/** Goes on as Bun until its end. @returns why it does not even start */
async function become(bun) {
  // The name that index.ts calls itself by, and that lists of processes show.
  const code = await startBun(bun, args, { argv0: "chunkpush" });
  if (typeof code === "number" && !neverStarted.includes(code)) process.exit(code);
  const tried = tryBun(bun);
  if (typeof code === "number" && tried.version) process.exit(code);
  return { bun, ...tried };
}

function isNewEnough(file) {
  const version = file && tryBun(file).version;
  if (version && isAtLeast(version, minimum)) return true;
  if (version) tooOld.push(`Bun ${version} (${file})`);
  return false;
}

/** What is missing, and what to do about it. */
function explain() {
  if (!isReadable) {
    return [
      "Yarn's Plug'n'Play keeps packages where Bun cannot read them.",
      'Write "nodeLinker: node-modules" into .yarnrc.yml, or set YARN_NODE_LINKER=node-modules.',
    ];
  }
  const found = tooOld.length > 0 ? `found only ${tooOld.join(" and ")}` : "found none on PATH";
  const install = `install Bun ${minimum} or newer: https://bun.com`;
  if (failure) {
    const { bun, error, signal, stderr } = failure;
    const reason = error?.code ?? signal ?? (stderr.trim().split("\n")[0] || "it gives no reason");
    return [`Bun does not start here: ${bun} (${reason}).`, remedy(failure)];
  }
  const name = neededPackage();
  const version = manifest.optionalDependencies[name];
  if (version === undefined) {
    return [
      `chunkpush brings no Bun for ${process.platform} on ${process.arch} along, and ${found}.`,
      `If there is one, ${install}. Else push from another machine.`,
    ];
  }
  return [
    `chunkpush needs Bun ${minimum} or newer, its own is not installed (${name}), and ${found}.`,
    `Install chunkpush again with optional dependencies (without --omit=optional or --no-optional), or ${install}.`,
  ];
}

/** What helps against each of the ways in which a program fails to start. */
function remedy({ bun, error, signal }) {
  if (signal === "SIGILL")
    return "It needs a processor with SSE4.2, as made since 2008. Push from another machine.";
  if (error?.code === "EACCES")
    return `Is it on a disk where no program may run (noexec)? Else: chmod +x ${bun}`;
  if (hasMusl()) return "On Alpine, Bun needs two libraries: apk add libstdc++ libgcc";
  return `Is the system too old for it, or a library missing? Else install another Bun, ${minimum} or newer, on PATH.`;
}
