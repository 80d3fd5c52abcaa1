/** The real parts that end-to-end tests talk to. A part that is absent skips its tests, except in CI. */
import { test } from "bun:test";
import { readFileSync } from "node:fs";

/** Mounting is what an engine does first, and what containers are most often not allowed to do. */
const CAP_SYS_ADMIN = 1n << 21n;

type Part =
  | "nginx"
  | "dockerd"
  | "docker-registry"
  | "htpasswd"
  | "mount"
  | "newuidmap"
  | "openssl"
  | "podman"
  | "setpriv"
  | "skopeo"
  | "unshare"
  | "update-ca-certificates"
  | "useradd"
  | "zstd";

const NEEDS_ROOT: readonly Part[] = ["dockerd", "mount", "podman", "setpriv", "unshare", "useradd"];

/**
 * Tells whether all of these parts are there. Where one is not, says which and why; in CI, where `.ci/run` brings
 * every part, that is a failed test.
 */
export function requireParts(...parts: readonly Part[]): boolean {
  const reasons = parts.map(whyAbsent).filter((reason) => reason !== undefined);
  for (const reason of reasons) {
    if (process.env["CI"]) {
      test(`needs ${reason}`, () => {
        throw new Error(`A part that these tests need is absent: ${reason}.`);
      });
    } else console.log(`Tests are skipped, for they need ${reason}.`);
  }
  return reasons.length === 0;
}

function whyAbsent(part: Part): string | undefined {
  const commands = part === "dockerd" ? ["dockerd", "containerd", "docker"] : [part];
  const missing = commands.filter((command) => Bun.which(command) === null);
  if (missing.length > 0) return `${part}: no command ${missing.join(", ")} on PATH`;
  return NEEDS_ROOT.includes(part) ? whyNotAllowed(part) : undefined;
}

function whyNotAllowed(part: Part): string | undefined {
  if (process.platform !== "linux") return `${part}: it runs on Linux only`;
  if (process.getuid?.() !== 0) return `${part}: only root may start it`;
  const [, effective = "0"] =
    /^CapEff:\s*([0-9a-f]+)$/m.exec(readFileSync("/proc/self/status", "utf8")) ?? [];
  return (BigInt(`0x${effective}`) & CAP_SYS_ADMIN) === 0n ? `${part}: this root may not mount` : undefined;
}
