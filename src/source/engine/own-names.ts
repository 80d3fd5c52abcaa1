import { hostname } from "node:os";
import { digestOf, hexOf } from "../../oci/digest.ts";

// An image gets a name at a registry of ours on this machine, because an engine pushes by name alone.

/** Marks names of ours, and the machine that gave them: an engine may be shared. */
export const MARK = `chunkpush-${hexOf(digestOf(hostname())).slice(0, 8)}`;

const NAME = new RegExp(`^127\\.0\\.0\\.1:(\\d{1,5})/${MARK}/[0-9a-f]{32}:`);

/** Makes a repository's name that no other program can guess. */
export function unguessableName(): string {
  return `${MARK}/${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Tells whether a name was given by a push of this or another machine. */
export function isOwnName(name: string): boolean {
  return /^127\.0\.0\.1:\d{1,5}\/chunkpush-[0-9a-f]{8}\/[0-9a-f]{32}:/.test(name);
}

/** Returns the port in a name that a push of this machine gave. */
export function portOf(name: string): number | undefined {
  const [, port] = NAME.exec(name) ?? [];
  return port === undefined ? undefined : Number(port);
}
