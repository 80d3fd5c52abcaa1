import { existsSync } from "node:fs";
import { rm, stat } from "node:fs/promises";
import { join } from "node:path";
import { createAuthority } from "../../test/support/certificates.ts";
import { type DockerRegistry, startDockerRegistry } from "../../test/support/docker-registry.ts";
import { treeUse } from "./processes.ts";

/** A registry that has nothing, as Debian packs it, for one run. */
export type BenchRegistry = AsyncDisposable & {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  /** Where clients find the authority to trust: a file, and a folder as the tools around skopeo want it. */
  readonly trust: Trust | undefined;
  /** What it has used so far, of all cores. */
  cpuMs(): Promise<number>;
  /** Of all blobs that it has. */
  storedBytes(): Promise<number>;
};

export type Trust = { readonly file: string; readonly folder: string };

export async function startBenchRegistry(folder: string, isSecure: boolean): Promise<BenchRegistry> {
  const storage = join(folder, "registry");
  const tls = isSecure ? await makeCertificate(join(folder, "tls")) : undefined;
  const registry: DockerRegistry = await startDockerRegistry({ storage, ...(tls && { tls }) });
  return {
    host: registry.host,
    trust: tls && { file: tls.authority, folder: tls.folder },
    cpuMs: async () => (await treeUse(registry.pid)).cpuMs,
    storedBytes: () => storedBytes(join(storage, "docker/registry/v2/blobs")),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await rm(storage, { recursive: true, force: true });
    },
  };
}

async function makeCertificate(folder: string) {
  await Bun.write(join(folder, "made"), "");
  const authority = await createAuthority(folder);
  const { key, cert } = await authority.issue();
  const files = { key: join(folder, "server.key"), certificate: join(folder, "server.crt") };
  await Bun.write(files.key, key);
  await Bun.write(files.certificate, cert);
  const trusted = join(folder, "trusted");
  await Bun.write(join(trusted, "ca.crt"), Bun.file(authority.path));
  return { ...files, authority: authority.path, folder: trusted };
}

async function storedBytes(folder: string): Promise<number> {
  // Before the first push there is none.
  if (!existsSync(folder)) return 0;
  let sum = 0;
  const files = new Bun.Glob("**/data").scan({ cwd: folder, absolute: true });
  for await (const file of files) sum += (await stat(file)).size;
  return sum;
}
