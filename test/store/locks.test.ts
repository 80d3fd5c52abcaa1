import { Database } from "bun:sqlite";
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { chmod, chown, mkdir, readdir, rm, stat, symlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { type LockMode, openLocks, tryLock } from "../../src/store/locks.ts";
import { runWell } from "../support/command.ts";
import { canChown } from "../support/needs.ts";
import { asNobody, canRunAsNobody, NOBODY } from "../support/nobody.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

/** Windows removes no file that is open. */
const isWindows = process.platform === "win32";

const MODULE = JSON.stringify(join(import.meta.dir, "../../src/store/locks.ts"));

/** Another process that takes a lock, and says whether it got it. It keeps it until it is killed. */
async function otherProcess(folder: string, name: string, mode: LockMode) {
  const child = Bun.spawn(
    [
      process.execPath,
      "-e",
      `import { tryLock } from ${MODULE};
       globalThis.lock = tryLock(${JSON.stringify(folder)}, ${JSON.stringify(name)}, ${JSON.stringify(mode)});
       console.log(globalThis.lock === undefined ? "refused" : "taken");
       setInterval(() => {}, 1000);`,
    ],
    { stdout: "pipe", stderr: "inherit" },
  );
  const { value } = await child.stdout.getReader().read();
  return {
    said: new TextDecoder().decode(value).trim(),
    async kill() {
      child.kill("SIGKILL");
      await child.exited;
    },
  };
}

const never = new AbortController().signal;
const fail = (reason: string) => {
  throw new Error(reason);
};

describe("a lock", () => {
  const cases: [LockMode, LockMode, "taken" | "refused"][] = [
    ["exclusive", "exclusive", "refused"],
    ["exclusive", "shared", "refused"],
    ["shared", "exclusive", "refused"],
    ["shared", "shared", "taken"],
  ];
  test.each(cases)(
    "that is held %s, and wanted %s, is %s, in one process and in two",
    async (held, wanted, outcome) => {
      await using folder = await temporaryFolder();
      {
        using lock = tryLock(folder.path, "a", held);
        expect(lock).toBeDefined();
        // One file, and nothing beside it.
        expect(await readdir(folder.path)).toEqual(["a.lock"]);
        {
          using second = tryLock(folder.path, "a", wanted);
          expect(second === undefined ? "refused" : "taken").toBe(outcome);
          // Whoever was refused has not spoiled the lock of the other.
          const other = await otherProcess(folder.path, "a", wanted);
          expect(other.said).toBe(outcome);
          await other.kill();
        }
        const exclusive = await otherProcess(folder.path, "a", "exclusive");
        expect(exclusive.said).toBe("refused");
        await exclusive.kill();
        using another = tryLock(folder.path, "b", "exclusive");
        expect(another).toBeDefined();
      }
      using again = tryLock(folder.path, "a", "exclusive");
      expect(again).toBeDefined();
    },
  );

  test.each<LockMode>(["exclusive", "shared"])(
    "that is %s is given back by a process that is killed",
    async (mode) => {
      await using folder = await temporaryFolder();
      const other = await otherProcess(folder.path, "a", mode);
      expect(other.said).toBe("taken");
      expect(tryLock(folder.path, "a", "exclusive")).toBeUndefined();
      await other.kill();
      {
        using lock = tryLock(folder.path, "a", "exclusive");
        expect(lock).toBeDefined();
      }
      expect(await readdir(folder.path)).toEqual([]);
    },
  );

  test.skipIf(isWindows)("on a file that was removed meanwhile does not count", async () => {
    await using folder = await temporaryFolder();
    using _old = tryLock(folder.path, "a", "exclusive");
    await rm(join(folder.path, "a.lock"));
    // As where somebody deletes the folder under a push.
    using fresh = tryLock(folder.path, "a", "exclusive");
    expect(fresh).toBeDefined();
  });
});

test("many processes that take turns are never two at a time", async () => {
  await using folder = await temporaryFolder();
  const program = `
    import { rmSync, writeFileSync } from "node:fs";
    import { tryLock } from ${MODULE};
    for (let turns = 0; turns < 300; ) {
      using lock = tryLock(${JSON.stringify(folder.path)}, "a", "exclusive");
      if (lock === undefined) continue;
      // Fails where somebody else is in here.
      writeFileSync(${JSON.stringify(join(folder.path, "inside"))}, "", { flag: "wx" });
      rmSync(${JSON.stringify(join(folder.path, "inside"))});
      turns++;
    }`;
  const children = Array.from({ length: 4 }, () =>
    Bun.spawn([process.execPath, "-e", program], { stderr: "inherit" }),
  );
  expect(await Promise.all(children.map(({ exited }) => exited))).toEqual([0, 0, 0, 0]);
  // Windows leaves it where somebody else just had a look at it.
  if (!isWindows) expect(await readdir(folder.path)).toEqual([]);
});

describe("a wait for a lock", () => {
  test("ends when the other is done, and is reported once", async () => {
    await using folder = await temporaryFolder();
    const locks = openLocks(folder.path, never, fail);
    const order: string[] = [];
    const { promise: othersWait, resolve } = Promise.withResolvers<void>();
    const onWaiting = (name: string) => {
      order.push(`${name} waits`);
      if (order.filter((each) => each.endsWith("waits")).length === 2) resolve();
    };
    const work = async (name: string) => {
      using _lock = await locks.take("a", () => onWaiting(name));
      order.push(`${name} begins`);
      await othersWait;
      order.push(`${name} ends`);
    };
    await Promise.all(["x", "y", "z"].map(work));
    expect(order.filter((each) => each.endsWith("waits"))).toHaveLength(2);
    const turns = order.filter((each) => !each.endsWith("waits"));
    for (let i = 0; i < turns.length; i += 2) {
      expect(turns[i + 1]).toBe(turns[i]?.replace("begins", "ends") ?? "");
    }
    expect(await readdir(folder.path)).toEqual([]);
  });

  test("ends with the reason of an interruption", async () => {
    await using folder = await temporaryFolder();
    using _lock = tryLock(folder.path, "a", "exclusive");
    const controller = new AbortController();
    const locks = openLocks(folder.path, controller.signal, fail);
    const reason = new Error("enough");
    const waiting = locks.take("a", () => controller.abort(reason));
    expect(await waiting.then(String, (error: unknown) => error)).toBe(reason);
  });
});

describe.skipIf(!canRunAsNobody())("a lock on another user's file", () => {
  test.each<[LockMode, string]>([
    ["shared", "taken"],
    ["exclusive", "readonly"],
  ])("that is wanted %s gives: %s", async (mode, outcome) => {
    await using folder = await temporaryFolder();
    await chmod(folder.path, 0o777);
    await writeFile(join(folder.path, "a.lock"), "", { mode: 0o644 });
    const program = `
      import { tryLock } from ${MODULE};
      try {
        using lock = tryLock(${JSON.stringify(folder.path)}, "a", "${mode}");
        console.log(lock && "taken");
      } catch (error) {
        console.log(error.message);
      }`;
    expect(await runWell(asNobody([process.execPath, "-e", program]), { cwd: folder.path })).toContain(
      outcome,
    );
  });
});

describe.skipIf(isWindows)("what was put under a lock's name", () => {
  const plants: [what: string, plant: (lock: string, outside: string) => Promise<unknown>][] = [
    ["a link to a file", (lock, outside) => writeFile(outside, "").then(() => symlink(outside, lock))],
    ["a link to nothing", (lock, outside) => symlink(outside, lock)],
    ["a link to itself", (lock) => symlink(lock, lock)],
    ["a pipe", (lock) => runWell(["mkfifo", lock])],
    [
      "a database with a journal of its own",
      async (lock) => {
        using database = new Database(lock);
        database.run("PRAGMA journal_mode = WAL");
        database.run("CREATE TABLE planted (a)");
      },
    ],
  ];
  test.each(plants)("fails as a lock, and is neither opened, followed nor removed: %s", async (_, plant) => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, "cache"));
    await plant(join(folder.path, "cache", "a.lock"), join(folder.path, "outside"));
    const names = async () =>
      [await readdir(folder.path), await readdir(join(folder.path, "cache"))].map((each) => each.sort());
    const before = await names();
    for (const mode of ["exclusive", "shared"] as const)
      expect(() => tryLock(join(folder.path, "cache"), "a", mode)).toThrow();
    expect(await names()).toEqual(before);
  });

  test("does not keep a cache behind a link from having locks", async () => {
    await using folder = await temporaryFolder();
    await mkdir(join(folder.path, "cache"));
    await symlink(join(folder.path, "cache"), join(folder.path, "link"));
    using lock = tryLock(join(folder.path, "link"), "a", "exclusive");
    expect(lock).toBeDefined();
    expect(tryLock(join(folder.path, "cache"), "a", "shared")).toBeUndefined();
  });
});

