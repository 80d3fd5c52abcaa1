import type { Environment } from "./values.ts";

/** Returns the users who may own the cache: under sudo, the calling user as well. */
export function ownersUnderSudo({ SUDO_UID = "" }: Environment): number[] {
  return process.geteuid?.() === 0 && /^\d{1,10}$/.test(SUDO_UID) ? [Number(SUDO_UID)] : [];
}
