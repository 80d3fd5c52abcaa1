import type { Command } from "commander";
import { type CacheCommand, cacheProgram, parseCacheCommand } from "./cache-command.ts";
import { type CheckCommand, checkProgram, parseCheckCommand } from "./check-program.ts";
import { completionProgram, parseCompletionCommand } from "./completion/command.ts";
import { type ProxyCommand, parseProxyCommand, proxyProgram } from "./proxy-program.ts";
import type { Environment } from "./values.ts";

/** What a named command does, as its arguments say. */
export type CommandInvocation =
  | { readonly kind: "cache"; readonly cache: CacheCommand }
  | { readonly kind: "check"; readonly check: CheckCommand }
  | { readonly kind: "proxy"; readonly proxy: ProxyCommand }
  /** Help, version or a script: text to print, and nothing else to do. */
  | { readonly kind: "text"; readonly text: string };

type NamedCommand = {
  /** The first argument. */
  readonly name: string;
  /** Makes the parser, whose descriptions and flags completion offers. */
  readonly program: () => Command;
  /** Reads the arguments. Undefined: it is a push. Throws `USAGE` and `REFERENCE_INVALID`. */
  readonly parse: (args: readonly string[], env: Environment) => CommandInvocation | undefined;
};

/** The commands that have a name. Everything else is a push. */
export const COMMANDS: readonly NamedCommand[] = [
  {
    name: "cache",
    program: cacheProgram,
    parse: (args, env) => invoked(parseCacheCommand(args, env), (cache) => ({ kind: "cache", cache })),
  },
  {
    name: "check",
    program: checkProgram,
    parse: (args, env) => invoked(parseCheckCommand(args, env), (check) => ({ kind: "check", check })),
  },
  {
    name: "proxy",
    program: proxyProgram,
    parse: (args, env) => invoked(parseProxyCommand(args, env), (proxy) => ({ kind: "proxy", proxy })),
  },
  {
    name: "completion",
    program: completionProgram,
    parse: (args) => invoked<never>(parseCompletionCommand(args), (none) => none),
  },
];

function invoked<T>(
  read: T | string | undefined,
  invoke: (command: T) => CommandInvocation,
): CommandInvocation | undefined {
  if (typeof read === "string") return { kind: "text", text: read };
  return read === undefined ? undefined : invoke(read);
}
