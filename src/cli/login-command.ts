import type { Command } from "commander";
import { messageOf, PushError } from "../errors.ts";
import { formatDuration, toPrintable } from "../format.ts";
import { displayPath, savingPlace } from "../logins/login-places.ts";
import { type SavedLogin, saveLogin } from "../logins/save-login.ts";
import { isLoopback } from "../oci/address.ts";
import {
  formatRegistry,
  looksLikeHost,
  parseRegistry,
  type Registry as RegistryName,
} from "../oci/reference.ts";
import { commandLine, PROGRAM_NAME } from "../program-name.ts";
import { requestEvent } from "../push/request-event.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";
import { connect } from "../registry/connect.ts";
import { proxyFrom } from "../registry/http/proxy.ts";
import { sendOnce } from "../registry/http/send-once.ts";
import { readTrust } from "../registry/http/trust.ts";
import type { Call } from "../registry/registry.ts";
import { describeRequest } from "../report/describe.ts";
import { describeNotice } from "../report/notices.ts";
import { commandProgram } from "./add-flags.ts";
import { askPassword, askUsername } from "./ask-login.ts";
import { defineCommand } from "./command.ts";
import { givenCredentials, type PasswordNotice } from "./credentials.ts";
import { loginEnvironment } from "./login-environment.ts";
import { atOnce } from "./login-errors.ts";
import { parseArguments } from "./parse-arguments.ts";
import { addLoginFlags, type RegistryCommand, registryCommand } from "./registry-flags.ts";
import { openTerminal } from "./terminal.ts";
import type { Environment } from "./values.ts";
import { waitingLine } from "./waiting-line.ts";

type LoginCommand = RegistryCommand & { readonly target: RegistryName };

const NOTES = `
Asks at the terminal for what is not given. Saves only what the registry
accepts, where "docker login" does: in the credential helper that Docker's
config.json names, else in that file. docker, podman and skopeo find it there.

Examples:
  ${PROGRAM_NAME} login registry.example.com
  echo "$PASSWORD" | ${PROGRAM_NAME} login --username me registry.example.com`;

export const LOGIN = defineCommand<LoginCommand>({
  program: loginProgram,
  parse(args, env) {
    const program = loginProgram();
    const text = parseArguments(program, args, ({ code }) => namesOneRegistry("login", code));
    if (text !== undefined) return text;
    // A login is a person's. The command's user is a push's.
    const variables = { ...env, CHUNKPUSH_CREDENTIAL_COMMAND: undefined };
    return { ...registryCommand(program.opts(), variables), target: registryOf(program.args[0] ?? "") };
  },
  async run(command, { process, stop, warn }) {
    warn();
    await atOnce(logIn(command, process, stop));
    return 0;
  },
});

function loginProgram(): Command {
  const program = commandProgram("login", "REGISTRY [flags]")
    .description("Checks a user name and a password at a registry, and saves them.")
    .argument("<registry>", "the registry's host, such as registry.example.com");
  return addLoginFlags(
    program,
    "save the login in this file, in the format of Podman's auth.json",
  ).addHelpText("after", NOTES);
}

/** Throws `REFERENCE_INVALID`. */
function registryOf(text: string): RegistryName {
  try {
    return parseRegistry(text);
  } catch (error) {
    const [, host = ""] = /^((?:https?:\/\/)?[^/@]+)\/[^@]*$/.exec(text) ?? [];
    if (!looksLikeHost(host)) throw error;
    throw new PushError("REFERENCE_INVALID", `"${text}" names more than a registry.`, {
      hint: `A login is for the whole registry: ${PROGRAM_NAME} login ${host}`,
    });
  }
}

/** Explains arguments that are not one registry. */
export function namesOneRegistry(command: string, code: string): PushError | undefined {
  if (code !== "commander.missingArgument" && code !== "commander.excessArguments") return undefined;
  const problem =
    code === "commander.missingArgument" ? "No registry was named." : "More than one registry was named.";
  return new PushError("USAGE", problem, {
    hint: `Name one: ${PROGRAM_NAME} ${command} registry.example.com`,
  });
}

