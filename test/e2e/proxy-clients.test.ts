/**
 * Real clients push through `chunkpush proxy`, and pull what they pushed:
 *
 *     CHUNKPUSH_PROXY_MATRIX=all   at registries that fail and that take their time as well; half an hour
 */

import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { RUNS_ALL } from "../support/all-tests.ts";
import { seededLayer } from "../support/image-fixture.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { requireParts } from "../support/parts.ts";
import { THIS_MACHINE } from "../support/place.ts";
import { CLIENTS, type Client, type ClientRole, skopeo } from "./proxy-clients.ts";
import { startProxyProcess } from "./proxy-process.ts";
import { SLOW_UPSTREAMS, UPSTREAMS, type UpstreamRole } from "./proxy-upstreams.ts";
import { readLayers } from "./registry-content.ts";

const isWhole = process.env["CHUNKPUSH_PROXY_MATRIX"] === "all";

setDefaultTimeout(isWhole ? 900_000 : 60_000);

/** Of 5 MiB or more: sent while it comes. Of 3 KB: sent when it is whole. */
const LAYER_BYTES = [24_000_000, 9_000_000, 3000];

const image = dockerArchive(
  LAYER_BYTES.map((bytes) => seededLayer(bytes, `proxy ${bytes}`)),
  ["team/app:v1"],
);

// Without all tests, one.
const upstreams = [...UPSTREAMS.slice(0, RUNS_ALL ? undefined : 1), ...(isWhole ? SLOW_UPSTREAMS : [])];

/** Starts a registry that nobody has used, from which nothing can be mounted, and a proxy before it. */
async function openLine(role: UpstreamRole) {
  await using resources = new AsyncDisposableStack();
  const upstream = resources.use(await role.start());
  const proxy = resources.use(await startProxyProcess(upstream.registry, upstream.env));
  const owned = resources.move();
  return { upstream, proxy, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

const AT_ONCE = 10;

for (const role of CLIENTS) describe(role.title, () => testClient(role));

function testClient({ start, keepsLayers }: ClientRole): void {
  let client: Client;
  beforeAll(async () => {
    client = await start(image.archive);
  });
  afterAll(() => client[Symbol.asyncDispose]());

  for (const role of upstreams) {
    test(`carries an image through the proxy to ${role.title}, and has the same back`, async () => {
      await using line = await openLine(role);
      const { upstream, proxy } = line;
      const reference = `${proxy.host}/team/app:v1`;
      const pushed = await client.push(reference).catch(async (error) => {
        throw new Error(`${error}\nThe proxy said:\n${await proxy.log()}`);
      });
      const { digest, diffIds } = await readLayers(`${upstream.direct}/team/app:v1`);
      expect(pushed).toBe(digest);
      if (keepsLayers) expect(diffIds).toEqual([[...image.diffIds]]);
      expect(await client.pull(reference)).toBe(digest);
      expect(await proxy.spooled()).toEqual([]);
    });
  }
}

const hasSkopeo = requireParts("skopeo");
for (const role of upstreams.filter(() => hasSkopeo && isWhole)) {
  test(`${AT_ONCE} images go through the proxy to ${role.title} at once`, async () => {
    await using line = await openLine(role);
    const { upstream, proxy } = line;
    const push = async (_: unknown, i: number) => {
      const layers = [seededLayer(12_000_000, `large ${i}`), seededLayer(3000, `small ${i}`)];
      const one = dockerArchive(layers, ["team/app:v1"]);
      await using client = await skopeo("skopeo", THIS_MACHINE).start(one.archive);
      const name = `at-once/number-${i}`;
      const pushed = await client.push(`${proxy.host}/${name}:v1`);
      const { digest, diffIds } = await readLayers(`${upstream.direct}/${name}:v1`);
      expect(pushed).toBe(digest);
      expect(diffIds).toEqual([[...one.diffIds]]);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, push));
    expect(await proxy.spooled()).toEqual([]);
  });
}
