import { PushError } from "../errors.ts";

// The rules of github.com/containerd/platforms, which Docker and BuildKit use.

/** Matches the first component of a platform, such as `linux` or `windows(10.0.17763)`. */
const SYSTEM = /^([\w-]+)(?:\(([\w.%-]+)\))?$/;
const COMPONENT = /^[\w.-]+$/;

/** Matches the architectures that may stand alone. The system is then Linux. */
const ARCHITECTURES = /^(?:386|amd64|arm|arm64|loong64|mips(?:64)?(?:le)?|ppc64(?:le)?|riscv64|s390x|wasm)$/;

type Platform = {
  readonly os: string;
  readonly version: string | undefined;
  readonly architecture: string;
  readonly variant: string | undefined;
};

/** The fields of a platform in a config or an index. */
type PlatformFields = Partial<Record<"os" | "architecture" | "variant", string | null | undefined>>;

/** Joins the fields of a platform unchanged, such as `linux/arm/v7`. Undefined if all are missing. */
export function platformName({ os, architecture, variant }: PlatformFields): string | undefined {
  return [os, architecture, variant].filter(Boolean).join("/") || undefined;
}

/**
 * Writes a platform in its canonical form: `linux/arm64` for `arm64`, `linux/aarch64` and `linux/arm64/v8`. Throws
 * `USAGE`.
 */
export function canonicalPlatform(text: string): string {
  const platform = parse(text);
  if (platform !== undefined) return format(platform);
  throw new PushError("USAGE", `"${text}" is not a platform.`, {
    hint: "Write it like linux/amd64, linux/arm64 or linux/arm/v7.",
  });
}

/**
 * Finds the entries of a platform. Like `docker push --platform`, accepts no lower variant. Prefers entries that are
 * spelled as wanted.
 */
export function ofPlatform<T extends { readonly platform: string | undefined }>(
  entries: readonly T[],
  wanted: string,
): T[] {
  const asked = parse(wanted);
  const found = entries.filter(({ platform = "" }) => {
    const has = parse(platform);
    return asked !== undefined && has !== undefined && isSame(asked, has);
  });
  const exact = found.filter(({ platform }) => platform === wanted);
  return exact.length > 0 ? exact : found;
}

function isSame(asked: Platform, has: Platform): boolean {
  const { version } = asked;
  const isVersion = version === undefined || `${has.version}.`.startsWith(`${version}.`);
  return isVersion && format({ ...asked, version: undefined }) === format({ ...has, version: undefined });
}

/** Returns undefined for text that is no platform. */
function parse(text: string): Platform | undefined {
  const [first = "", ...rest] = text.toLowerCase().split("/");
  if (rest.length > 2 || !rest.every((part) => COMPONENT.test(part))) return undefined;
  const [system, ...parts] = rest.length === 0 ? ["linux", first] : [first, ...rest];
  const [, os, version] = SYSTEM.exec(system) ?? [];
  if (os === undefined) return undefined;
  const [architecture = "", variant] = normalise(parts[0] ?? "", parts[1]);
  if (rest.length === 0 && !ARCHITECTURES.test(architecture)) return undefined;
  return { os: os === "macos" ? "darwin" : os, version, architecture, variant };
}

function normalise(architecture: string, variant: string | undefined): [string, string | undefined] {
  switch (architecture) {
    case "i386":
      return ["386", undefined];
    case "x86_64":
    case "x86-64":
    case "amd64":
      return ["amd64", variant === "v1" ? undefined : variant];
    case "aarch64":
    case "arm64":
      return ["arm64", variant === "v8" || variant === "8" ? undefined : variant];
    case "armhf":
      return ["arm", "v7"];
    case "armel":
      return ["arm", "v6"];
    case "arm":
      return ["arm", variant === undefined ? "v7" : variant.replace(/^(?=[5-8]$)/, "v")];
    default:
      return [architecture, variant];
  }
}

function format({ os, version, architecture, variant }: Platform): string {
  const system = version === undefined ? os : `${os}(${version})`;
  return [system, architecture, variant].filter(Boolean).join("/");
}
