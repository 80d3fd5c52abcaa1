import { afterAll, beforeAll } from "bun:test";

/**
 * Opens what the tests of a `describe` share before the first of them, and disposes of it after the last.
 *
 * @returns what was opened, for the tests
 */
export function openForAll<T>(open: (resources: AsyncDisposableStack) => Promise<T>): () => T {
  const resources = new AsyncDisposableStack();
  let opened: { readonly value: T } | undefined;
  beforeAll(async () => {
    opened = { value: await open(resources) };
  });
  afterAll(() => resources.disposeAsync());
  return () => {
    if (opened === undefined) throw new Error("Nothing is open before the tests begin.");
    return opened.value;
  };
}
