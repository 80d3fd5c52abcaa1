import { readFile } from "node:fs/promises";

/**
 * Tells whether a connection to a port of this machine comes from one of these users. True if the system does not tell.
 *
 * @param from the client's port
 */
export async function isFrom(users: readonly number[], from: number, to: number): Promise<boolean> {
  const table = await readFile("/proc/net/tcp", "utf8").catch(() => undefined);
  if (table === undefined) return true;
  const owners = ownersOf(table, from, to);
  return owners.length > 0 && owners.every((owner) => users.includes(owner));
}

/** Returns the users of the sockets that connect these ports: https://docs.kernel.org/networking/proc_net_tcp.html */
function ownersOf(table: string, from: number, to: number): number[] {
  const hex = (port: number) => port.toString(16).toUpperCase().padStart(4, "0");
  // The fields are: addresses, state, queues, timer, retransmits, user.
  const line = new RegExp(`:${hex(from)} [0-9A-F]{8}:${hex(to)}(?: +\\S+){4} +(\\d+)`, "g");
  return Array.from(table.matchAll(line), ([, user]) => Number(user));
}
