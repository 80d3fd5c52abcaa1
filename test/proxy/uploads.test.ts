/** Uploads of clients, in every form that the specification has. */
import { describe, expect, test } from "bun:test";
import { digestOf } from "../../src/oci/digest.ts";
import { startTestProxy } from "../support/proxy.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { startTestRegistry } from "../support/test-registry.ts";

describe("an upload", () => {
  test("is a POST, a PATCH without a length and a PUT, as Docker's", async () => {
    await using registry = await startTestRegistry();
    await using proxy = await startTestProxy(registry);
    const bytes = seededBytes(3000, 1);
    const begun = await proxy.request("/v2/team/app/blobs/uploads/", { method: "POST" });
    expect(begun.status).toBe(202);
    const place = begun.headers.get("location") ?? "";
    const patched = await proxy.request(place, { method: "PATCH", body: new Blob([bytes]).stream() });
    expect(patched.status).toBe(202);
    const closed = await proxy.request(`${place}?digest=${digestOf(bytes)}`, { method: "PUT" });
    expect(closed.status).toBe(201);
    expect(await registry.pullBlob("team/app", digestOf(bytes))).toEqual(bytes);
  });
});
