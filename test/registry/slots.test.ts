import { describe, expect, test } from "bun:test";
import { registrySlots, type Slots, slots, type Turn } from "../../src/registry/slots.ts";

/** Work that notes its name when it begins, and ends when it is told to. */
function startLog() {
  const started: string[] = [];
  const ends = new Map<string, PromiseWithResolvers<void>>();
  const work = (name: string) => async () => {
    started.push(name);
    const end = Promise.withResolvers<void>();
    ends.set(name, end);
    await end.promise;
    return name;
  };
  return {
    started,
    work,
    end: (name: string) => ends.get(name)?.resolve(),
    fail: (name: string, error: Error) => ends.get(name)?.reject(error),
  };
}

const tick = () => Bun.sleep(0);

/** Returns how much of a lot of work runs at once. */
async function widthOf(limit: Slots): Promise<number> {
  const gate = Promise.withResolvers<void>();
  let running = 0;
  const all = Array.from({ length: 20 }, () =>
    limit.run(0, async () => {
      running++;
      await gate.promise;
    }),
  );
  await tick();
  const width = running;
  gate.resolve();
  await Promise.all(all);
  return width;
}

describe("slots", () => {
  test("run as much work at a time as allowed", async () => {
    for (const most of [1, 3, 8]) expect(await widthOf(slots(most))).toBe(most);
  });

  test("start the highest priority first, of equal ones the oldest", async () => {
    const log = startLog();
    const limit = slots(1);
    const order = [1, 5, 3, 5, Number.POSITIVE_INFINITY, 2].map((priority, i) => ({
      priority,
      name: `${i}`,
    }));
    const all = order.map(({ priority, name }) => limit.run(priority, log.work(name)));
    for (let i = 0; i < all.length; i++) {
      await tick();
      log.end(log.started.at(-1) ?? "");
    }
    expect(await Promise.all(all)).toEqual(["0", "1", "2", "3", "4", "5"]);
    expect(log.started).toEqual(["4", "1", "3", "2", "5", "0"]);
  });

  test("choose what turns up until they are settled, and what came while other work ran", async () => {
    const log = startLog();
    const settled = Promise.withResolvers<void>();
    const limit = slots(1, () => settled.promise);
    const all = [1, 3, 2].map((priority) => limit.run(priority, log.work(`${priority}`)));
    await tick();
    expect(log.started).toEqual([]);
    settled.resolve();
    await tick();
    expect(log.started).toEqual(["3"]);
    all.push(limit.run(9, log.work("9")));
    for (const name of ["3", "9", "2", "1"]) {
      log.end(name);
      await tick();
    }
    await Promise.all(all);
    expect(log.started).toEqual(["3", "9", "2", "1"]);
  });

  test("choose although `settled` fails", async () => {
    const limit = slots(1, () => Promise.reject(new Error("no matter")));
    expect(await limit.run(0, async () => "done")).toBe("done");
  });

  test("are free again after work that fails, at once or later", async () => {
    const limit = slots(1);
    const failure = new Error("failed");
    const thrown = limit.run(0, () => {
      throw failure;
    });
    await expect(thrown).rejects.toBe(failure);
    await expect(limit.run(0, () => Promise.reject(failure))).rejects.toBe(failure);
    expect(await limit.run(0, async () => "next")).toBe("next");
  });

  test("tell how much work runs at a time", async () => {
    const limit = slots(3);
    expect(limit.busy()).toBe(1);
    const log = startLog();
    const all = ["1", "2", "3", "4"].map((name, i) => {
      const end = limit.run(0, log.work(name));
      expect(limit.busy()).toBe(Math.min(i + 1, 3));
      return end;
    });
    for (const name of ["1", "2", "3", "4"]) {
      await tick();
      log.end(name);
    }
    await Promise.all(all);
    expect(limit.busy()).toBe(1);
  });

  test("are half as many after a repeated overload, never none, and one more after each success", async () => {
    const limit = slots(8);
    limit.overloaded();
    expect(await widthOf(limit)).toBe(8);
    limit.overloaded();
    expect(await widthOf(limit)).toBe(4);
    for (let i = 0; i < 10; i++) limit.overloaded();
    expect(await widthOf(limit)).toBe(1);
    limit.recovered();
    expect(await widthOf(limit)).toBe(2);
    for (let i = 0; i < 20; i++) limit.recovered();
    expect(await widthOf(limit)).toBe(8);
  });

  test("are fewer where only so many are allowed, and grow again after that", async () => {
    const limit = slots(4);
    limit.allow(2);
    limit.recovered();
    expect(await widthOf(limit)).toBe(2);
    limit.allow(0);
    expect(await widthOf(limit)).toBe(1);
    limit.allow(99);
    for (let i = 0; i < 9; i++) limit.recovered();
    expect(await widthOf(limit)).toBe(4);
  });

  test("are not halved by overloads with a success in between", async () => {
    const limit = slots(4);
    for (let i = 0; i < 5; i++) {
      limit.overloaded();
      limit.recovered();
    }
    expect(await widthOf(limit)).toBe(4);
  });
});

