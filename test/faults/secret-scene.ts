import { chmod, mkdir } from "node:fs/promises";
import { join } from "node:path";
import type { Plan } from "../../dev/faults/plan.ts";
import { type FaultProxy, startFaultProxy } from "../../dev/faults/proxy.ts";
import {
  startTokenServer,
  type TokenServer,
  type TokenServerOptions,
} from "../../dev/token-server/token-server.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { createSelfSigned } from "../support/certificates.ts";
import { startHttpServer } from "../support/http-server.ts";
import { dockerArchive } from "../support/image-forms.ts";
import { cliCommand, cliEnvironment } from "../support/run-cli.ts";
import { findSecrets, type Places, type Secrets } from "../support/secret-search.ts";
import { seededBytes } from "../support/seeded-bytes.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";
import { basic, startTestRegistry } from "../support/test-registry.ts";
import { randomSecret } from "./random-secret.ts";

/** How a password gets to chunkpush. At a terminal, what would be piped in is typed. */
export type Way = "standard input" | "variable" | "login file" | "helper" | "command";

export type SecretCase = {
  readonly name: string;
  /** What the registry wants; `identity` is a token server's, to which docker login has left an identity token. */
  readonly wants: "basic" | "tokens" | "identity";
  readonly plan?: (scene: Scene) => Plan;
  readonly tokenServer?: TokenServerOptions;
  /** @default by turns */
  readonly way?: Way;
  readonly flags?: readonly string[];
  readonly env?: Readonly<Record<string, string>>;
  /** In place of what the scene has there: by path from the home folder. */
  readonly files?: (scene: Scene) => Readonly<Record<string, string>>;
  /** In place of the proxy there is a registry whose certificate nobody vouches for. */
  readonly isUntrusted?: true;
  /** The source is an image of the engine. */
  readonly isFromEngine?: true;
  /** Has to be in the output: the case has got to where it was meant to. */
  readonly says?: RegExp;
};

/** What a case may name in its faults. */
export type Scene = {
  readonly proxy: FaultProxy;
  readonly tokens: TokenServer;
  /** A server that is no business of the registry's, and writes down what it is sent. */
  readonly foreignUrl: string;
  readonly password: string;
  readonly identityToken: string;
  /** Sends chunkpush a signal, and waits for its end. */
  kill(signal: "SIGKILL" | "SIGINT"): Promise<void>;
};

const USERNAME = "me";
const IMAGE = dockerArchive([seededBytes(450_000, 7)], ["team/app:v1"]);

/** What docker says of it. */
const INSPECTED = {
  Id: digestOf(IMAGE.config),
  RepoTags: ["team/app:v1"],
  Created: "2026-01-01T00:00:00Z",
  Size: 450_000,
  RootFS: { Layers: IMAGE.diffIds },
};

