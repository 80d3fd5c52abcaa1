import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { startDaemon, waitFor } from "../support/command.ts";
import { freePort } from "../support/nginx.ts";
import { cliCommand } from "../support/run-cli.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

/** `chunkpush proxy` in a process of its own, as users start it. */
export type ProxyProcess = AsyncDisposable & {
  /** `localhost:<port>` */
  readonly host: string;
  readonly pid: number;
  /** What it has written. */
  log(): Promise<string>;
  /** Files in its spool: blobs that wait for the registry. */
  spooled(): Promise<string[]>;
};

/** @param registry with `http://` for one without TLS */
export async function startProxyProcess(
  registry: string,
  env: Readonly<Record<string, string>> = {},
): Promise<ProxyProcess> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const at = (name: string) => join(folder.path, name);
  const host = `localhost:${freePort()}`;
  const port = host.slice(host.indexOf(":") + 1);
  const daemon = startDaemon(
    cliCommand([
      ...["proxy", registry, "--port", port],
      ...["--cache-dir", at("cache"), "--spool-dir", at("spool")],
    ]),
    { stdout: at("out"), stderr: at("log") },
    { HOME: folder.path, ...env },
  );
  resources.defer(() => daemon.stop());
  const log = () => readFile(at("log"), "utf8");
  await waitFor("the proxy", async () => {
    if (daemon.hasExited()) throw new Error(`The proxy gave up:\n${await log()}`);
    return (await log()).includes("Listening on") || undefined;
  });
  const owned = resources.move();
  return {
    host,
    pid: daemon.pid,
    log,
    spooled: async () => (await readdir(at("spool"))).filter((name) => name.startsWith("spool-")),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}
