/** check and plan in a real terminal. */
import { expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { describeWith } from "../support/needs.ts";
import { cliCommand } from "../support/run-cli.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { tarBytes } from "../support/tar-fixture.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { startTestRegistry } from "../support/test-registry.ts";
import { ENDED, openTerminal } from "./tmux.ts";

setDefaultTimeout(120_000);

/** How the shell of a terminal runs chunkpush. */
const commandLine = (...args: string[]) =>
  cliCommand(args)
    .map((word) => `'${word}'`)
    .join(" ");

describeWith("tmux", "The terminal", () => {
  test("wraps a check's lines between words at 40 columns, after a hidden password", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry({ credentials: { username: "me", password: "hush-Xq7" } });
    await using terminal = await openTerminal({ columns: 40, rows: 40, cwd: folder.path });
    await terminal.run(commandLine("check", "--username", "me", `${registry.host}/my/app`));
    await terminal.until("Password");
    await terminal.press("hush-Xq7", "Enter");
    const lines = await terminal.until(ENDED);
    expect(lines).toContain("ended 0");
    expect(lines).toContain("✓ Resume    an interrupted layer resumes");
    expect(lines).toContain("            where it stopped");
    expect(lines.join("\n")).not.toContain("hush");
    expect(await terminal.isCursorShown()).toBe(true);
  });

  test("shows the running step of a check in place, until it ends", async () => {
    await using folder = await temporaryFolder();
    const { promise: seen, resolve: see } = Promise.withResolvers<void>();
    await using server = startHttpServer(async () => {
      await seen;
      return new Response("{}", { status: 401, headers: { "www-authenticate": "Basic" } });
    });
    await using terminal = await openTerminal({ columns: 80, rows: 30, cwd: folder.path });
    await terminal.run(commandLine("check", `${server.host}/my/app`));
    await terminal.until("Checking Registry …");
    see();
    const lines = await terminal.until(ENDED);
    expect(lines).toContain("ended 1");
    expect(lines.join("\n")).not.toContain("Checking");
  });

  test("shows a plan as a table", async () => {
    await using folder = await temporaryFolder();
    await using registry = await startTestRegistry();
    const raw = new Uint8Array(tarBytes([{ path: "file", body: seededBytes(20_000, 1) }]));
    await Bun.write(join(folder.path, "output.tar"), dockerArchive([raw], ["my/app:v1"]).archive);
    await using terminal = await openTerminal({ columns: 80, rows: 30, cwd: folder.path });
    await terminal.run(commandLine("plan", `${registry.host}/my/app:v1`));
    const lines = await terminal.until(ENDED);
    expect(lines).toContain("LAYER             RAW    PUSHED  PLAN");
    expect(lines[lines.indexOf("ended 0") - 1]).toEndWith("Nothing was sent.");
    expect(lines.join("\n")).not.toContain("Planning");
  });
});
