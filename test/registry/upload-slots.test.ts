import { expect, test } from "bun:test";
import { RegistryError } from "../../src/errors.ts";
import { type UploadSlots, uploadSlots } from "../../src/registry/upload/slots.ts";

const failed = (status: number) =>
  new RegistryError("REGISTRY_FAILED", "no", {
    status,
    specCodes: [],
    namedDigests: [],
    headers: new Headers(),
    url: "http://r",
  });

/** How many of many requests run at once. */
async function widthOf(slots: UploadSlots): Promise<number> {
  const gate = Promise.withResolvers<void>();
  let running = 0;
  const requests = Array.from({ length: 20 }, () =>
    slots.run(async () => {
      running++;
      await gate.promise;
      throw failed(404);
    }),
  );
  // p-limit starts what it may within some turns of the queue of microtasks.
  for (let turn = 0; turn < 50; turn++) await Promise.resolve();
  const width = running;
  gate.resolve();
  await Promise.allSettled(requests);
  return width;
}

const overload = (slots: UploadSlots, status: number) =>
  slots.run(() => Promise.reject(failed(status))).catch(() => {});

test("as many as allowed", async () => {
  expect(await widthOf(uploadSlots(8))).toBe(8);
});

test.each([429, 503, 520, 522, 524])(
  "fewer after repeated %d, never none, and more again with success",
  async (status) => {
    const slots = uploadSlots(8);
    await overload(slots, status);
    expect(await widthOf(slots)).toBe(8);
    await overload(slots, status);
    expect(await widthOf(slots)).toBe(4);
    for (let i = 0; i < 10; i++) await overload(slots, status);
    expect(await widthOf(slots)).toBe(1);
    await slots.run(async () => {});
    expect(await widthOf(slots)).toBe(2);
    for (let i = 0; i < 20; i++) await slots.run(async () => {});
    expect(await widthOf(slots)).toBe(8);
  },
);

test("other failures change nothing", async () => {
  const slots = uploadSlots(4);
  for (const status of [400, 404, 413, 416, 500, 502])
    for (let i = 0; i < 3; i++) await overload(slots, status);
  expect(await widthOf(slots)).toBe(4);
});
