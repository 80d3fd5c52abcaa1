#!/usr/bin/env node
/** The command `chunkpush` of the package: finds a Bun and runs index.ts with it. */
import { join } from "node:path";
import {
  bunsOnPath,
  installedBuns,
  isAtLeast,
  minimum,
  root,
  runningBun,
  startBun,
  versionFrom,
} from "./start-bun.mjs";

const tooOld = [];
const bun = runningBun() ?? [...bunsOnPath(), ...installedBuns()].find(isNewEnough);
if (bun) startBun(bun, [join(root, "index.ts"), ...process.argv.slice(2)]);
else {
  const found = tooOld.length > 0 ? `found only ${tooOld.join(" and ")}` : "found none on PATH";
  console.error(`Error: chunkpush needs Bun ${minimum} or newer, and ${found}.`);
  console.error("  Install it (https://bun.com, or: npm install --global bun), or update it: bun upgrade");
  process.exitCode = 1;
}

function isNewEnough(file) {
  const version = versionFrom(file);
  if (version && isAtLeast(version, minimum)) return true;
  if (version) tooOld.push(`Bun ${version} (${file})`);
  return false;
}
