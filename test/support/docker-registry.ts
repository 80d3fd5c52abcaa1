import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { runWell, startDaemon, waitFor } from "./command.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export type DockerRegistryOptions = {
  readonly credentials?: { readonly username: string; readonly password: string };
  /** Where tokens come from, and the file with the certificate of the key that signs them. */
  readonly tokens?: {
    readonly realm: string;
    readonly service: string;
    readonly issuer: string;
    readonly certificate: string;
  };
  /** Where blobs and uploads are kept, for one that is started again. @default a folder of its own */
  readonly storage?: string;
  /** A pattern of the URLs that layers which lie elsewhere may have. @default none */
  readonly foreignUrls?: string;
  /** Files. */
  readonly tls?: { readonly certificate: string; readonly key: string };
};

export type DockerRegistry = AsyncDisposable & {
  /** `127.0.0.1:<port>` */
  readonly host: string;
  readonly pid: number;
  /** What its access log has of chunkpush. A line is written after its answer. */
  requests(): Promise<LoggedRequest[]>;
};

export type LoggedRequest = {
  readonly method: string;
  /** With its query. */
  readonly path: string;
  readonly status: number;
};

/** Starts the reference implementation, as Debian packs it, on a free port. */
export async function startDockerRegistry(options: DockerRegistryOptions = {}): Promise<DockerRegistry> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const at = (name: string) => join(folder.path, name);
  await Bun.write(at("config.json"), JSON.stringify(await configOf(options, at), null, 2));

  const accessLog = at("access.log");
  const log = at("log");
  const daemon = startDaemon(["docker-registry", "serve", at("config.json")], {
    stdout: accessLog,
    stderr: log,
  });
  resources.defer(() => daemon.stop());
  const host = await waitFor("docker-registry", async () => {
    const said = await readFile(log, "utf8");
    if (daemon.hasExited()) throw new Error(`docker-registry gave up:\n${said.slice(-3000)}`);
    return /listening on (127\.0\.0\.1:\d+)/.exec(said)?.[1];
  });

  const owned = resources.move();
  return {
    host,
    pid: daemon.pid,
    requests: async () => parseAccessLog(await readFile(accessLog, "utf8")),
    [Symbol.asyncDispose]: () => owned.disposeAsync(),
  };
}

/** JSON is YAML, too. */
async function configOf(
  { credentials, tokens, tls, storage, foreignUrls }: DockerRegistryOptions,
  at: (name: string) => string,
) {
  if (credentials !== undefined) {
    const { username, password } = credentials;
    await Bun.write(at("htpasswd"), await runWell(["htpasswd", "-Bbn", username, password]));
  }
  return {
    version: "0.1",
    log: { level: "info" },
    storage: { filesystem: { rootdirectory: storage ?? at("storage") }, delete: { enabled: true } },
    http: {
      addr: "127.0.0.1:0",
      secret: "of these tests",
      ...(tls && { tls: { certificate: tls.certificate, key: tls.key } }),
    },
    ...(foreignUrls !== undefined && { validation: { manifests: { urls: { allow: [foreignUrls] } } } }),
    ...(tokens && {
      auth: {
        token: {
          realm: tokens.realm,
          service: tokens.service,
          issuer: tokens.issuer,
          rootcertbundle: tokens.certificate,
        },
      },
    }),
    ...(credentials && { auth: { htpasswd: { realm: "tests", path: at("htpasswd") } } }),
  };
}

function parseAccessLog(text: string): LoggedRequest[] {
  const lines = text.matchAll(
    /"(?<method>[A-Z]+) (?<path>\S+) HTTP\/[\d.]+" (?<status>\d+) .*"chunkpush"$/gm,
  );
  return Array.from(lines, ({ groups }) => ({
    method: groups?.["method"] ?? "",
    path: groups?.["path"] ?? "",
    status: Number(groups?.["status"]),
  }));
}
