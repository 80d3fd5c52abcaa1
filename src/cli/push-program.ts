import { Command } from "commander";
import packageJson from "../../package.json" with { type: "json" };
import { COMPRESSION_LEVELS as LEVELS } from "../oci/compression.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { PROGRESS } from "./progress.ts";
import {
  addFlags,
  addRegistryFlags,
  type FlagHelp,
  type RegistryFlags,
  repeatable,
} from "./registry-flags.ts";

const EXAMPLES = `
The target says where the image goes, as docker push has it; the tag is "latest" unless named:
  registry.example.com/my/app:v1     over https
  localhost:8787/my/app:v1           this machine: plain http without being told
  http://registry.lan/my/app:v1      plain http, by your own word

Without a source it pushes output.tar or .output-image/ of this folder, where there is one, else the image that
docker, podman or nerdctl has under the target's name.

Examples:
  echo "$PASSWORD" | USERNAME_REGISTRY=me ${PROGRAM_NAME} registry.example.com/my/app:v1
  ${PROGRAM_NAME} my/app:v1 localhost:8787/my/app:v1
  ${PROGRAM_NAME} image.tar registry.example.com/my/app:v1
  ${PROGRAM_NAME} my/app:v1 -t registry.example.com/my/app:v1 -t ghcr.io/me/app:v1

What earlier pushes left in the cache, and how it is pruned:
  ${PROGRAM_NAME} cache
  ${PROGRAM_NAME} cache prune --older-than 30d
  ${PROGRAM_NAME} cache --help

A registry on this machine for docker push and others, which sends their layers on in chunks:
  ${PROGRAM_NAME} proxy registry.example.com
  ${PROGRAM_NAME} proxy --help

TAB completes the command chunkpush in bash, zsh and fish after what this says:
  ${PROGRAM_NAME} completion --help

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

const COMPRESSION: readonly FlagHelp[] = [
  [
    "--compression <kind>",
    "gzip, zstd or none; layers that come compressed stay as they are (env: CHUNKPUSH_COMPRESSION; default: gzip)",
  ],
  [
    "--compression-level <n>",
    `gzip: ${rangeOf(LEVELS.gzip)}; zstd: ${rangeOf(LEVELS.zstd)} (env: CHUNKPUSH_COMPRESSION_LEVEL)`,
  ],
];

const CACHE_FROM: FlagHelp = [
  "--cache-from <image>",
  "reuse layers of this image of the same registry, which you trust: registry/repo:main, or main for a tag of the target's repository; may be repeated",
];

const FORCE_COMPRESSION: FlagHelp = [
  "--force-compression",
  "compress anew what comes compressed, too; the image gets another digest",
];

const TAG: FlagHelp = [
  "-t, --tag <target>",
  "push to this target; may be repeated. The only argument is then the source. User, password, headers, --cert and --insecure are for the registry of the first target alone",
];

const PLATFORM: FlagHelp = [
  "--platform <os/arch>",
  "push this platform, such as linux/arm64, of an image that has several; may be repeated",
];

const CHOICE: readonly FlagHelp[] = [
  ["--all-platforms", "push every platform, and fail if one is missing"],
  ["--image <name>", "push this image, by name or digest, of a source that has several"],
  [
    "--runtime <name>",
    "take the image from docker, podman or nerdctl (env: CHUNKPUSH_RUNTIME; default: the first that has it)",
  ],
];

const PROGRESS_FLAGS: readonly FlagHelp[] = [
  ["--progress <how>", `${PROGRESS.join(", ")} (env: CHUNKPUSH_PROGRESS; default: auto)`],
  ["-q, --quiet", "print warnings and errors alone, as --progress quiet"],
];

/** The values of the flags, as they were written. */
export type Flags = RegistryFlags & {
  readonly tag?: string[];
  readonly image?: string;
  readonly platform?: string[];
  readonly allPlatforms?: true;
  readonly runtime?: string;
  readonly forceCompression?: true;
  readonly compression?: string;
  readonly compressionLevel?: string;
  readonly cacheFrom?: string[];
  readonly progress?: string;
  readonly quiet?: true;
};

/** Makes the parser of a push's arguments, which also writes the help. */
export function pushProgram(): Command {
  const program = new Command("chunkpush")
    .description("Pushes a container image to a registry that refuses big request bodies, in chunks.")
    .argument("[source]", "an archive, a folder, an image of an engine, or docker://registry/repository:tag")
    .argument("[target]", "where it goes: registry/repository:tag");
  program.addOption(repeatable(TAG)).addOption(repeatable(PLATFORM));
  addFlags(program, [...CHOICE, ...COMPRESSION, FORCE_COMPRESSION, ...PROGRESS_FLAGS]);
  return (
    addRegistryFlags(program.addOption(repeatable(CACHE_FROM)))
      .version(packageJson.version, "-V, --version")
      .addHelpText("after", EXAMPLES)
      // Commander fills arguments from the left. Here the first one may be missing.
      .usage("[options] [source] <target>")
  );
}

function rangeOf({ min, max, default: usual }: (typeof LEVELS)["gzip" | "zstd"]): string {
  return `${min} to ${max}, default ${usual}`;
}