describe("work between two requests", () => {
  /** Starts work that makes requests until it is told to end. Counts those under way. */
  function startWork(limit: Slots, count: number) {
    const state = { requests: 0, most: 0, isOver: false, rounds: Array<number>(count).fill(0) };
    const all = Array.from({ length: count }, (_, i) =>
      limit.run(0, async (turn: Turn) => {
        while (!state.isOver) {
          await turn.pass();
          state.requests++;
          state.most = Math.max(state.most, state.requests);
          await tick();
          state.requests--;
          state.rounds[i] = (state.rounds[i] ?? 0) + 1;
        }
      }),
    );
    return { state, all };
  }

  test("does not wait while there are slots for all", async () => {
    const { state, all } = startWork(slots(4), 4);
    await Bun.sleep(20);
    expect(state.most).toBe(4);
    state.isOver = true;
    await Promise.all(all);
  });

  test("takes turns where there are fewer slots than work under way", async () => {
    const limit = slots(8);
    const { state, all } = startWork(limit, 8);
    await Bun.sleep(10);
    limit.overloaded();
    limit.overloaded();
    await Bun.sleep(10);
    state.most = 0;
    const before = [...state.rounds];
    await Bun.sleep(50);
    expect(state.most).toBe(4);
    for (const [i, rounds] of state.rounds.entries()) expect(rounds).toBeGreaterThan(before[i] ?? 0);
    state.isOver = true;
    await Promise.all(all);
  });

  test("goes on before other work begins, whatever its priority", async () => {
    const limit = slots(2);
    const log = startLog();
    const gates = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const begun = gates.map(({ promise }, i) =>
      limit.run(0, async (turn) => {
        await promise;
        await turn.pass();
        log.started.push(`begun ${i}`);
      }),
    );
    await tick();
    const other = limit.run(9, log.work("other"));
    limit.overloaded();
    limit.overloaded();
    for (const gate of gates) gate.resolve();
    await Promise.all(begun);
    await tick();
    expect(log.started).toEqual(["begun 0", "begun 1", "other"]);
    log.end("other");
    await other;
  });

  test("goes on while the next choice is not settled", async () => {
    const settled = [Promise.resolve(), new Promise<void>(() => {})];
    const limit = slots(3, () => settled.shift() ?? Promise.resolve());
    const { state, all } = startWork(limit, 2);
    await Bun.sleep(5);
    void limit.run(9, async () => {});
    limit.overloaded();
    limit.overloaded();
    await Bun.sleep(5);
    const before = [...state.rounds];
    await Bun.sleep(20);
    for (const [i, rounds] of state.rounds.entries()) expect(rounds).toBeGreaterThan(before[i] ?? 0);
    state.isOver = true;
    await Promise.all(all);
  });

  test("ends, and frees its slot, when it is aborted while it waits", async () => {
    const limit = slots(2);
    const abort = new AbortController();
    const reason = new Error("enough");
    const aborted = new Promise<void>((resolve) => abort.signal.addEventListener("abort", () => resolve()));
    const all = [1, 2].map(() =>
      limit.run(0, async (turn) => {
        for (;;) {
          await turn.pass();
          abort.signal.throwIfAborted();
          await Promise.race([Bun.sleep(1), aborted]);
        }
      }),
    );
    await tick();
    limit.overloaded();
    limit.overloaded();
    await Bun.sleep(5);
    abort.abort(reason);
    const ends = await Promise.allSettled(all);
    expect(ends).toEqual([1, 2].map(() => ({ status: "rejected", reason })));
    expect(await limit.run(0, async () => "next")).toBe("next");
  });
});

