/** How a check finds the largest request body that passes. */
import { describe, expect, test } from "bun:test";
import { checkLargestBody } from "../../src/check/largest-body.ts";
import { brokenBody, faultAt } from "../support/faults.ts";
import { clientOf } from "../support/registry-client.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { check, failuresOf, ME, stepOf } from "./run-check.ts";

describe("The search for the largest body in a check", () => {
  test("finds the largest body that passes, and names the server that refuses a larger one", async () => {
    await using registry = await startTestRegistry({
      credentials: ME,
      maxChunkBytes: 100_000_000,
      maxBodyBytes: 700_000,
    });
    const checked = await check({ ...registry, uploadBytes: 20_000_000 });
    const { facts } = stepOf(checked, "Body");
    expect(facts).toMatchObject({ status: 413, server: "cloudflare", title: "413 Request Entity Too Large" });
    const { passedBytes, refusedBytes } = facts as { passedBytes: number; refusedBytes: number };
    expect(passedBytes).toBeLessThanOrEqual(700_000);
    expect(refusedBytes).toBeGreaterThan(700_000);
    expect(refusedBytes / passedBytes).toBeLessThan(1.03);
    expect(checked.ready).toBe(true);
    const cancelled = registry.requests.filter(({ method, status }) => method === "DELETE" && status === 204);
    expect(cancelled).toHaveLength(registry.recorded("start-upload").length);
  });

  test("names no two sizes that look the same", async () => {
    const limits = { maxChunkBytes: 100_000_000, maxBodyBytes: 2_097_152 };
    await using registry = await startTestRegistry({ credentials: ME, ...limits });
    const checked = await check({ ...registry, uploadBytes: 20_000_000 });
    expect(stepOf(checked, "Body").text).toStartWith(
      "a body of 2.1 MB passes; a slightly larger one is refused by cloudflare",
    );
  });

  test("ends with the whole size where that is not refused", async () => {
    await using registry = await startTestRegistry({ credentials: ME, maxChunkBytes: 100_000_000 });
    const checked = await check({ ...registry, uploadBytes: 3_000_000 });
    expect(stepOf(checked, "Body").facts).toMatchObject({ passedBytes: 3_000_000 });
  });

  test("starts no higher than the maximum that the registry announces", async () => {
    await using registry = await startTestRegistry({ credentials: ME });
    const checked = await check({ ...registry, uploadBytes: 3_000_000 });
    expect(stepOf(checked, "Body").facts).toMatchObject({ passedBytes: 65_536 });
  });

  test("fails where the connection breaks before an upload begins, which says nothing about a body", async () => {
    const breaking = faultAt("start-upload", [2, 3], () => "drop" as const);
    await using registry = await startTestRegistry({ credentials: ME, intercept: breaking });
    const checked = await check({ ...registry, uploadBytes: 60_000 });
    expect(failuresOf(checked)).toEqual([["Body", "CONNECTION_LOST"]]);
  });

  test("counts a body that breaks the connection as refused", async () => {
    // The step "Resume" sends three chunks.
    const breaking = faultAt("patch", [4], brokenBody);
    const options = { credentials: ME, maxChunkBytes: 1_000_000, intercept: breaking };
    await using registry = await startTestRegistry(options);
    const { state, facts } = stepOf(await check({ ...registry, uploadBytes: 400_000 }), "Body");
    expect(state).toBe("ok");
    expect(facts).toMatchObject({ refusedBytes: 400_000, passedBytes: expect.any(Number) });
  });

  test("says that nothing was sent where its time ends before the first byte", async () => {
    await using registry = await startTestRegistry();
    const client = clientOf(registry);
    const finding = await checkLargestBody(client, 50_000_000, client, AbortSignal.abort());
    expect(finding).toMatchObject({
      state: "limited",
      text: "nothing of a body of 50.0 MB was sent within 10 s",
      facts: { passedBytes: 0, sentBytes: 0 },
    });
  });
});
