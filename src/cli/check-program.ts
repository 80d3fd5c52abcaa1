import type { Command, CommanderError } from "commander";
import { PushError } from "../errors.ts";
import { formatRegistry, parseReference, parseRegistry } from "../oci/reference.ts";
import { PROGRAM_NAME } from "../program-name.ts";
import { addFlags, commandProgram, type FlagHelp } from "./add-flags.ts";

import { parseArguments } from "./parse-arguments.ts";
import {
  addRegistryFlags,
  type RegistryCommand,
  type RegistryFlags,
  registryCommand,
} from "./registry-flags.ts";
import { bytes, type Environment, invalidValue } from "./values.ts";

/** The command `check`. */
export type CheckCommand = RegistryCommand & {
  readonly target: CheckTarget;
  /** The largest body to try. Undefined: no search for the largest body. */
  readonly uploadBytes: number | undefined;
  readonly json: boolean;
};

/** A registry, and the repository in which to check the right to push. */
export type CheckTarget = {
  readonly scheme: "http" | "https" | undefined;
  readonly host: string;
  readonly repository?: string;
};

type Flags = RegistryFlags & { readonly upload?: string; readonly json?: true };

/** The body is in memory, and the search takes ten seconds at most. */
const MAX_UPLOAD_BYTES = 1_000_000_000;

const FLAGS: readonly FlagHelp[] = [
  ["--upload <size>", "find the largest request body that passes, from this size down: 100MB"],
  ["--json", "print the result as JSON"],
];

const NOTES = `
Reaches the registry step by step, as a push does: proxy, name, TCP, TLS,
registry, login, right to push, chunk sizes, resume, clock. Nothing is kept:
uploads that it begins are cancelled. Without a repository it begins none.

The address may be copied from a browser. The target's form is printed:
  https://my-registry.me.workers.dev/  my-registry.me.workers.dev/REPOSITORY:TAG
  https://registry.example.com         registry.example.com/REPOSITORY:TAG
  http://localhost:8787/v2/            localhost:8787/REPOSITORY:TAG

Examples:
  ${PROGRAM_NAME} check registry.example.com
  ${PROGRAM_NAME} check registry.example.com/my/app
  ${PROGRAM_NAME} check registry.example.com/my/app --upload 100MB

Exit codes: 0 a push can work, 1 it cannot, 2 wrong usage`;

/** Reads the arguments of `check`, or returns its help text. Throws `USAGE` and `REFERENCE_INVALID`. */
export function parseCheckCommand(args: readonly string[], env: Environment): CheckCommand | string {
  const program = checkProgram();
  const text = parseArguments(program, args, explain);
  if (text !== undefined) return text;
  const flags: Flags = program.opts();
  const uploadBytes = bytes({ name: "--upload", text: flags.upload });
  const target = checkTarget(program.args[0] ?? "");
  if (uploadBytes !== undefined && uploadBytes > MAX_UPLOAD_BYTES)
    throw invalidValue({ name: "--upload", text: flags.upload }, "at most 1GB");
  if (uploadBytes !== undefined && target.repository === undefined) {
    throw new PushError("USAGE", "--upload needs a repository to upload to.", {
      hint: `Name one: ${PROGRAM_NAME} check ${formatRegistry(target)}/my/app --upload ${flags.upload}`,
    });
  }
  return { ...registryCommand(flags, env), target, uploadBytes, json: flags.json ?? false };
}

function explain({ code }: CommanderError): PushError | undefined {
  if (code === "commander.missingArgument") {
    return new PushError("USAGE", "No registry was named.", {
      hint: `Name it: ${PROGRAM_NAME} check registry.example.com/my/app`,
    });
  }
  if (code === "commander.excessArguments") {
    return new PushError("USAGE", "More than one registry was named.", {
      hint: `See: ${PROGRAM_NAME} help check`,
    });
  }
  return undefined;
}

/** Makes the parser of the command's arguments, which also writes the help. */
export function checkProgram(): Command {
  const program = commandProgram("check", "REGISTRY[/REPOSITORY] [flags]")
    .description("Checks whether a push to a registry can work, and says what is in the way.")
    .argument("<registry>", "the registry, with or without a repository: registry.example.com/my/app");
  addFlags(program, "Check", FLAGS);
  return addRegistryFlags(program).addHelpText("after", NOTES);
}

/**
 * Parses a registry's address, which may have a scheme, the path `/v2/`, a trailing slash, a repository and a tag. Throws
 * `REFERENCE_INVALID`.
 */
function checkTarget(text: string): CheckTarget {
  const bare = text
    .trim()
    .replace(/^docker:\/\//, "")
    .replace(/[/?#]+$/, "")
    .replace(/^((?:https?:\/\/)?[^/]+)\/v2(?=\/|$)/, "$1");
  if (!bare.replace(/^https?:\/\//, "").includes("/")) return parseRegistry(bare);
  const { scheme, host, repository } = parseReference(bare);
  return { scheme, host, repository };
}
