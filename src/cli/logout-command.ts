import { type Command, Option } from "commander";
import { messageOf, PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { type RemainingLogin, remainingLogins } from "../logins/locate-login.ts";
import { displayPath, type LoginEnvironment, savingPlace } from "../logins/login-places.ts";
import { type RemovedLogin, removeLogins } from "../logins/save-login.ts";
import { canonicalKey } from "../logins/server-key.ts";
import { isRepository, parseRegistry } from "../oci/reference.ts";
import { commandLine, PROGRAM_NAME } from "../program-name.ts";
import { addFlags, commandProgram } from "./add-flags.ts";
import { defineCommand } from "./command.ts";
import { namesOneRegistry } from "./login-command.ts";
import { loginEnvironment } from "./login-environment.ts";
import { atOnce } from "./login-errors.ts";
import { parseArguments } from "./parse-arguments.ts";
import { authFileFlag } from "./registry-flags.ts";
import { assertNotEmpty } from "./values.ts";
import { waitingLine } from "./waiting-line.ts";

/** Undefined: all logins. */
type LogoutCommand = { readonly key: string | undefined; readonly authFile: string | undefined };

const NOTES = `
Removes what "login" and "docker login" saved. Logins in other files, such as
podman's own, stay and are named.

Examples:
  ${PROGRAM_NAME} logout registry.example.com
  ${PROGRAM_NAME} logout --all`;

export const LOGOUT = defineCommand<LogoutCommand>({
  program: logoutProgram,
  parse(args) {
    const program = logoutProgram();
    const text = parseArguments(program, args, ({ code }) => namesOneRegistry("logout", code));
    if (text !== undefined) return text;
    const { all, authfile } = program.opts<{ all?: true; authfile?: string }>();
    const [registry] = program.args;
    assertNotEmpty(registry, "The registry");
    assertNotEmpty(authfile, "--authfile");
    if ((registry === undefined) === (all === undefined))
      throw new PushError(
        "USAGE",
        `${all ? "A registry was named together with --all" : "No registry was named"}.`,
        {
          hint: `Name one registry, or remove all logins: ${PROGRAM_NAME} logout --all`,
        },
      );
    return { key: registry === undefined ? undefined : keyOf(registry), authFile: authfile };
  },
  async run(command, { process, stop, warn }) {
    warn();
    await atOnce(logOut(command, process, stop));
    return 0;
  },
});

/** Reads a registry, or Podman's part of one, in any spelling of login files. Throws `REFERENCE_INVALID` and `USAGE`. */
function keyOf(text: string): string {
  const key = canonicalKey(text);
  const [host = "", ...path] = key.split("/");
  // A host of one label needs no scheme here. A text with an @ may contain a password.
  parseRegistry(text.includes("@") ? text : `https://${host}`);
  if (path.length === 0 || isRepository(path.join("/"))) return key;
  throw new PushError("USAGE", `"${toPrintable(text)}" is neither a registry nor a part of one.`, {
    hint: `Name the registry alone: ${PROGRAM_NAME} logout ${host}`,
  });
}

function logoutProgram(): Command {
  const program = commandProgram("logout", "[REGISTRY] [flags]")
    .description("Removes the saved login to a registry.")
    .argument("[registry]", "the registry's host, such as registry.example.com")
    .addOption(new Option("--all", "remove all logins"));
  return addFlags(program, "Authentication", [authFileFlag("remove the login from this file")]).addHelpText(
    "after",
    NOTES,
  );
}

async function logOut(
  { key, authFile }: LogoutCommand,
  { stdout, stderr, env }: NodeJS.Process,
  signal: AbortSignal,
): Promise<void> {
  const places = loginEnvironment(env, authFile);
  const waiting = waitingLine(stderr);
  waiting.show("Removing the login");
  let isRemoved = false;
  const onRemoved = ({ key: registry, where }: RemovedLogin) => {
    isRemoved = true;
    waiting.clear();
    stdout.write(`${toPrintable(`Logged out of ${shownKey(registry)}. Removed the login from ${where}.`)}\n`);
  };
  await removeLogins(key, places, signal, onRemoved).finally(waiting.clear);
  if (!isRemoved) {
    const name = displayPath(savingPlace(places).path, places.home);
    const what = key === undefined ? "login" : `login to ${key}`;
    stdout.write(`${toPrintable(`There is no ${what} in ${name}.`)}\n`);
  }
  const warn = (text: string) => stderr.write(`${toPrintable(`Warning: ${text}`)}\n`);
  const left = await remainingLogins(key, places, signal, (error) => warn(messageOf(error)));
  for (const login of left) warn(describeRemaining(login, key, places));
}

/** Describes a login that a push still finds, and how to remove it. */
function describeRemaining(
  { key, where, path }: RemainingLogin,
  wanted: string | undefined,
  places: LoginEnvironment,
): string {
  const text = `there is still a login to ${shownKey(key)} in ${where}.`;
  // A helper has kept it.
  if (path === savingPlace(places).path && (wanted ?? key) === key) return text;
  const isUsual = path === savingPlace({ ...places, authFile: undefined }).path;
  return `${text} Remove it: ${commandLine("logout", ...(isUsual ? [] : ["--authfile", path]), shownKey(key))}`;
}

/** Returns the key of a login as it is shown: what precedes an @ may be a password. */
function shownKey(key: string): string {
  return key.replace(/^.*@/s, "");
}
