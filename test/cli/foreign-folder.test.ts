/** Ways of starting chunkpush in a folder that somebody else has written. build.test.ts has those that are built. */
import { setDefaultTimeout, test } from "bun:test";
import { dirname, join } from "node:path";
import { expectFolderToDecideNothing } from "../support/foreign-folder.ts";
import { describeWith } from "../support/needs.ts";

setDefaultTimeout(60_000);

const root = join(import.meta.dir, "../..");
const script = join(root, "index.ts");
const bun = process.execPath;

describeWith("openssl", "Files of a foreign working folder decide nothing", () => {
  test("with the npm scripts", async () => {
    const node = Bun.which("node") ?? bun;
    const path = process.env["PATH"] ?? "";
    await expectFolderToDecideNothing([node, join(root, "dev/with-bun.mjs"), script], { path });
  });

  test("with bun run, as far as .env is concerned", async () => {
    await expectFolderToDecideNothing([bun, "run", script], { path: dirname(bun), envFileOnly: true });
  });
});
