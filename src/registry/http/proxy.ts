import { isLoopback } from "../../oci/address.ts";

type Environment = Readonly<Record<string, string | undefined>>;

/** A proxy, and the name of its setting, for messages. */
export type HttpProxy = {
  /** The address as set, perhaps with a password: `http://me:password@proxy.example:3128`. */
  readonly address: string;
  /** The variable: `HTTPS_PROXY`. */
  readonly name: string;
};

/**
 * Returns a function that chooses the proxy for an address from environment variables: `HTTPS_PROXY` or `HTTP_PROXY` by the
 * scheme, else `ALL_PROXY`. Names in lower case take precedence, and empty variables count as unset. Loopback addresses, and
 * those that `NO_PROXY` lists, use no proxy. All other rules are those of Bun's fetch.
 */
export function proxyFrom(env: Environment): (url: URL) => HttpProxy | undefined {
  const rules = (variable(env, "no_proxy")?.address ?? "").split(/[\s,]+/).filter(Boolean);
  return (url) => {
    const proxy = variable(env, `${url.protocol.slice(0, -1)}_proxy`) ?? variable(env, "all_proxy");
    if (proxy === undefined || isLoopback(url) || rules.some((rule) => matches(rule, url))) return undefined;
    const address = proxy.address.includes("://") ? proxy.address : `http://${proxy.address}`;
    // Bun does not support SOCKS, and ignores such a proxy.
    return /^https?:/i.test(address) ? { ...proxy, address } : undefined;
  };
}

function variable(env: Environment, lowerName: string): HttpProxy | undefined {
  const name = [lowerName, lowerName.toUpperCase()].find((each) => env[each]);
  return name === undefined ? undefined : { name, address: env[name] ?? "" };
}

/** Describes a proxy for a message, without its user name and password. */
export function describeProxy({ address, name }: HttpProxy): string {
  return `${name}=${address.replace(/^(https?:\/\/)?.*@/is, "$1***@")}`;
}

/** Matches `*`, a host, a domain (`example.com`, `.example.com` or `*.example.com`), each with a port, or a subnet. */
function matches(rule: string, { hostname, port, protocol }: URL): boolean {
  if (rule === "*") return true;
  const { isIPv6 } = process.getBuiltinModule("node:net");
  const host = hostname.replace(/^\[|\]$/g, "");
  if (rule.includes("/")) return isInSubnet(host, rule);
  const [, name = "", rulePort] = /^(.*?)(?::(\d+))?$/.exec(isIPv6(rule) ? `[${rule}]` : rule) ?? [];
  if (rulePort !== undefined && rulePort !== (port || (protocol === "https:" ? "443" : "80"))) return false;
  const domain = name.toLowerCase().replace(/^\[|\]$|^\*?\./g, "");
  return domain !== "" && (host === domain || host.endsWith(`.${domain}`));
}

function isInSubnet(host: string, rule: string): boolean {
  const { BlockList, isIP } = process.getBuiltinModule("node:net");
  const [network = "", bits = ""] = rule.split("/");
  const version = isIP(network);
  if (version === 0 || version !== isIP(host) || !/^\d{1,3}$/.test(bits)) return false;
  if (Number(bits) > (version === 6 ? 128 : 32)) return false;
  const family = version === 6 ? "ipv6" : "ipv4";
  const subnet = new BlockList();
  subnet.addSubnet(network, Number(bits), family);
  return subnet.check(host, family);
}
