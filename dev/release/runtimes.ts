import { join } from "node:path";
import { $ } from "bun";
import { runtimeOf, type Target } from "./targets.ts";

const LOCK = join(import.meta.dir, "../../bun.lock");

type Lock = { readonly packages: Readonly<Record<string, readonly [id: string, ...rest: unknown[]]>> };

/**
 * Installs the Bun of each target below a folder. npm compares them with the hashes of bun.lock, which Bun does not
 * when `bun build` downloads what it needs for another system.
 *
 * @returns tells where the Bun of a target is
 */
export async function installRuntimes(
  folder: string,
  targets: readonly Target[],
): Promise<(target: Target) => string> {
  const lock = Bun.JSONC.parse(await Bun.file(LOCK).text()) as Lock;
  const dependencies: Record<string, string> = {};
  const packages: Record<string, object> = { "": { dependencies } };
  for (const name of targets.map(runtimeOf)) {
    const [id, integrity] = [lock.packages[name]?.[0], lock.packages[name]?.at(-1)];
    if (!id || typeof integrity !== "string") throw new Error(`bun.lock has no hash of ${name}.`);
    const version = id.slice(name.length + 1);
    // The one that bundles has to be the one that runs.
    if (version !== Bun.version)
      throw new Error(`This is Bun ${Bun.version}, but bun.lock has ${id}. Start it with "npm run release".`);
    dependencies[name] = version;
    packages[`node_modules/${name}`] = { version, integrity };
  }
  await Bun.write(join(folder, "package.json"), JSON.stringify({ dependencies }));
  await Bun.write(join(folder, "package-lock.json"), JSON.stringify({ lockfileVersion: 3, packages }));
  // Forced, because npm refuses packages for other systems.
  const npm = await $`npm ci --force --ignore-scripts --no-audit --no-fund`.cwd(folder).quiet().nothrow();
  if (npm.exitCode !== 0) throw new Error(`Cannot get the Bun of the targets through npm:\n${npm.stderr}`);
  return (target) => {
    const exe = target.platform.startsWith("windows-") ? ".exe" : "";
    return join(folder, "node_modules", runtimeOf(target), "bin", `bun${exe}`);
  };
}
