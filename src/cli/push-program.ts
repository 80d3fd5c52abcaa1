import { Command } from "commander";
import { COMPRESSION_LEVELS as LEVELS } from "../oci/compression.ts";
import { commandLine } from "../program-name.ts";
import { addFlags, type FlagHelp } from "./add-flags.ts";
import { PROGRESS } from "./progress.ts";
import { addRegistryFlags, type RegistryFlags } from "./registry-flags.ts";
import { VERSION } from "./version.ts";

/** The forms of a target, for the help texts. */
export const TARGET_HELP = `TARGET is HOST/REPOSITORY[:TAG], without https:// and without /v2/:
  registry.me.workers.dev/my/app:v1   a Worker on workers.dev
  registry.example.com/my/app:v1      a custom domain
  localhost:8787/my/app:v1            this machine, over plain HTTP`;

const notes = (command: string) => `
${TARGET_HELP}
http:// in front chooses plain HTTP, and https:// chooses TLS. The tag is
"latest" unless given. docker:// may stand in front, as in skopeo.

SOURCE is one of:
  image.tar, folder/                  what docker save or an OCI tool wrote
  my/app:v1                           an image of docker, podman or nerdctl
  docker://ghcr.io/me/app:v1          an image at a registry
  -                                   an archive on standard input
  TRANSPORT:…                         docker-archive, oci, oci-archive, dir,
                                      docker-daemon, containers-storage
Without SOURCE: output.tar or .output-image/ of the current folder, else the
engine's image of the target's name. A command's name as SOURCE is written as
docker-daemon:cache for an image, ./cache for a file.

Environment only:
  REGISTRY_JWT_TOKEN    password, or a token in its place; without it, the
                        password of a named user is read from standard input
  SKIP_AUTH             any value: push anonymously
  DOCKER_CONFIG         folder of docker login's config.json, else ~/.docker
  REGISTRY_AUTH_FILE    file with the logins of podman login
  NODE_EXTRA_CA_CERTS, SSL_CERT_FILE
                        files with authorities to trust, as --ca-file
  HTTPS_PROXY, HTTP_PROXY, NO_PROXY
                        as in other programs; a registry on this machine is
                        reached directly

Examples:
  ${command} registry.example.com/my/app:v1
  ${command} my/app:v1 localhost:8787/my/app:v1
  ${command} image.tar registry.example.com/my/app:v1
  ${command} image.tar -t registry.example.com/my/app -t ghcr.io/me/app

Exit codes: 0 done, 1 failed, 2 wrong usage, 130 Ctrl-C, 143 SIGTERM, 129 SIGHUP`;

const SOURCE: readonly FlagHelp[] = [
  ["--image <name>", "the image to push, by name or digest, if the source has several"],
  ["--platform <os/arch>", "push only this platform, such as linux/arm64; may be repeated", "repeatable"],
  ["--all-platforms", "push every platform, and fail if one is missing"],
  [
    "--runtime <name>",
    "the engine that has the image: docker, podman or nerdctl (env: CHUNKPUSH_RUNTIME; default: the first that has it)",
  ],
];

const TARGET: readonly FlagHelp[] = [
  [
    "-t, --tag <target>",
    "push to this target; may be repeated, and the only argument is then the source. User, password, headers, client certificate and unsafe settings are for the first target's registry alone",
    "repeatable",
  ],
  [
    "--registry <host>",
    "suggest a target at this registry if only a source is given (default: those of the last pushes)",
  ],
];

const LAYERS: readonly FlagHelp[] = [
  [
    "--compression <kind>",
    "gzip, zstd or none; layers that are compressed already stay as they are (env: CHUNKPUSH_COMPRESSION; default: gzip)",
  ],
  [
    "--compression-level <n>",
    `gzip: ${rangeOf(LEVELS.gzip)}; zstd: ${rangeOf(LEVELS.zstd)} (env: CHUNKPUSH_COMPRESSION_LEVEL)`,
  ],
  ["--force-compression", "compress compressed layers again; the image gets another digest"],
  [
    "--cache-from <image>",
    "reuse layers of this image, which you trust, in the same registry: registry/repo:main, or main for a tag of the target's repository; may be repeated",
    "repeatable",
  ],
];

const OUTPUT: readonly FlagHelp[] = [
  ["--dry-run", "show what the push would do, as the command plan does; nothing is sent or written"],
  ["--progress <how>", `${PROGRESS.join(", ")} (env: CHUNKPUSH_PROGRESS; default: auto)`],
  ["--digestfile <file>", "write the digest of the first target there, after everything is pushed"],
  ["-q, --quiet", "print only warnings and errors; the same as --progress quiet"],
];

/** The flags, as written. */
export type Flags = RegistryFlags & {
  readonly tag?: string[];
  readonly registry?: string;
  readonly dryRun?: true;
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
  readonly digestfile?: string;
};

/**
 * Makes the parser of a push's arguments, which has the long help as well.
 *
 * @param words those of the command in the examples, such as `plan`
 */
export function pushProgram(...words: readonly string[]): Command {
  const program = new Command("chunkpush")
    .description("Pushes a container image, in chunks, to a registry that limits request sizes.")
    .argument("[source]", "archive, folder, image of an engine, or docker://HOST/REPOSITORY:TAG")
    .argument("[target]", "HOST/REPOSITORY:TAG to push to");
  addFlags(program, "Source", SOURCE);
  addFlags(program, "Target", TARGET);
  addRegistryFlags(program);
  return (
    addFlags(addFlags(program, "Layers", LAYERS), "Output", OUTPUT)
      .helpOption("-h, --help", "show this help; without the word push, -h shows the short help")
      .version(VERSION, "-V, --version", "show the versions of chunkpush and Bun")
      .addHelpText("after", notes(commandLine(...words)))
      // Commander fills arguments from the left, but here the first one is optional.
      .usage("[push] [SOURCE] TARGET [flags]")
  );
}

function rangeOf({ min, max, default: usual }: (typeof LEVELS)["gzip" | "zstd"]): string {
  return `${min} to ${max}, default ${usual}`;
}
