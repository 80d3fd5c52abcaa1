import type { Environment } from "./values.ts";

/** Under sudo, the cache is the one of the user who called. */
export function ownersUnderSudo({ SUDO_UID = "" }: Environment): number[] {
  return process.geteuid?.() === 0 && /^\d{1,10}$/.test(SUDO_UID) ? [Number(SUDO_UID)] : [];
}
