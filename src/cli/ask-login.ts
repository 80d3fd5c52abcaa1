import { PushError } from "../errors.ts";
import { toPrintable } from "../format.ts";
import { askOnce, type Terminal } from "./terminal.ts";

/** Asks for a user name until it is valid. Throws `INTERRUPTED`. */
export async function askUsername(terminal: Terminal, host: string, signal: AbortSignal): Promise<string> {
  // Slow to load, and rarely needed.
  const { isCancel, text } = await import("@clack/prompts");
  const message = toPrintable(`User name for ${host}`);
  const answer = await askOnce(terminal, signal, (own) =>
    text({ message, input, output, signal: own, validate: problemOfUsername }),
  );
  if (isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted: no user name was given.");
  return answer.trim();
}

function problemOfUsername(name = ""): string | undefined {
  if (name.trim() === "") return "Type a user name, or press Ctrl-C.";
  return name.includes(":") ? "A user name has no colon." : undefined;
}

/** Asks for a password without showing it. Throws `INTERRUPTED` and `PASSWORD_MISSING`. */
export async function askPassword(
  terminal: Terminal,
  username: string,
  host: string,
  signal: AbortSignal,
): Promise<string> {
  const { isCancel, password } = await import("@clack/prompts");
  const message = toPrintable(`Password of ${username} at ${host}`);
  // With an empty mask, the length is not shown either.
  const answer = await askOnce(terminal, signal, (own) =>
    password({ message, input, output, signal: own, mask: "" }),
  );
  if (isCancel(answer)) throw new PushError("INTERRUPTED", "Interrupted: no password was given.");
  if (answer === undefined || answer === "")
    throw new PushError("PASSWORD_MISSING", "No password was given.", {
      hint: "Run the same command again, and type or paste the password.",
    });
  return answer;
}
