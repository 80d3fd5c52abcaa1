import type { Command, Option } from "commander";
import { loginHosts } from "../../logins/login-hosts.ts";
import { formatTarget } from "../../oci/reference.ts";
import { imageNames, TRANSPORTS } from "../../push/known-sources.ts";
import { COMMANDS } from "../commands.ts";
import { COMPRESSIONS } from "../compression.ts";
import { clause } from "../help-command.ts";
import { RUNTIMES } from "../invocation.ts";
import { readLastTargets } from "../last-targets.ts";
import { loginEnvironment } from "../login-environment.ts";
import { PROGRESS } from "../progress.ts";
import { pushProgram } from "../push-program.ts";
import type { Environment } from "../values.ts";
import { SHELLS } from "./command.ts";

/** The offer for a word: candidates, and files or folders, which the shell finds itself. */
type Offer = {
  readonly kind: "words" | "files" | "folders";
  /** The part of the word before a file's path, such as `--key=` or `oci:`. */
  readonly prefix?: string;
  readonly candidates?: readonly Candidate[];
};

type Candidate = readonly [value: string, description: string];

const PLATFORMS = ["linux/amd64", "linux/arm64", "linux/arm/v7", "linux/386", "linux/ppc64le", "linux/s390x"];

/** The longest wait of a TAB for an engine. */
const ENGINE_MS = 1000;

const limit = () => AbortSignal.timeout(ENGINE_MS);

/** Only names like this are offered. Others could harm a shell or a terminal. */
const PLAIN = /^\w[\w.:/@-]*$/;

/** The values of flags and arguments, by commander's names. */
const VALUES: Readonly<Record<string, readonly string[]>> = {
  action: ["prune"],
  shell: SHELLS,
  "--compression": COMPRESSIONS,
  "--runtime": RUNTIMES,
  "--platform": PLATFORMS,
  "--tls-verify": ["true", "false"],
  "--progress": PROGRESS,
};

/** Makes the offer for the last word. The words before it are complete. */
export async function offerFor(words: readonly string[], env: Environment): Promise<Offer> {
  const word = words.at(-1) ?? "";
  const [first = "", ...others] = words.slice(0, -1);
  const command = COMMANDS.find(({ name }) => name === first);
  const program = command === undefined ? pushProgram() : (await command.load()).program();
  const place = placeAfter(command === undefined ? words.slice(0, -1) : others, program);
  if (place.isCommand) return { kind: "files" };
  if (place.flag !== undefined) return await valueOffer(place.flag, word, env);
  if (word.startsWith("-") && !place.isAfterDashes) {
    const [, name] = /^(--[^=]+)=/.exec(word) ?? [];
    const flag = program.options.find(({ long, required }) => long === name && required);
    if (name === undefined) return { kind: "words", candidates: flagsOf(program, word) };
    return flag === undefined ? { kind: "words" } : await valueOffer(flag, word, env, `${name}=`);
  }
  const { registeredArguments: all } = program;
  const argument = (all[place.position] ?? (all.at(-1)?.variadic ? all.at(-1) : undefined))?.name();
  switch (argument) {
    case "source":
      return await sourceOffer(word, env, words.length === 1);
    case "image":
      return { kind: "words", candidates: matching(plain(await imageNames(env, limit()), "image"), word) };
    case "target":
      return { kind: "words", candidates: await targets(word, env) };
    case "registry":
      return { kind: "words", candidates: await hosts(word, env, "") };
    default:
      return { kind: "words", candidates: matching(plain(VALUES[argument ?? ""] ?? []), word) };
  }
}

/** Finds what comes after the words: the value of a flag, an argument, or another program's command. */
function placeAfter(words: readonly string[], program: Command) {
  let position = 0;
  let flag: Option | undefined;
  for (const [i, word] of words.entries()) {
    if (flag !== undefined) flag = undefined;
    else if (word === "--") {
      const isCommand = program.usage().includes("[-- command");
      return { position: position + words.length - i - 1, flag, isAfterDashes: true, isCommand };
    } else if (word.startsWith("-") && word !== "-")
      flag = program.options.find(
        ({ long, short, required }) => required && (word === long || word === short),
      );
    else position += 1;
  }
  return { position, flag, isAfterDashes: false, isCommand: false };
}

async function valueOffer(flag: Option, word: string, env: Environment, prefix = ""): Promise<Offer> {
  const [, kind] = /<(.*)>/.exec(flag.flags) ?? [];
  const value = word.slice(prefix.length);
  const behind = (candidates: readonly Candidate[]) =>
    candidates.map(([each, description]) => [`${prefix}${each}`, description] as const);
  if (kind === "file") return { kind: "files", prefix };
  if (kind === "folder") return { kind: "folders", prefix };
  if (kind === "target") return { kind: "words", candidates: behind(await targets(value, env)) };
  if (kind === "image") return { kind: "words", candidates: behind(await hosts(value, env, "/")) };
  if (kind === "host") return { kind: "words", candidates: behind(await hosts(value, env, "")) };
  return { kind: "words", candidates: behind(matching(plain(VALUES[flag.long ?? ""] ?? []), value)) };
}

async function sourceOffer(word: string, env: Environment, isFirst: boolean): Promise<Offer> {
  const [prefix = "", transport = ""] = /^([a-z-]+):/.exec(word) ?? [];
  const form = Object.entries(TRANSPORTS).find(([name]) => name === transport)?.[1];
  if (form === "docker" || form === "podman") {
    const names = await imageNames(env, limit(), [form]);
    return { kind: "words", candidates: matching(plain(names.map((name) => `${prefix}${name}`)), word) };
  }
  if (form !== undefined) return { kind: "files", prefix };
  if (word.startsWith("docker://")) return { kind: "words", candidates: await hosts(word, env, "/") };
  // A path is not an image's name.
  if (/^[./~]/.test(word)) return { kind: "files" };
  const [registries, images] = await Promise.all([hosts(word, env, "/"), imageNames(env, limit())]);
  const transports = [...Object.keys(TRANSPORTS).map((name) => `${name}:`), "docker://"];
  const commands = COMMANDS.map(({ name, summary }) => [name, clause(summary)] as const);
  const others = [...plain(images, "image"), ...plain(transports, "transport"), ...(isFirst ? commands : [])];
  return { kind: "files", candidates: [...matching(others, word), ...registries] };
}

/** Returns targets of earlier pushes, and registries with a login. */
async function targets(word: string, env: Environment): Promise<Candidate[]> {
  const last = plain(readLastTargets(env).map(formatTarget), "pushed to before");
  return [...matching(last, word), ...(await hosts(word, env, "/"))];
}

/** Returns registries with a login, after the scheme with which the word begins. */
async function hosts(word: string, variables: Environment, end: string): Promise<Candidate[]> {
  const [scheme = ""] = /^(?:https?|docker):\/\//.exec(word) ?? [];
  const names = await loginHosts(loginEnvironment(variables));
  return matching(
    plain(
      names.map((name) => `${scheme}${name}${end}`),
      "logged in",
    ),
    word,
  );
}

function flagsOf(program: Command, word: string): Candidate[] {
  const options = program.createHelp().visibleOptions(program);
  return options.flatMap(({ short, long, description }) =>
    [short, long].flatMap((name) => (name?.startsWith(word) ? [[name, clause(description)] as const] : [])),
  );
}

function plain(values: readonly string[], description = ""): Candidate[] {
  return values.map((value) => [value, description] as const);
}

function matching(candidates: readonly Candidate[], word: string): Candidate[] {
  return candidates.filter(([value]) => value.startsWith(word) && PLAIN.test(value));
}