async function logIn(
  command: LoginCommand,
  { stdout, stderr, env }: Pick<NodeJS.Process, "stdout" | "stderr"> & { readonly env: Environment },
  signal: AbortSignal,
): Promise<void> {
  const { host } = command.target;
  const waiting = waitingLine(stderr);
  const say = (line: string) => {
    waiting.clear();
    stderr.write(`${toPrintable(line)}\n`);
  };
  const login = await readLogin(command, env, signal, say);
  const places = loginEnvironment(env, command.authFile);
  let saved: SavedLogin;
  try {
    waiting.show(`Asking ${host}`);
    await checkLogin(command, login, env, signal, say);
    // A credential helper may ask for a passphrase in a window of its own.
    waiting.show("Saving the login");
    saved = await saveLogin(host, login, places, signal);
  } finally {
    waiting.clear();
  }
  if (!saved.isEncrypted) {
    say(
      `Warning: the password is stored unencrypted in ${displayPath(savingPlace(places).path, places.home)}.`,
    );
    say("To encrypt it, configure a credential helper: https://docs.docker.com/go/credential-store/");
  }
  stdout.write(`${toPrintable(`Logged in to ${host} as ${login.username}. Saved in ${saved.where}.`)}\n`);
}

/** Asks for what neither the arguments nor the environment give. Throws `PASSWORD_MISSING` and `USAGE`. */
async function readLogin(
  command: LoginCommand,
  environment: Environment,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<Extract<Credentials, { username: string }>> {
  const { host } = command.target;
  // Leave out the advice to log in.
  const onNotice = (code: PasswordNotice) =>
    say(describeNotice({ type: "notice", code }).replace(", or log in once", ""));
  const credentials =
    command.username === undefined
      ? await typedLogin(command.target, signal)
      : await givenCredentials(command, host, {
          environment,
          signal,
          onNotice,
          hint: pipedLogin(command.target, command.username),
        });
  if (credentials !== undefined && "username" in credentials) return credentials;
  throw new PushError("USAGE", 'The user name "<token>" is reserved for identity tokens.', {
    hint: "Log in with a user name and a password.",
  });
}

async function typedLogin(target: RegistryName, signal: AbortSignal): Promise<Credentials> {
  const terminal = await openTerminal();
  if (terminal !== undefined) {
    const username = await askUsername(terminal, target.host, signal);
    const password = await askPassword(terminal, username, target.host, signal);
    return { ...credentialsOf(username, password), origin: { kind: "typed" } };
  }
  throw new PushError("USAGE", "No user name was given, and there is no terminal to ask for it.", {
    hint: pipedLogin(target),
  });
}

function pipedLogin(target: RegistryName, username = "me"): string {
  const command = commandLine("login", "--username", username, formatRegistry(target));
  return `Pipe the password in, and check that the variable is set: echo "$PASSWORD" | ${command}`;
}

/** Asks the registry whether it accepts the login. Throws what `connect` and `readTrust` throw. */
async function checkLogin(
  command: LoginCommand,
  credentials: Credentials,
  env: Environment,
  signal: AbortSignal,
  say: (line: string) => void,
): Promise<void> {
  const { caFiles, skipVerify, clientCertificate, retries, cacheDirectory } = command;
  const call: Call = {
    signal,
    onRetry: ({ error, delayMs, attempt, retries: most }) =>
      say(`Retry ${attempt}/${most} in ${formatDuration(delayMs)}: ${messageOf(error)}`),
  };
  const registry = await connect(
    {
      ...command,
      credentials,
      trust: await readTrust({ caFiles, skipVerify, clientCertificate }),
      proxy: proxyFrom(env),
      retries: { count: retries, baseDelayMs: 1000 },
      onExchange: (exchange) => {
        if (command.debug) say(describeRequest(requestEvent(exchange)));
      },
      // Only uploads write notes.
      notes: { directory: cacheDirectory },
      onAddressed: (origin) => {
        if (origin.startsWith("http:") && !isLoopback(new URL(origin)))
          say(`Warning: the password goes to ${origin} over plain HTTP, where it can be intercepted.`);
      },
    },
    call,
  );
  const url = new URL(`${registry.origin}/v2/`);
  // The login has been accepted: no failure to ask without it counts.
  const answer = await sendOnce(registry, { method: "GET", url }, url, undefined, call).catch(
    () => undefined,
  );
  signal.throwIfAborted();
  if (answer !== undefined && answer.status >= 200 && answer.status < 300)
    say(
      `Warning: ${registry.origin} answers without a login as well, so the password may not have been checked.`,
    );
}
