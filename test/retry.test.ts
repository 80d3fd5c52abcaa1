import { describe, expect, test } from "bun:test";
import { PushError } from "../src/errors.ts";
import { type Call, type Retries, type Retry, retry as retryWith, backOff as waitFor } from "../src/retry.ts";

type Policy = Retries & Call;

const retry = <T>(
  policy: Policy,
  isRetryable: (error: unknown) => boolean,
  retryAfterMs: (error: unknown) => number,
  attempt: () => Promise<T>,
) => retryWith(policy, isRetryable, retryAfterMs, attempt, policy);

const backOff = (policy: Policy, failures: number, error: unknown, requestedMs = 0) =>
  waitFor(policy, { count: failures - 1, requestedMs: 0 }, error, requestedMs, policy);

function policyOf(count: number, more: Partial<Policy> = {}) {
  const told: Retry[] = [];
  const controller = new AbortController();
  const policy: Policy = {
    count,
    baseDelayMs: 1,
    signal: controller.signal,
    onRetry: (retry) => void told.push(retry),
    ...more,
  };
  return { policy, told, controller };
}

const always = () => true;
const atOnce = () => 0;
const reason = new Error("enough");
const thrownBy = (work: Promise<unknown>) => work.then(String, (error: unknown) => error);

describe("retry", () => {
  test.each([
    [0, 1],
    [1, 2],
    [4, 5],
  ])("makes, with %d retries, %d tries, and throws the last error", async (retries, tries) => {
    const { policy, told } = policyOf(retries);
    const errors: Error[] = [];
    const failing = retry(policy, always, atOnce, async () => {
      const error = new Error(`try ${errors.length + 1}`);
      errors.push(error);
      throw error;
    });
    expect(await thrownBy(failing)).toBe(errors.at(-1));
    expect(errors).toHaveLength(tries);
    expect(told.map(({ attempt, error }) => [attempt, error])).toEqual(
      errors.slice(0, -1).map((error, i) => [i + 1, error]),
    );
  });

  test("ends with the first success, and gives what it gave", async () => {
    const { policy, told } = policyOf(5);
    let tries = 0;
    const value = await retry(policy, always, atOnce, async () => {
      tries++;
      if (tries < 3) throw new Error("not yet");
      return `after ${tries}`;
    });
    expect([value, tries, told.length]).toEqual(["after 3", 3, 2]);
  });

  test("throws at once what will not pass, and asks about each error anew", async () => {
    const { policy, told } = policyOf(5);
    const final = new Error("final");
    let tries = 0;
    const failing = retry(
      policy,
      (error) => error !== final,
      atOnce,
      async () => {
        tries++;
        throw tries === 2 ? final : new Error("passing");
      },
    );
    expect(await thrownBy(failing)).toBe(final);
    expect([tries, told.length]).toEqual([2, 1]);
  });

  test("does not try again after an interruption, and throws its reason", async () => {
    const { policy, told, controller } = policyOf(5);
    let tries = 0;
    const failing = retry(policy, always, atOnce, async () => {
      tries++;
      controller.abort(reason);
      throw new Error("aborted, in the words of whoever noticed");
    });
    expect(await thrownBy(failing)).toBe(reason);
    expect([tries, told.length]).toEqual([1, 0]);
  });

  test("ends a wait at once at an interruption, however long, and does not try again", async () => {
    const { controller, policy } = policyOf(5, {
      baseDelayMs: 3_600_000,
      onRetry: () => controller.abort(reason),
    });
    let tries = 0;
    const failing = retry(
      policy,
      always,
      () => 600_000,
      async () => {
        tries++;
        throw new Error("down");
      },
    );
    expect(await thrownBy(failing)).toBe(reason);
    expect(tries).toBe(1);
  });

  test("waits at least as long as each error asks", async () => {
    const { policy, told } = policyOf(3);
    let tries = 0;
    const requested = [7, 0, 11];
    await retry(
      policy,
      always,
      () => requested[tries - 1] ?? 0,
      async () => {
        if (++tries <= 3) throw new Error("busy");
      },
    );
    expect(told[0]?.delayMs).toBe(7);
    expect(told[1]?.delayMs).toBeLessThan(7);
    expect(told[2]?.delayMs).toBe(11);
  });
});

describe("backOff", () => {
  /** The wait that is announced; it is not waited for. */
  async function announced(failures: number, baseDelayMs: number, requestedMs?: number): Promise<number> {
    const { policy, told, controller } = policyOf(99, {
      baseDelayMs,
      onRetry: (retry) => {
        told.push(retry);
        controller.abort(reason);
      },
    });
    expect(await thrownBy(backOff(policy, failures, new Error("x"), requestedMs))).toBe(reason);
    return told[0]?.delayMs ?? Number.NaN;
  }

  test.each([
    [1, 1000],
    [2, 2000],
    [3, 4000],
    [5, 16_000],
    [6, 30_000],
    [20, 30_000],
    [2000, 30_000],
  ])("waits, after %d failures in a row, %d ms less at most a half", async (failures, ceiling) => {
    const delays = await Promise.all(Array.from({ length: 30 }, () => announced(failures, 1000)));
    for (const delayMs of delays) {
      expect(delayMs).toBeGreaterThanOrEqual(ceiling / 2);
      expect(delayMs).toBeLessThanOrEqual(ceiling);
    }
    expect(new Set(delays).size).toBeGreaterThan(1);
  });

  test.each([60_000, 600_000])("waits as long as a server asks, even for %d ms", async (ms) => {
    expect(await announced(1, 1000, ms)).toBe(ms);
  });

  test("waits no less for a server that asks for a shorter wait", async () => {
    expect(await announced(3, 1000, 5)).toBeGreaterThanOrEqual(2000);
  });

  const noWait = {
    onRetry: () => {
      throw new Error("a wait was announced");
    },
  };

  test.each([600_001, 2 ** 31, 2 ** 40, 2 ** 60])(
    "does not wait for a server that asks for %d ms",
    async (ms) => {
      const cause = new Error("overloaded");
      const error = await backOff(policyOf(1, noWait).policy, 1, cause, ms).catch((error: unknown) => error);
      expect(error).toBeInstanceOf(PushError);
      expect(error).toMatchObject({ code: "STALLED", cause, message: expect.stringContaining("overloaded") });
    },
  );

  test("waits no longer for a server that asks for ten minutes in many small waits", async () => {
    const { policy } = policyOf(99, noWait);
    const failures = { count: 3, requestedMs: 599_000 };
    const error = await waitFor(policy, failures, new Error("busy"), 1001, policy).catch((error) => error);
    expect(error).toMatchObject({ code: "STALLED" });
  });

  test("sums up its waits from one failure to the next", async () => {
    const { policy, told } = policyOf(99);
    const waits = [3, 4, 600_000];
    const error = await retryWith(
      policy,
      always,
      () => waits[told.length] ?? 0,
      () => Promise.reject(reason),
      policy,
    ).then(String, (error: unknown) => error);
    expect(error).toMatchObject({ code: "STALLED", cause: reason });
    expect(told.map(({ attempt }) => attempt)).toEqual([1, 2]);
  });
});
