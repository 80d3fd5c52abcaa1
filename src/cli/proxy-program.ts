import type { Command, CommanderError } from "commander";
import { PushError } from "../errors.ts";
import { isRepository, parseRegistry, type Registry } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { addFlags, commandProgram, type FlagHelp } from "./add-flags.ts";
import { parseArguments } from "./parse-arguments.ts";
import {
  addRegistryFlags,
  type RegistryCommand,
  type RegistryFlags,
  registryCommand,
} from "./registry-flags.ts";
import { assertNotEmpty, bytes, type Environment, integer } from "./values.ts";

/** The command `proxy`. */
export type ProxyCommand = RegistryCommand & {
  readonly target: Registry;
  /** Undefined: 5050, or any free port if there is a command. */
  readonly port: number | undefined;
  readonly readOnly: boolean;
  /** Prefixes of the repositories that clients may use. Empty: clients may use all. */
  readonly allow: readonly string[];
  /** Undefined: the cache's folder. */
  readonly spoolDirectory: string | undefined;
  readonly spoolLimitBytes: number;
  /** A command and its arguments; the proxy ends with it. Empty: the proxy runs until it is interrupted. */
  readonly command: readonly string[];
};

type Flags = RegistryFlags & {
  readonly port?: string;
  readonly readOnly?: true;
  readonly allow?: string[];
  readonly spoolDir?: string;
  readonly spoolLimit?: string;
};

const DEFAULT_SPOOL = "10GB";
const MAX_PORT = 65_535;

const FLAGS: readonly FlagHelp[] = [
  ["--port <n>", "port to listen on at 127.0.0.1 (default: 5050; with a command, any free one)"],
  ["--read-only", "refuse everything except pulls"],
  [
    "--allow <prefix>",
    "serve only repositories with this prefix, such as team/; may be repeated",
    "repeatable",
  ],
  ["--spool-dir <folder>", "where layers wait until the registry has them (default: the cache)"],
  ["--spool-limit <size>", `slow clients down when more than this waits there (default: ${DEFAULT_SPOOL})`],
];

const NOTES = `
Docker, Podman, Buildah, skopeo, crane, Helm and others push to localhost as to
any registry, without a login. Layers of any size go on to the registry in
chunks, with retries, and are resumed. Pulls go through as well.

  ${PROGRAM_NAME} proxy registry.example.com
  docker push localhost:5050/my/app:v1
  podman push --tls-verify=false my/app:v1 localhost:5050/my/app:v1

With a command after "--", the proxy runs as long as the command does. It gets a
free port; {} stands for its address:
  ${PROGRAM_NAME} proxy registry.example.com -- docker push {}/my/app:v1

The variables of a push apply, such as USERNAME_REGISTRY and REGISTRY_JWT_TOKEN.`;

/** Reads the arguments of `proxy`, or returns its help text. Throws `USAGE` and `REFERENCE_INVALID`. */
export function parseProxyCommand(args: readonly string[], env: Environment): ProxyCommand | string {
  const dashes = args.indexOf("--");
  const own = dashes < 0 ? args : args.slice(0, dashes);
  const command = dashes < 0 ? [] : args.slice(dashes + 1);
  const program = proxyProgram();
  const text = parseArguments(program, own, explain);
  if (text !== undefined) return text;
  if (dashes >= 0 && command.length === 0)
    throw new PushError("USAGE", 'No command follows "--".', {
      hint: `See: ${PROGRAM_NAME} help proxy`,
    });
  return proxyCommand(program.args[0] ?? "", command, program.opts(), env);
}

function explain(error: CommanderError): PushError | undefined {
  if (error.code === "commander.missingArgument") {
    return new PushError("USAGE", "No registry was named.", {
      hint: `Name the registry that gets the images: ${PROGRAM_NAME} proxy registry.example.com`,
    });
  }
  if (error.code === "commander.excessArguments") {
    return new PushError("USAGE", "There are more arguments than one registry.", {
      hint: `Put "--" before a command: ${PROGRAM_NAME} proxy registry.example.com -- docker push {}/my/app:v1`,
    });
  }
  return undefined;
}

/** Makes the parser of the command's arguments, which has the help as well. */
export function proxyProgram(): Command {
  const program = commandProgram("proxy", "REGISTRY [flags] [-- command …]")
    .description(
      "Runs a registry on this machine that passes everything on to another one, layers in chunks.",
    )
    .argument("<registry>", "the registry's host, such as registry.example.com");
  return addRegistryFlags(addFlags(program, "Proxy", FLAGS)).addHelpText("after", NOTES);
}

function proxyCommand(
  target: string,
  command: readonly string[],
  flags: Flags,
  env: Environment,
): ProxyCommand {
  assertNotEmpty(flags.spoolDir, "--spool-dir");
  const allow = flags.allow ?? [];
  for (const prefix of allow) {
    if (isRepository(prefix.replace(/\/$/, ""))) continue;
    throw new PushError(
      "USAGE",
      `--allow: invalid value "${prefix}" (expected the beginning of a repository).`,
      {
        hint: "Use a value such as team/ or team/app.",
      },
    );
  }
  return {
    ...registryCommand(flags, env),
    target: parseRegistry(target),
    port: integer({ name: "--port", text: flags.port }, 1, MAX_PORT),
    readOnly: flags.readOnly ?? false,
    allow,
    spoolDirectory: flags.spoolDir,
    spoolLimitBytes: bytes({ name: "--spool-limit", text: flags.spoolLimit ?? DEFAULT_SPOOL }) ?? 0,
    command,
  };
}
