import { join } from "node:path";
import { writeCertificates } from "./certificate-files.ts";
import { startDaemon, waitFor } from "./command.ts";
import { temporaryFolder } from "./temporary-folder.ts";

export type NginxOptions = {
  /** `host:port` of the registry behind it. */
  readonly registry: string;
  /** nginx's `client_max_body_size`: `1m`. */
  readonly maxBody: string;
};

export type Nginx = AsyncDisposable & {
  /** `127.0.0.1:<port>`, with TLS */
  readonly host: string;
  /** The file of the authority that vouches for it, alone in its folder. */
  readonly authority: string;
};

/** Starts nginx in front of a registry, as people set it up: TLS, and a limit for the body. */
export async function startNginx({ registry, maxBody }: NginxOptions): Promise<Nginx> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const at = (name: string) => join(folder.path, name);
  const { certificate, key, authority } = await writeCertificates(folder.path);
  const port = freePort();
  await Bun.write(
    at("nginx.conf"),
    `daemon off; master_process off; pid ${at("pid")}; error_log stderr;
events {}
http {
  access_log off;
  client_body_temp_path ${at("body")}; proxy_temp_path ${at("proxy")}; fastcgi_temp_path ${at("fastcgi")};
  uwsgi_temp_path ${at("uwsgi")}; scgi_temp_path ${at("scgi")};
  client_max_body_size ${maxBody};
  server {
    listen 127.0.0.1:${port} ssl;
    ssl_certificate ${certificate}; ssl_certificate_key ${key};
    location / {
      proxy_pass http://${registry};
      proxy_set_header Host $http_host;
      proxy_set_header X-Forwarded-Proto $scheme;
    }
  }
}
`,
  );
  const daemon = startDaemon(["nginx", "-p", folder.path, "-c", at("nginx.conf")], {
    stdout: at("out"),
    stderr: at("log"),
  });
  resources.defer(() => daemon.stop());
  const host = `127.0.0.1:${port}`;
  await waitFor("nginx", async () => {
    if (daemon.hasExited()) throw new Error(`nginx gave up:\n${await Bun.file(at("log")).text()}`);
    const answer = await fetch(`https://${host}/v2/`, { tls: { ca: Bun.file(authority) } }).catch(
      () => undefined,
    );
    return answer?.ok;
  });
  const owned = resources.move();
  return { host, authority, [Symbol.asyncDispose]: () => owned.disposeAsync() };
}

/** nginx and our proxy cannot choose one themselves. */
export function freePort(): number {
  using server = Bun.listen({ hostname: "127.0.0.1", port: 0, socket: { data: () => {} } });
  return server.port;
}
