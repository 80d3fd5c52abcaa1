/** A working folder that somebody else has written, for every way of starting chunkpush. */
import { expect } from "bun:test";
import { chmod, mkdir, rm } from "node:fs/promises";
import { delimiter, join } from "node:path";
import { createSelfSigned } from "./certificates.ts";
import { dockerArchive } from "./image-forms.ts";
import { seededBytes } from "./seeded-bytes.ts";
import { temporaryFolder } from "./temporary-folder.ts";
import { basic, startTestRegistry } from "./test-registry.ts";

const IMAGE = dockerArchive([seededBytes(600, 1)]);
const ME = { username: "me", password: "hush-Xq7" };

export type StartOptions = {
  /** The PATH that the command needs. */
  readonly path: string;
  /** Bun reads bunfig.toml and tsconfig.json of the folder before our first line: there are none. */
  readonly envFileOnly?: boolean;
};

/**
 * Runs a command in a folder whose files turn TLS off, add an authority, a proxy, an engine and a preload. Expects that
 * none of it counts, that what does not is named, and that the environment and our own variables in `.env` count.
 */
export async function expectFolderToDecideNothing(
  command: readonly string[],
  { path, envFileOnly = false }: StartOptions,
): Promise<void> {
  await using folder = await temporaryFolder();
  await using listener = listen();
  await using registry = await startTestRegistry({ credentials: ME });
  const at = (name: string) => join(folder.path, name);
  await using server = await startTlsServer(at("tls"));
  await writeFolder(at, { proxy: listener.url, hosts: [listener.host, server.host, registry.host] });
  if (envFileOnly) for (const name of ["bunfig.toml", "tsconfig.json"]) await rm(at(name));
  const run = async (args: readonly string[], env: Readonly<Record<string, string>> = {}) => {
    const child = Bun.spawn([...command, ...args], {
      cwd: folder.path,
      env: { HOME: at("home"), PATH: at("bin") + delimiter + path, ...env },
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
    });
    const [stderr, code] = await Promise.all([child.stderr.text(), child.exited]);
    return { code, stderr };
  };

  expect(await run(["--version"])).toEqual({ code: 0, stderr: "" });
  expect(await Bun.file(at("marker")).exists()).toBe(false);

  // A proxy: it would be told where to connect to. Plain HTTP: it would be sent the password.
  for (const target of [`https://${listener.host}/team/app:v1`, `${listener.host}/team/app:v1`]) {
    const { code, stderr } = await run([target]);
    expect(code, stderr).toBe(1);
    expect(stderr).toMatch(/^Warning: .*\bHTTPS_PROXY\b.*\bNODE_TLS_REJECT_UNAUTHORIZED\b.*"\.env"/m);
  }
  expect(listener.received()).not.toContain("HTTP/1.1");

  // An authority, or no check at all: the server would be sent the password. The helper finds the login.
  const refused = await run([`https://${server.host}/team/app:v1`]);
  expect(refused.code, refused.stderr).toBe(1);
  expect(server.requests).toEqual([]);

  // An engine, and whatever steers the programs that we start.
  if (process.platform !== "win32") {
    await run(["team/app:v1", `${registry.host}/team/app:v1`]);
    const told = await Bun.file(at("told")).text();
    expect(told).toContain("docker-credential-tests get");
    expect(told).toContain("docker image");
    expect(told).not.toMatch(/DOCKER_HOST|HTTPS_PROXY|ANYTHING_ELSE/);
  }

  // The environment counts, and so do our own variables in the file.
  await run([`https://${listener.host}/team/app:v1`], { HTTPS_PROXY: listener.url.replace("//", "//real@") });
  expect(listener.received()).toContain("CONNECT ");
  const pushed = await run([`${registry.host}/team/app:v1`]);
  expect(pushed.code, pushed.stderr).toBe(0);
  expect(await registry.pullManifest("team/app", "v1")).toBeDefined();
  expect(await Bun.file(at(".cache-me")).exists()).toBe(false);
  expect([...new Bun.Glob("*-ptr").scanSync(at(".cache-me"))]).not.toEqual([]);
  expect(await Bun.file(at("marker")).exists()).toBe(false);
}

async function writeFolder(
  at: (name: string) => string,
  { proxy, hosts: [first = "", ...others] }: { readonly proxy: string; readonly hosts: readonly string[] },
): Promise<void> {
  const auth = basic(ME.username, ME.password).slice("Basic ".length);
  const login = {
    auths: { [first]: { auth } },
    credHelpers: Object.fromEntries(others.map((host) => [host, "tests"])),
  };
  const evil = `require("node:fs").writeFileSync(${JSON.stringify(at("marker"))}, "ran");\n`;
  const certificate = at("tls/self.pem");
  const files = {
    "output.tar": IMAGE.archive,
    "home/.docker/config.json": JSON.stringify(login),
    ".env": [
      `HTTPS_PROXY=${proxy}`,
      "NODE_TLS_REJECT_UNAUTHORIZED=0",
      `NODE_EXTRA_CA_CERTS=${certificate}`,
      `DOCKER_HOST=${proxy.replace("http", "tcp")}`,
      "INSECURE_HTTP_PUSH=true",
      "ANYTHING_ELSE=1",
      `CHUNKPUSH_CREDENTIAL_COMMAND="touch '${at("marker")}'"`,
      "MAX_RETRIES=0",
    ].join("\n"),
    ".env.local": `SSL_CERT_FILE='${certificate}'\nCHUNKPUSH_CACHE_DIR=.cache-\${NOBODY:-me}\n`,
    "bunfig.toml": 'preload = ["./preload.js"]\n',
    "preload.js": evil,
    "tsconfig.json": '{ "compilerOptions": { "paths": { "*": ["./preload.js"] } } }',
  };
  for (const [name, content] of Object.entries(files)) await Bun.write(at(name), content);
  await mkdir(at("bin"));
  for (const [name, answer] of [
    ["docker", "exit 1"],
    ["docker-credential-tests", `echo '{"Username":"me","Secret":"${ME.password}"}'`],
  ] as const) {
    const told = `'${at("told")}'`;
    await Bun.write(
      at(`bin/${name}`),
      `#!/bin/sh\necho ${name} "$@" >>${told}\nexport >>${told}\n${answer}\n`,
    );
    await chmod(at(`bin/${name}`), 0o755);
  }
}

/** Takes connections, keeps what comes first, and hangs up. Not of this machine by its name, so that a proxy is asked. */
function listen() {
  let received = "";
  const listener = Bun.listen({
    hostname: "127.0.0.1",
    port: 0,
    socket: {
      data(socket, bytes) {
        received += bytes.toString("latin1");
        socket.end();
      },
    },
  });
  return {
    host: `0.0.0.0:${listener.port}`,
    url: `http://127.0.0.1:${listener.port}`,
    received: () => received,
    [Symbol.asyncDispose]: async () => listener.stop(true),
  };
}

async function startTlsServer(folder: string) {
  await mkdir(folder);
  const requests: string[] = [];
  const server = Bun.serve({
    hostname: "127.0.0.1",
    port: 0,
    tls: await createSelfSigned(folder),
    fetch({ method, url }) {
      requests.push(`${method} ${url}`);
      return new Response(null, { status: 401 });
    },
  });
  return {
    host: `127.0.0.1:${server.port}`,
    requests,
    [Symbol.asyncDispose]: () => server.stop(true),
  };
}
