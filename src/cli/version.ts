import packageJson from "../../package.json" with { type: "json" };

/** The line that `--version` prints. Its second word is the version. */
export const VERSION = `chunkpush ${packageJson.version} (Bun ${Bun.version}, ${process.platform}-${process.arch})`;
