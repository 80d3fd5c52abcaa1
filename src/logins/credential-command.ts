import * as v from "valibot";
import { PushError } from "../errors.ts";
import { formatDuration } from "../format.ts";
import { object } from "../oci/json-schema.ts";
import { type Credentials, credentialsOf } from "../registry/auth/credentials.ts";
import { unlessAborted } from "../registry/http/unless-aborted.ts";
import { MAX_OUTPUT_BYTES, withoutSecrets } from "./credential-helper.ts";

/** Commands that get a token from a cloud take some seconds. */
const TIMEOUT_MS = 60_000;

const IS_WINDOWS = process.platform === "win32";

const NAME = v.optional(v.pipe(v.string(), v.regex(/^[^:]+$/)));
const SECRET = v.optional(v.pipe(v.string(), v.minLength(1)));
/** As credential helpers of Docker write it, or as wrangler does. */
const ANSWER = object({ Username: NAME, Secret: SECRET, username: NAME, password: SECRET });

export type CommandOptions = {
  /** The user, where the command prints a password alone. */
  readonly username: string;
  /** The command's environment variables. It gets none of our secrets. */
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly signal: AbortSignal;
  /** @default a minute */
  readonly timeoutMs?: number;
};

/**
 * Runs a command of the shell that prints credentials: a password or token alone, or JSON with `Username` and `Secret`,
 * or with `username` and `password`. Throws `CREDENTIAL_HELPER_FAILED`; the message quotes neither the command nor what
 * it printed, since both may contain a secret.
 */
export async function askCommand(command: string, options: CommandOptions): Promise<Credentials> {
  const { stdout, stderr, ended } = await run(command, options);
  if (ended !== "0") throw failure(`it ended with ${ended}.`, stderr);
  const text = stdout.replace(/\r?\n$/, "");
  if (text === "") throw failure("it printed nothing.", stderr);
  const answer = text.trimStart().startsWith("{") ? parseAnswer(text) : { password: text };
  const { Username, username = Username ?? options.username, Secret, password = Secret } = answer ?? {};
  if (password === undefined)
    throw failure("it printed JSON, but not with Username and Secret, or username and password.", stderr);
  // Replacement characters stand for what is no UTF-8.
  if (/[\p{Cc}\uFFFD]/u.test(password))
    throw failure("it printed more than a line, or what is no text.", stderr);
  return credentialsOf(username, password);
}

function parseAnswer(text: string): v.InferOutput<typeof ANSWER> | undefined {
  try {
    return v.parse(ANSWER, JSON.parse(text));
  } catch {
    return undefined;
  }
}

/** Runs a command, and ends it with everything that it has started when it is aborted or takes too long. */
async function run(command: string, { variables, signal, timeoutMs = TIMEOUT_MS }: CommandOptions) {
  const { REGISTRY_JWT_TOKEN: _, CHUNKPUSH_HEADERS: __, ...env } = variables;
  const child = startShell(command, env);
  const late = new AbortController();
  const timer = setTimeout(() => {
    late.abort(failure(`it has not ended after ${formatDuration(timeoutMs)}.`, ""));
  }, timeoutMs);
  try {
    const outputs = Promise.all([child.stdout.text(), child.stderr.text(), child.exited]);
    const ending = AbortSignal.any([signal, late.signal]);
    const [stdout, stderr, code] = await unlessAborted(outputs, ending);
    return { stdout, stderr, ended: `${child.signalCode ?? code}` };
  } catch (error) {
    endGroup(child);
    throw error;
  } finally {
    clearTimeout(timer);
  }
}

/** There may be no shell: chunkpush's own container image has none. */
function startShell(command: string, env: CommandOptions["variables"]) {
  const shell = IS_WINDOWS ? ["cmd", "/d", "/s", "/c", `"${command}"`] : ["/bin/sh", "-c", command];
  try {
    return Bun.spawn(shell, {
      env,
      // It may be the password's, or an image's.
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      maxBuffer: MAX_OUTPUT_BYTES,
      windowsVerbatimArguments: true,
      // A group of its own can be ended as a whole.
      detached: !IS_WINDOWS,
    });
  } catch (error) {
    throw failure(`${shell[0]} cannot be started (${(error as NodeJS.ErrnoException).code}).`, "");
  }
}

function endGroup(child: Bun.Subprocess): void {
  try {
    if (IS_WINDOWS) child.kill();
    else process.kill(-child.pid, "SIGKILL");
  } catch {
    // It has ended by itself.
  }
}

function failure(problem: string, said: string): PushError {
  return new PushError("CREDENTIAL_HELPER_FAILED", `The credential command gave no credentials: ${problem}`, {
    ...(said !== "" && { said: `It said: ${withoutSecrets(said.trim())}` }),
    hint: "Try the command of --credential-command (or CHUNKPUSH_CREDENTIAL_COMMAND) by hand, or add --debug. It has to print a password alone, or JSON.",
  });
}