describe.skipIf(!canRunAsNobody())("a lock that root leaves in a user's folder, as sudo does", () => {
  test("is the user's, who can take it and prune", async () => {
    await using folder = await temporaryFolder();
    await chown(folder.path, NOBODY, NOBODY);
    tryLock(folder.path, "a", "shared")?.[Symbol.dispose]();
    const { mode } = await stat(join(folder.path, "a.lock"));
    expect(mode & 0o777).toBe(0o600);
    const program = `
      import { tryLock } from ${MODULE};
      using lock = tryLock(${JSON.stringify(folder.path)}, "a", "exclusive");
      console.log(lock && "taken");`;
    const said = await runWell(asNobody([process.execPath, "-e", program]), { cwd: folder.path });
    expect(said.trim()).toBe("taken");
  });
});

describe.skipIf(!canChown())("a lock of another user, who may hold it for ever", () => {
  test.each<LockMode>(["exclusive", "shared"])(
    "fails, unless the folder is that user's: %s",
    async (mode) => {
      await using folder = await temporaryFolder();
      const path = join(folder.path, "a.lock");
      await writeFile(path, "");
      await chown(path, NOBODY, NOBODY);
      expect(() => tryLock(folder.path, "a", mode)).toThrow("another user");
      expect(await readdir(folder.path)).toEqual(["a.lock"]);
      await chown(folder.path, NOBODY, NOBODY);
      using lock = tryLock(folder.path, "a", mode);
      expect(lock).toBeDefined();
    },
  );
});

describe("a folder where locks do not work", () => {
  test.each<[string, (folder: string) => Promise<unknown>]>([
    ["a folder that is gone", (folder) => rm(folder, { recursive: true })],
    ["something else under the lock's name", (folder) => mkdir(join(folder, "a.lock"))],
    ["a file that is no lock", (folder) => writeFile(join(folder, "a.lock"), "x".repeat(5000))],
  ])("is reported once, and makes nobody wait: %s", async (_, spoil) => {
    await using folder = await temporaryFolder();
    await spoil(folder.path);
    const reasons: string[] = [];
    const locks = openLocks(folder.path, never, (reason) => reasons.push(reason));
    for (const mode of ["exclusive", "shared"] as const) {
      using lock = await locks.take("a", () => fail("it waits"), mode);
      expect(lock).toBeDefined();
    }
    expect(reasons).toHaveLength(1);
  });
});
