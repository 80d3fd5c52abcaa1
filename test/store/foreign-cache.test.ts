/** A cache that others may write to: a push reads nothing there that is not its user's own, says so once, and goes on. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, chown, mkdir, readdir, rm, stat, symlink } from "node:fs/promises";
import { join } from "node:path";
import { gzipSync } from "node:zlib";
import { push } from "../../index.ts";
import { digestOf, hexOf } from "../../src/oci/digest.ts";
import type { PushEvent } from "../../src/report/events.ts";
import type { Distrust } from "../../src/store/own-file.ts";
import { runWell } from "../support/command.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { canChown, posixOnly } from "../support/needs.ts";
import { NOBODY } from "../support/nobody.ts";
import { runCli } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";

setDefaultTimeout(60_000);

const IMAGE = dockerArchive([seededLayer(9000, 1), seededLayer(700, 2)], ["team/app:v1"]);
const POINTERS = IMAGE.diffIds.map((diffId) => `${diffId.slice("sha256:".length)}-ptr`);

/** A folder with an image that was pushed once, and its cache. */
async function pushedOnce() {
  const folder = await temporaryFolder();
  const registry = await startTestRegistry();
  await Bun.write(join(folder.path, "output.tar"), IMAGE.archive);
  const cache = join(folder.path, ".cache");
  const target = `${registry.host}/team/app:v1`;
  const run = async () => {
    const events: PushEvent[] = [];
    const report = (event: PushEvent) => events.push(event);
    const { digest } = await push({
      source: join(folder.path, "output.tar"),
      target,
      cacheDirectory: cache,
      report,
    });
    return {
      digest,
      cachedLayers: events.filter(
        (event) => event.type === "blob" && event.state === "ready" && event.how === "cached",
      ).length,
      notices: events.filter((event) => event.type === "notice"),
    };
  };
  const first = await run();
  return {
    run,
    cache,
    first,
    cli: (env: Record<string, string> = {}) =>
      runCli(["--debug", target], { cwd: folder.path, env: { SKIP_AUTH: "1", ...env } }),
    path: (name: string) => join(cache, name),
    async [Symbol.asyncDispose]() {
      await registry[Symbol.asyncDispose]();
      await folder[Symbol.asyncDispose]();
    },
  };
}

/** Makes each layer's pointer name another layer. Not even the files' owner changes. */
async function plant({ path }: { path: (name: string) => string }): Promise<void> {
  const evil = gzipSync(seededLayer(500, 666));
  const name = hexOf(digestOf(evil));
  await Bun.write(path(name), evil);
  for (const pointer of POINTERS) await Bun.write(path(pointer), name);
}

describe.skipIf(!posixOnly())("a push", () => {
  test("leaves a cache that only its user can read, and uses an older one that others could", async () => {
    await using at = await pushedOnce();
    const modes = async () => {
      const paths = [at.cache, ...(await readdir(at.cache)).map(at.path)];
      const found = await Promise.all(paths.map(async (path) => (await stat(path)).mode & 0o777));
      return [...new Set(found)];
    };
    expect(await modes()).toEqual([0o700, 0o600]);
    for (const name of await readdir(at.cache)) await chmod(at.path(name), 0o644);
    await chmod(at.cache, 0o755);
    expect(await at.run()).toEqual({ ...at.first, cachedLayers: 2 });
  });

  const plants: [what: string, why: Distrust, give: (path: string) => Promise<unknown>][] = [
    ["in files that everybody may write to", "writable", (path) => chmod(path, 0o666)],
  ];
  if (canChown()) plants.push(["by another user", "owner", (path) => chown(path, NOBODY, NOBODY)]);
  test.each(plants)("publishes no layer that was planted %s, and says so once", async (_, why, give) => {
    await using at = await pushedOnce();
    await plant(at);
    await rm(at.path("cache.lock"), { force: true });
    for (const name of await readdir(at.cache)) await give(at.path(name));
    const { digest, cachedLayers, notices } = await at.run();
    expect({ digest, cachedLayers }).toEqual({ digest: at.first.digest, cachedLayers: 0 });
    expect(notices).toEqual([
      { type: "notice", code: "CACHE_DISTRUSTED", path: expect.stringContaining(at.cache), why },
    ]);
    // It has made its own.
    if (why === "owner") expect((await at.run()).digest).toBe(at.first.digest);
  });

  test.each(plants)("reads nothing in a folder, and says so once: planted %s", async (_, why, give) => {
    await using at = await pushedOnce();
    await plant(at);
    await give(at.cache);
    await chmod(at.cache, (await stat(at.cache)).mode | 0o700);
    const { digest, cachedLayers, notices } = await at.run();
    expect({ digest, cachedLayers }).toEqual({ digest: at.first.digest, cachedLayers: 0 });
    expect(notices).toEqual([{ type: "notice", code: "CACHE_DISTRUSTED", path: at.cache, why }]);
  });

  test("takes folders, pipes and links under the cache's names for nothing", async () => {
    await using at = await pushedOnce();
    const names = await readdir(at.cache);
    for (const put of [
      (path: string) => mkdir(path),
      (path: string) => symlink(path, path),
      (path: string) => symlink("/dev/zero", path),
      (path: string) => runWell(["mkfifo", path]),
    ]) {
      for (const name of [...names, ...names.map((name) => `${name}.lock`), "cache.lock"]) {
        await rm(at.path(name), { recursive: true, force: true });
        await put(at.path(name));
      }
      const { digest, cachedLayers } = await at.run();
      expect({ digest, cachedLayers }).toEqual({ digest: at.first.digest, cachedLayers: 0 });
    }
  });
});

describe.skipIf(!canChown())("a push under sudo", () => {
  test("uses the caller's cache, and nobody else's", async () => {
    await using at = await pushedOnce();
    for (const path of [at.cache, ...(await readdir(at.cache)).map(at.path)])
      await chown(path, NOBODY, NOBODY);
    const used = await at.cli({ SUDO_UID: `${NOBODY}` });
    expect({
      code: used.code,
      isCached: used.stderr.includes(": cached, "),
      warns: used.stderr.includes("Warning"),
    }).toEqual({ code: 0, isCached: true, warns: false });
    for (const SUDO_UID of ["1", "", "nobody", "-2"]) {
      const { code, stderr } = await at.cli({ SUDO_UID });
      expect({
        code,
        isCached: stderr.includes(": cached, "),
        warns: stderr.includes("belongs to another user"),
      }).toEqual({
        code: 0,
        isCached: false,
        warns: true,
      });
      for (const name of await readdir(at.cache)) await chown(at.path(name), NOBODY, NOBODY);
    }
  });
});