describe("work that waits for something else than a slot", () => {
  test("leaves its slot to others, and takes it back before other work begins", async () => {
    const limit = slots(1);
    const log = startLog();
    const gate = Promise.withResolvers<string>();
    const idle = limit.run(0, async (turn) => {
      log.started.push(await turn.idle(gate.promise));
      return "idle";
    });
    await tick();
    const all = ["1", "2"].map((name) => limit.run(9, log.work(name)));
    await tick();
    expect(log.started).toEqual(["1"]);
    gate.resolve("back");
    await tick();
    expect(log.started).toEqual(["1"]);
    log.end("1");
    await tick();
    await tick();
    expect(log.started).toEqual(["1", "back", "2"]);
    log.end("2");
    expect(await Promise.all([idle, ...all])).toEqual(["idle", "1", "2"]);
    expect(limit.busy()).toBe(1);
    expect(await widthOf(limit)).toBe(1);
  });

  test("fails with what it waits for, and frees its slot", async () => {
    const limit = slots(2);
    const failure = new Error("failed");
    const all = [1, 2, 3].map(() => limit.run(0, (turn) => turn.idle(Promise.reject(failure))));
    const reasons = (await Promise.allSettled(all)).map((end) => "reason" in end && end.reason);
    expect(reasons).toEqual([failure, failure, failure]);
    expect(await widthOf(limit)).toBe(2);
  });

  test("never runs with more at a time than there are slots, whoever comes back when", async () => {
    const limit = slots(3);
    let running = 0;
    let most = 0;
    const step = async () => {
      most = Math.max(most, ++running);
      await tick();
      running--;
    };
    const all = Array.from({ length: 12 }, (_, i) =>
      limit.run(i, async (turn) => {
        for (let round = 0; round < 5; round++) {
          await step();
          await turn.idle(Bun.sleep(i % 3));
          await turn.pass();
        }
        return i;
      }),
    );
    expect(await Promise.all(all)).toEqual(Array.from({ length: 12 }, (_, i) => i));
    expect(most).toBe(3);
    expect(await widthOf(limit)).toBe(3);
  });
});

describe("a registry's slots", () => {
  test("ask 16 questions at a time, beside as many uploads as allowed", async () => {
    const { asking, sending } = registrySlots(3);
    expect([await widthOf(asking), await widthOf(sending)]).toEqual([16, 3]);
  });

  test("are one for all where there is one upload at a time: questions go first", async () => {
    const { asking, sending } = registrySlots(1);
    const log = startLog();
    const uploads = [1, 2].map((size) => sending.run(size, log.work(`upload ${size}`)));
    const question = asking.run(Number.POSITIVE_INFINITY, log.work("question"));
    for (const name of ["question", "upload 2", "upload 1"]) {
      await Bun.sleep(1);
      expect(log.started.at(-1)).toBe(name);
      log.end(name);
    }
    await Promise.all([...uploads, question]);
  });
});
