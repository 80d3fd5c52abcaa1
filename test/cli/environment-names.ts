import { join } from "node:path";

const ROOT = join(import.meta.dir, "../..");

/** Lists the variables that the program reads, by its own text, and the one that Bun reads for it. */
export async function environmentNames(): Promise<string[]> {
  const names = new Set<string>(["NODE_EXTRA_CA_CERTS"]);
  for (const file of ["invocation.ts", "registry-flags.ts", "user-flags.ts", "credentials.ts"]) {
    const text = await Bun.file(join(ROOT, "src/cli", file)).text();
    const reads =
      /(?:variable\(|\benv\[|process\.env\[|setting\("--[a-z-]+", flags\.\w+,)\s*"([A-Z_]+)"|process\.env\.([A-Z_]+)/g;
    for (const [, name, other] of text.matchAll(reads)) names.add(name ?? other ?? "");
  }
  return [...names];
}