/** Pushes once. @returns everything that is wrong: a secret that got out, or a case that missed its point */
export async function runSecretCase(
  { wants, way = "login file", plan, says, ...options }: SecretCase,
  isAtTerminal: boolean,
  seed: string,
): Promise<string[]> {
  await using resources = new AsyncDisposableStack();
  const folder = resources.use(await temporaryFolder());
  const at = (path: string) => join(folder.path, path);
  for (const path of ["work", "tmp", "record"]) await mkdir(at(path));

  const password = randomSecret(`password ${seed}`);
  const identityToken = randomSecret(`identity ${seed}`);
  // Headers are ASCII.
  const serviceToken = Buffer.from(randomSecret(`header ${seed}`)).toString("hex");
  const credentials = { username: USERNAME, password };
  const foreign = resources.use(startForeignServer());
  const tokens = resources.use(startTokenServer({ credentials, identityToken, ...options.tokenServer }));
  const authority = { ...tokens };
  const registry = resources.use(
    await startTestRegistry({
      maxChunkBytes: 150_000,
      ...(wants === "basic" ? { credentials } : { tokens: authority }),
      ...(options.isUntrusted && { tls: await selfSigned() }),
    }),
  );
  let child: ReturnType<typeof start> | undefined;
  let planned: Plan = () => undefined;
  const proxy = resources.use(
    await startFaultProxy({
      upstreamHost: (kind) => (kind === "token" ? new URL(tokens.realm).host : registry.host),
      plan: (request) => planned(request),
    }),
  );
  authority.realm = `${proxy.url}/token`;
  const scene: Scene = {
    proxy,
    tokens,
    foreignUrl: foreign.url,
    password,
    identityToken,
    async kill(signal) {
      child?.process.kill(signal);
      await child?.process.exited;
    },
  };
  planned = plan?.(scene) ?? planned;

  const files = { ...homeOf(wants, way, scene), ...options.files?.(scene) };
  for (const [path, content] of Object.entries(files)) {
    await Bun.write(at(`home/${path}`), content);
    if (path.startsWith("bin/")) await chmod(at(`home/${path}`), 0o755);
  }
  if (options.isFromEngine) await Bun.write(at("home/image.tar"), IMAGE.archive);
  else await Bun.write(at("work/output.tar"), IMAGE.archive);

  child = start(
    [
      "--retries",
      "1",
      ...(way === "command" ? ["--credential-command", "print-credentials"] : []),
      ...(options.flags ?? []),
      `${options.isUntrusted ? registry.url : proxy.url}/team/app:v1`,
    ],
    at("work"),
    {
      HOME: at("home"),
      TMPDIR: at("tmp"),
      RECORD: at("record"),
      CHUNKPUSH_HEADERS: `CF-Access-Client-Secret: ${serviceToken}`,
      PATH: `${at("home/bin")}:${process.env["PATH"]}`,
      ...(way !== "login file" && way !== "helper" && { USERNAME_REGISTRY: USERNAME }),
      ...(way === "variable" && { REGISTRY_JWT_TOKEN: password }),
      ...options.env,
    },
    way === "standard input" ? password : undefined,
    isAtTerminal,
  );
  const outputs = await child.outputs;
  const said = [...outputs.values()].join("\n");

  const secrets: Secrets = new Map([
    ["the password", password],
    ["the Authorization header", basic(USERNAME, password).slice("Basic ".length)],
    ["the identity token", identityToken],
    ["the header of the user", serviceToken],
    ...tokens.tokens.map((token, i) => [`token ${i + 1}`, token] as const),
  ]);
  const ours = [...Object.values(files), IMAGE.archive].map((content) => Bun.hash(content));
  const elsewhere = proxy.requests
    .filter(({ isElsewhere }) => isElsewhere)
    .map(({ method, target, headers }) => ({ head: `${method} ${target}`, headers, body: "" }));
  const strangers = [...elsewhere, ...foreign.seen];
  const places: Places = new Map([
    ...[...outputs].map(([name, text]) => [name, Buffer.from(text)] as const),
    ...(await filesIn(folder.path)).filter(([, bytes]) => !ours.includes(Bun.hash(bytes))),
    ["what another server was sent", Buffer.from(JSON.stringify(strangers.map(readable)))],
  ]);
  const hasMet = plan === undefined || proxy.requests.some(({ fault }) => fault !== undefined);
  return [
    ...(options.isUntrusted ? registry.requests.map(({ path }) => `it was trusted with ${path}`) : []),
    ...findSecrets(places, secrets),
    ...strangers
      .filter(({ headers }) => headers.has("authorization") || headers.has("cookie"))
      .map(({ head }) => `another server got credentials with ${head}`),
    ...(hasMet ? [] : [`no fault was met: ${said}`]),
    ...(says === undefined || says.test(said) ? [] : [`it did not say ${says}: ${said}`]),
  ];
}

