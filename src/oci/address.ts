// `URL` writes an IPv4 address in decimal, whatever its spelling, and an IPv6 address in its shortest form.

/** Matches IPv6 addresses that stand for an IPv4 address: mapped, translated, compatible and NAT64 ones. */
const IPV4_INSIDE = /^\[(?:::|::ffff:|::ffff:0:|64:ff9b::)([\da-f]{1,4}):([\da-f]{1,4})\]$/;

const LOOPBACK = /^(?:localhost|.*\.localhost|127(?:\.\d+){3}|\[::1\])\.?$/;

const LINK_LOCAL = /^(?:169\.254(?:\.\d+){2}|\[fe[89ab][\da-f]:.*\])$/;

/** Metadata services of Alibaba, AWS and Google, which give a machine its credentials. 169.254.169.254 is link-local. */
const METADATA = /^(?:100\.100\.100\.200|\[fd00:ec2::254\]|\[fd20:ce::254\]|metadata\.google\.internal\.?)$/;

/** Reports whether an address is on this machine. Docker, too, uses plain HTTP for those by default. */
export function isLoopback(url: Pick<URL, "hostname">): boolean {
  return LOOPBACK.test(hostOf(url));
}

/** Reports whether an address means another host on each machine: link-local addresses and cloud metadata services. */
export function isLinkLocal(url: Pick<URL, "hostname">): boolean {
  const host = hostOf(url);
  return LINK_LOCAL.test(host) || METADATA.test(host);
}

function hostOf({ hostname }: Pick<URL, "hostname">): string {
  const [, high, low] = IPV4_INSIDE.exec(hostname) ?? [];
  if (high === undefined || low === undefined) return hostname;
  const parts = [high, low].map((part) => Number.parseInt(part, 16));
  return parts.flatMap((part) => [part >> 8, part & 255]).join(".");
}
