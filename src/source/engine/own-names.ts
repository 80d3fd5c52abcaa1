import { hostname } from "node:os";
import { digestOf, hexOf } from "../../oci/digest.ts";

// Engines push by name alone. So an image gets a temporary name at chunkpush's own proxy on this machine.

/** Marks the names that this machine gives: machines may share an engine. */
export const MARK = `chunkpush-${hexOf(digestOf(hostname())).slice(0, 8)}`;

const NAME = new RegExp(`^127\\.0\\.0\\.1:(\\d{1,5})/${MARK}/[0-9a-f]{32}:`);

/** Creates a repository name that no other program can guess. */
export function unguessableName(): string {
  return `${MARK}/${crypto.randomUUID().replaceAll("-", "")}`;
}

/** Tells whether a push of this or another machine gave a name. */
export function isOwnName(name: string): boolean {
  return /^127\.0\.0\.1:\d{1,5}\/chunkpush-[0-9a-f]{8}\/[0-9a-f]{32}:/.test(name);
}

/** Returns the port in a name that a push of this machine gave. */
export function portOf(name: string): number | undefined {
  const [, port] = NAME.exec(name) ?? [];
  return port === undefined ? undefined : Number(port);
}