/** Everything that `docker login`, a credential helper and the engine need to be there, as far as a case has them. */
function homeOf(
  wants: SecretCase["wants"],
  way: Way,
  { proxy, password, identityToken }: Scene,
): Record<string, string> {
  const login =
    wants === "identity"
      ? { identitytoken: identityToken }
      : { auth: basic(USERNAME, password).slice("Basic ".length) };
  const config = way === "helper" ? { credsStore: "of-tests" } : { auths: { [proxy.host]: login } };
  return {
    ...((way === "helper" || way === "login file") && { ".docker/config.json": JSON.stringify(config) }),
    "secret.json": JSON.stringify(
      wants === "identity"
        ? { Username: "<token>", Secret: identityToken }
        : { Username: USERNAME, Secret: password },
    ),
    // All write down how they are called; the helpers are some that say too much.
    ...Object.fromEntries(
      ["docker-credential-of-tests", "print-credentials"].map((name) => [
        `bin/${name}`,
        `#!/bin/sh
{ echo "$@"; env; } >"$RECORD/${name}"
cat "$HOME/secret.json" >&2
cat "$HOME/secret.json"
`,
      ]),
    ),
    "bin/docker": `#!/bin/sh
{ echo "$@"; env; } >"$RECORD/docker-$2"
if [ "$2" = save ]; then cat "$HOME/image.tar"; else echo '${JSON.stringify([INSPECTED])}'; fi
`,
  };
}

async function selfSigned() {
  await using folder = await temporaryFolder();
  return await createSelfSigned(folder.path);
}

type Stranger = { readonly head: string; readonly headers: Headers; readonly body: string };

function readable({ head, headers, body }: Stranger) {
  return { head, headers: [...headers], body };
}

/** It would like to be told everything: it asks for a password and for a token. */
function startForeignServer() {
  const seen: Stranger[] = [];
  const server = startHttpServer(async (request) => {
    seen.push({
      head: `${request.method} ${request.url}`,
      headers: request.headers,
      body: Buffer.from(await request.arrayBuffer()).toString("latin1"),
    });
    const wanted = `Basic realm="foreign", Bearer realm="${server.url}/token",service="foreign"`;
    return new Response(null, { status: 401, headers: { "www-authenticate": wanted } });
  });
  return { ...server, seen };
}

/** Starts chunkpush, and gives what it printed, in the end, by where it did. */
function start(
  args: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
  password: string | undefined,
  isAtTerminal: boolean,
) {
  const options = { cwd, env: cliEnvironment({ cwd, env }) };
  if (!isAtTerminal) {
    const stdin = password === undefined ? ("ignore" as const) : new Blob([`${password}\n`]);
    const child = Bun.spawn(cliCommand(args), { ...options, stdin, stdout: "pipe", stderr: "pipe" });
    const texts = Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    const outputs = texts.then(
      ([stdout, stderr]) =>
        new Map([
          ["standard output", stdout],
          ["standard error", stderr],
        ]),
    );
    return { process: child, outputs };
  }
  const { promise: closed, resolve: onClosed } = Promise.withResolvers<void>();
  const decoder = new TextDecoder();
  let screen = "";
  let isTyped = false;
  const child = Bun.spawn(cliCommand(args), {
    ...options,
    terminal: {
      // No line of it is broken.
      cols: 10_000,
      data(terminal, bytes) {
        screen += decoder.decode(bytes, { stream: true });
        if (isTyped || password === undefined || !screen.includes("Password of")) return;
        isTyped = true;
        terminal.write(`${password}\r`);
      },
      exit: () => onClosed(),
    },
  });
  const outputs = Promise.all([closed, child.exited]).then(() => new Map([["the terminal", screen]]));
  return { process: child, outputs };
}

async function filesIn(folder: string): Promise<[name: string, bytes: Uint8Array][]> {
  const paths = await Array.fromAsync(new Bun.Glob("**").scan({ cwd: folder, dot: true }));
  return Promise.all(
    paths.map(async (path) => [path, await Bun.file(join(folder, path)).bytes()] as const),
  ).then((entries) => entries.map(([path, bytes]) => [path, bytes]));
}
