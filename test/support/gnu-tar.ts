/** BSD's tar writes other forms, and says what it lists in other words. */
export const hasGnuTar =
  process.env["CI"] !== undefined ||
  (Bun.which("tar") !== null && Bun.spawnSync(["tar", "--version"]).stdout.toString().includes("GNU tar"));
