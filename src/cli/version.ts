import packageJson from "../../package.json" with { type: "json" };

/** What `--version` prints: the second word is the version. */
export const VERSION = `chunkpush ${packageJson.version} (Bun ${Bun.version}, ${process.platform}-${process.arch})`;
