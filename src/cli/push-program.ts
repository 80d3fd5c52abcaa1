import { Command, Option } from "commander";
import { COMPRESSION_LEVELS as LEVELS } from "../oci/compression.ts";
import { DEFAULTS } from "../push/options.ts";

const STALL_SECONDS = DEFAULTS.stallTimeoutMs / 1000;

const EXAMPLES = `
The target says where the image goes, as docker push has it; the tag is "latest" unless named:
  registry.example.com/my/app:v1     over https
  localhost:8787/my/app:v1           this machine: plain http without being told
  http://registry.lan/my/app:v1      plain http, by your own word

Without a source it pushes output.tar or .output-image/ of this folder, where there is one, else the image that
the Docker engine has under the target's name.

Examples:
  echo "$PASSWORD" | USERNAME_REGISTRY=me bun run index.ts registry.example.com/my/app:v1
  bun run index.ts my/app:v1 localhost:8787/my/app:v1
  bun run index.ts image.tar registry.example.com/my/app:v1

What earlier pushes left in the cache, and how it is pruned:
  bun run index.ts cache
  bun run index.ts cache prune --older-than 30d
  bun run index.ts cache --help

Environment only:
  REGISTRY_JWT_TOKEN   the password, or a token in its place; without it, the password is read from standard input
  SKIP_AUTH            any value: push without user and password
  DOCKER_CONFIG        the folder whose config.json has the logins of docker login (default: ~/.docker)
  REGISTRY_AUTH_FILE   the file that has the logins of podman login
  NODE_EXTRA_CA_CERTS, SSL_CERT_FILE
                       files with authorities to trust, as --ca-file
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                       as everywhere; this machine is never looked for behind a proxy

Exit codes: 0 done, 1 failed, 2 wrong use, 130 interrupted.`;

/** The flags of a push, as help shows them. */
const FLAGS: readonly (readonly [flag: string, description: string])[] = [
  ["-u, --username <name>", "the user (env: USERNAME_REGISTRY)"],
  ["--password-stdin", "read the password from standard input, whatever else is set"],
  ["--insecure", "plain http (env: INSECURE_HTTP_PUSH=true)"],
  ["--parallel <n>", `uploads at a time (env: MAX_PARALLEL_LAYERS; default: ${DEFAULTS.parallel})`],
  ["--retries <n>", `tries after a failure (env: MAX_RETRIES; default: ${DEFAULTS.retries})`],
  [
    "--chunk-size <size>",
    "such as 50MB, at most what the registry allows (env: CHUNKPUSH_CHUNK_SIZE; default: as the link is, up to that)",
  ],
  [
    "--compression <kind>",
    "gzip, zstd or none; layers that come compressed stay as they are (env: CHUNKPUSH_COMPRESSION; default: gzip)",
  ],
  [
    "--compression-level <n>",
    `gzip: ${rangeOf(LEVELS.gzip)}; zstd: ${rangeOf(LEVELS.zstd)} (env: CHUNKPUSH_COMPRESSION_LEVEL)`,
  ],
  [
    "--cache-dir <folder>",
    `compressed layers, for the next push (env: CHUNKPUSH_CACHE_DIR; default: ${DEFAULTS.cacheDirectory})`,
  ],
  [
    "--stall-timeout <seconds>",
    `give a request up in which nothing moves for so long (env: CHUNKPUSH_STALL_TIMEOUT; default: ${STALL_SECONDS})`,
  ],
  ["--ca-file <file>", "trust the certificate authorities in this PEM file, too"],
  ["--cert <file>", "show this client certificate to the registry (PEM)"],
  ["--key <file>", "the key of the client certificate (PEM; default: the file of --cert)"],
  ["--insecure-skip-verify", "do not check the certificate of the registry's own host"],
  ["--debug", "show what a credential helper said when it failed"],
  ["--allow-oversize", "try blobs over 5 GiB on serverless-registry all the same"],
];

/** Flags that may be repeated. */
const REPEATABLE: typeof FLAGS = [
  [
    "--cache-from <image>",
    "reuse layers of this image of the same registry, which you trust: registry/repo:main, or main for a tag of the target's repository; may be repeated",
  ],
  [
    "--header <'name: value'>",
    "send this to the registry, such as 'CF-Access-Client-Id: …'; may be repeated (env: CHUNKPUSH_HEADERS, a line each)",
  ],
];

/** The values of the flags, as they were written. */
export type Flags = {
  readonly username?: string;
  readonly passwordStdin?: true;
  readonly insecure?: true;
  readonly parallel?: string;
  readonly retries?: string;
  readonly chunkSize?: string;
  readonly compression?: string;
  readonly compressionLevel?: string;
  readonly cacheDir?: string;
  readonly stallTimeout?: string;
  readonly allowOversize?: true;
  readonly debug?: true;
  readonly cacheFrom?: string[];
  readonly header?: string[];
  readonly caFile?: string;
  readonly cert?: string;
  readonly key?: string;
  readonly insecureSkipVerify?: true;
};

/** Makes the parser of a push's arguments, which also writes the help. */
export function pushProgram(version: string): Command {
  const program = new Command("chunkpush")
    .description("Pushes a container image to a registry that refuses big request bodies, in chunks.")
    .argument("[source]", "an archive, a folder, or an image of the Docker engine")
    .argument("<target>", "where it goes: registry/repository:tag");
  for (const [flag, description] of FLAGS) program.addOption(new Option(flag, description));
  for (const [flag, description] of REPEATABLE) {
    const collect = (value: string, before: readonly string[] = []) => [...before, value];
    program.addOption(new Option(flag, description).argParser(collect));
  }
  program
    .version(version, "-V, --version")
    .addHelpText("after", EXAMPLES)
    .exitOverride()
    // Commander fills required arguments from the left. Here the first one may be missing.
    .usage("[options] [source] <target>");
  program.registeredArguments.forEach((argument, i) => {
    argument.required = i === 0;
  });
  return program;
}

function rangeOf({ min, max, default: usual }: (typeof LEVELS)["gzip" | "zstd"]): string {
  return `${min} to ${max}, default ${usual}`;
}
