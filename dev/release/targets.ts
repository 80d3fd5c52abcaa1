/**
 * The executables of a release. There is no x64 baseline: Bun's x64 builds need no more than SSE4.2, see
 * docs/decisions.md.
 */
export type Target = {
  /** As `bun build --target` calls it, behind `bun-`. */
  readonly platform: string;
  /** What its first bytes have to say: see format.ts. */
  readonly format: string;
};

export const TARGETS: readonly Target[] = [
  { platform: "linux-x64", format: "ELF x64 /lib64/ld-linux-x86-64.so.2" },
  { platform: "linux-arm64", format: "ELF arm64 /lib/ld-linux-aarch64.so.1" },
  { platform: "linux-x64-musl", format: "ELF x64 /lib/ld-musl-x86_64.so.1" },
  { platform: "linux-arm64-musl", format: "ELF arm64 /lib/ld-musl-aarch64.so.1" },
  { platform: "darwin-x64", format: "Mach-O x64 signed" },
  { platform: "darwin-arm64", format: "Mach-O arm64 signed" },
  { platform: "windows-x64", format: "PE x64" },
  { platform: "windows-arm64", format: "PE arm64" },
];

/** The executable's name. */
export function fileOf({ platform }: Target): string {
  return `chunkpush-${platform}${platform.startsWith("windows-") ? ".exe" : ""}`;
}

/** The package of bun.lock that has the target's Bun. */
export function runtimeOf({ platform }: Target): string {
  return `@oven/bun-${platform.replace("arm64", "aarch64")}`;
}
