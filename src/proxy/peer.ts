import { readFile } from "node:fs/promises";

/**
 * Tells whether a connection to a port of this machine comes from one of these users. Where the system does not say,
 * every user is.
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
  const portOf = (address = "") => Number.parseInt(address.split(":")[1] ?? "", 16);
  return table
    .split("\n")
    .map((line) => line.trim().split(/\s+/))
    .filter(([, local, remote]) => portOf(local) === from && portOf(remote) === to)
    .map((fields) => Number(fields[7]));
}
