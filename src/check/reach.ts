import { messageOf } from "../errors.ts";
import { formatDuration } from "../format.ts";
import { isLoopback } from "../oci/address.ts";
import { describeProxy, proxyFrom } from "../registry/http/proxy.ts";
import type { Finding } from "./steps.ts";

/** The time limit for the DNS lookup and for the TCP connection. */
const CONNECT_TIMEOUT_MS = 5000;

type Environment = Readonly<Record<string, string | undefined>>;

/** Looks up the address of the host. */
export async function checkName({ hostname }: URL, proxy: URL | undefined): Promise<Finding> {
  const host = withoutBrackets(hostname);
  const { isIP } = await import("node:net");
  if (isIP(host) !== 0) return { state: "ok", text: `${host} is an address`, facts: { addresses: [host] } };
  if (proxy !== undefined) return { state: "unused", text: `the proxy looks up ${host}` };
  const { lookup } = await import("node:dns/promises");
  try {
    const found = await withTimeout(lookup(host, { all: true }));
    const addresses = [...new Set(found.map(({ address }) => address))];
    return { state: "ok", text: `${host} → ${addresses.join(", ")}`, facts: { addresses } };
  } catch (error) {
    const isUnknown = error instanceof Error && "code" in error && error.code === "ENOTFOUND";
    return {
      state: "failed",
      text: isUnknown ? `no DNS server knows ${host}` : `${host} cannot be looked up: ${messageOf(error)}`,
      hint: isUnknown
        ? "Check the spelling. The host is that of the registry's URL, without https:// and without a path."
        : "Check the network connection and its DNS servers.",
      facts: { code: "HOST_UNKNOWN" },
    };
  }
}

/** Says whether a proxy is used for an address, and which variable names it. Undefined if no variable does. */
export function checkProxy(url: URL, environment: Environment): Finding | undefined {
  const names = [`${url.protocol.slice(0, -1)}_proxy`, "all_proxy"].flatMap((name) => [
    name,
    name.toUpperCase(),
  ]);
  const variable = names.find((name) => environment[name]);
  if (variable === undefined) return undefined;
  const value = environment[variable] ?? "";
  const shown = describeProxy({ name: variable, address: value });
  const facts = { variable };
  const address = proxyFrom(environment)(url)?.address;
  if (address === undefined) {
    const why = /^(?!https?:)[a-z0-9]+:\/\//i.test(value)
      ? "is ignored: only http:// and https:// proxies are supported"
      : isLoopback(url)
        ? "is not used: the registry is on this machine"
        : "is not used: NO_PROXY has this registry";
    return { state: "unused", text: `${shown} ${why}`, facts: { ...facts, used: false } };
  }
  if (URL.canParse(address) && new URL(address).hostname !== "")
    return { state: "ok", text: shown, facts: { ...facts, used: true } };
  return {
    state: "failed",
    text: `${shown} is not an address`,
    hint: `Set ${variable} to an address such as http://proxy.example.com:3128, or unset it.`,
    facts,
  };
}

/** Opens a connection to the registry, or to the proxy before it. */
export async function checkTcp(url: URL, proxy: URL | undefined): Promise<Finding> {
  const { protocol, hostname, port } = proxy ?? url;
  const host = withoutBrackets(hostname);
  const number = Number(port) || (protocol === "https:" ? 443 : 80);
  const place = `${proxy === undefined ? "" : "the proxy "}${hostname}:${number}`;
  const startMs = performance.now();
  try {
    await withTimeout(openConnection(host, number));
    const ms = Math.round(performance.now() - startMs);
    return { state: "ok", text: `${place} accepts connections (${ms} ms)`, facts: { port: number, ms } };
  } catch (error) {
    const code = error instanceof Error && "code" in error ? String(error.code) : "";
    const isRefused = code === "ECONNREFUSED";
    return {
      state: "failed",
      text: isRefused ? `nothing listens at ${place}` : `${place} cannot be reached: ${messageOf(error)}`,
      hint: isRefused
        ? "Check the port, and that the registry runs."
        : "Check the network connection, VPN and firewall. HTTPS_PROXY names a proxy if one is needed.",
      facts: { port: number, code: isRefused ? "CONNECTION_REFUSED" : "CONNECTION_LOST" },
    };
  }
}

async function openConnection(host: string, port: number): Promise<void> {
  const { connect } = await import("node:net");
  const { promise, resolve, reject } = Promise.withResolvers<void>();
  const socket = connect({ host, port });
  socket.once("connect", resolve);
  socket.once("error", reject);
  socket.setTimeout(CONNECT_TIMEOUT_MS, () => socket.destroy());
  try {
    await promise;
  } finally {
    socket.destroy();
  }
}

async function withTimeout<T>(work: Promise<T>): Promise<T> {
  const { promise, reject } = Promise.withResolvers<never>();
  const timer = setTimeout(
    () => reject(new Error(`no answer within ${formatDuration(CONNECT_TIMEOUT_MS)}`)),
    CONNECT_TIMEOUT_MS,
  );
  try {
    return await Promise.race([work, promise]);
  } finally {
    clearTimeout(timer);
  }
}

function withoutBrackets(hostname: string): string {
  return hostname.replace(/^\[|\]$/g, "");
}
