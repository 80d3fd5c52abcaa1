import { PushError } from "../../src/errors.ts";

/** What an expected failure was thrown with. A success, or any other error than ours, fails the test. */
export async function rejection(work: Promise<unknown> | (() => unknown)): Promise<PushError> {
  try {
    await (typeof work === "function" ? work() : work);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error("expected a failure, but it succeeded");
}
