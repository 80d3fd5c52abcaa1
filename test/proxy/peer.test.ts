import { expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { isFrom } from "../../src/proxy/peer.ts";

test.skipIf(!existsSync("/proc/net/tcp"))(
  "a connection is from the user who has made it, and from no other",
  async () => {
    const me = process.getuid?.() ?? 0;
    using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data() {} } });
    using client = await Bun.connect({ hostname: "127.0.0.1", port: server.port, socket: { data() {} } });
    expect(await isFrom([me], client.localPort, server.port)).toBe(true);
    expect(await isFrom([me + 1], client.localPort, server.port)).toBe(false);
    // There is no such connection.
    expect(await isFrom([me], client.localPort, 1)).toBe(false);
  },
);
