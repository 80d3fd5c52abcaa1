/**
 * Real clients push through `chunkpush proxy`, and pull what they pushed:
 *
 *     CHUNKPUSH_PROXY_MATRIX=all   at registries that fail and that take their time as well; some 40 minutes
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import { handmadeImage } from "./handmade-image.ts";
import { requireParts } from "./parts.ts";
import { THIS_MACHINE } from "./place.ts";
import { CLIENTS, type Client, type ClientRole, skopeo } from "./proxy-clients.ts";
import { type ProxyProcess, startProxyProcess } from "./proxy-process.ts";
import { SLOW_UPSTREAMS, UPSTREAMS, type Upstream, type UpstreamRole } from "./proxy-upstreams.ts";
import { readPushed } from "./pushed-image.ts";
import { seededBytes } from "./seeded-bytes.ts";

const isWhole = process.env["CHUNKPUSH_PROXY_MATRIX"] === "all";

setDefaultTimeout(isWhole ? 900_000 : 60_000);

/** Of 5 MiB or more: sent while it comes. Of 3 KB: sent when it is whole. */
const LAYER_BYTES = [24_000_000, 9_000_000, 3000];

const image = handmadeImage(
  "team/app:v1",
  LAYER_BYTES.map((bytes) => seededBytes(`proxy ${bytes}`, bytes)),
);

/** Clients push to one proxy after the other, as to one registry that everybody uses. */
const lines: { readonly role: UpstreamRole; upstream?: Upstream; proxy?: ProxyProcess }[] = [
  ...UPSTREAMS,
  ...(isWhole ? SLOW_UPSTREAMS : []),
].map((role) => ({ role }));

const resources = new AsyncDisposableStack();
beforeAll(async () => {
  for (const line of lines) {
    line.upstream = resources.use(await line.role.start());
    line.proxy = resources.use(await startProxyProcess(line.upstream.registry, line.upstream.env));
  }
});
afterAll(() => resources.disposeAsync());

let repositories = 0;

const AT_ONCE = 10;

for (const role of CLIENTS) describe(role.title, () => testClient(role));

function testClient({ start, keepsLayers }: ClientRole): void {
  let client: Client;
  beforeAll(async () => {
    client = await start(image.archive);
  });
  afterAll(() => client[Symbol.asyncDispose]());

  for (const line of lines) {
    test(`an image goes through the proxy to ${line.role.title}, and comes back the same`, async () => {
      const { upstream, proxy } = line as Required<typeof line>;
      const name = `clients/number-${++repositories}`;
      const reference = `${proxy.host}/${name}:v1`;
      const pushed = await client.push(reference).catch(async (error) => {
        throw new Error(`${error}\nThe proxy said:\n${await proxy.log()}`);
      });
      const { digest, diffIds } = await readPushed(`${upstream.direct}/v2/${name}`, "v1");
      expect(pushed).toBe(digest);
      if (keepsLayers) expect(diffIds).toEqual([image.diffIds]);
      expect(await client.pull(reference)).toBe(digest);
      expect(await proxy.spooled()).toEqual([]);
    });
  }
}

const hasSkopeo = requireParts("skopeo");
for (const line of lines.filter(() => hasSkopeo && isWhole)) {
  test(`${AT_ONCE} images go through the proxy to ${line.role.title} at once`, async () => {
    const { upstream, proxy } = line as Required<typeof line>;
    const push = async (_: unknown, i: number) => {
      const layers = [seededBytes(`large ${i}`, 12_000_000), seededBytes(`small ${i}`, 3000)];
      const one = handmadeImage("team/app:v1", layers);
      await using client = await skopeo("skopeo", THIS_MACHINE).start(one.archive);
      const name = `at-once/number-${i}`;
      const pushed = await client.push(`${proxy.host}/${name}:v1`);
      const { digest, diffIds } = await readPushed(`${upstream.direct}/v2/${name}`, "v1");
      expect(pushed).toBe(digest);
      expect(diffIds).toEqual([one.diffIds]);
    };
    await Promise.all(Array.from({ length: AT_ONCE }, push));
    expect(await proxy.spooled()).toEqual([]);
  });
}
