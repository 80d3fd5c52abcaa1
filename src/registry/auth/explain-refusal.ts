import * as v from "valibot";
import { cutName, formatAge } from "../../format.ts";
import { isLoopback } from "../../oci/address.ts";
import { object } from "../../oci/json-schema.ts";
import { looksLikeHost, referenceHost } from "../../oci/reference.ts";
import { commandLine, PROGRAM_NAME } from "../../program-name.ts";
import { type Credentials, type SavedOrigin, TOKEN_USERNAME, usernameOf } from "./credentials.ts";

type Explanation = { readonly reason: string; readonly hint: string };

/** Explains that a registry refuses an anonymous push. */
export function explainLoginRequired(registry: string): Explanation {
  return {
    reason: `${registry} requires a login.`,
    hint: `Log in with "${commandLine("login", addressOf(registry))}", or name the user and pipe the password in: echo "$PASSWORD" | ${PROGRAM_NAME} --username me … (SKIP_AUTH must be unset)`,
  };
}

/**
 * Explains that a registry, or its token server, refuses credentials: which ones, where they are from, and what may be
 * wrong with them.
 *
 * @param facts whether the answer is one of serverless-registry, which ignores passwords where it has a JWT public key
 */
export function explainRefusedCredentials(
  registry: string,
  credentials: Credentials,
  facts: { readonly isServerlessRegistry?: boolean } = {},
  now = new Date(),
): Explanation {
  const secret = "password" in credentials ? credentials.password : "";
  const token = readJwt(secret);
  const flaw = token?.expires && token.expires < now ? expired(token.expires, now) : whiteSpaceOf(secret);
  const isPassword = usernameOf(credentials) !== TOKEN_USERNAME && token === undefined;
  const isSaved = credentials.origin?.kind === "login";
  const remedies = [
    !isSaved && remedyOf(credentials, registry),
    facts.isServerlessRegistry &&
      isPassword &&
      "A serverless-registry with a JWT public key takes tokens alone: pass one in REGISTRY_JWT_TOKEN, without a user name.",
    token && flaw === undefined && "The token may be for another registry, or signed with another key.",
    // A command ends the line, so that it can be pasted.
    isSaved && remedyOf(credentials, registry),
  ];
  return {
    reason: `${registry} does not accept ${nameOf(credentials)}${flaw === undefined ? "" : `: ${flaw}`}.`,
    hint: remedies.filter(Boolean).join(" "),
  };
}

/** Names credentials as the user gave them. */
function nameOf(credentials: Credentials): string {
  const { origin } = credentials;
  const user = `"${cutName(usernameOf(credentials))}"`;
  if (origin?.kind === "login") {
    const what = "identityToken" in credentials ? "the identity token" : `the login of ${user}`;
    return `${what} in ${origin.name}`;
  }
  if ("identityToken" in credentials) return "the identity token";
  switch (origin?.kind) {
    case "typed":
      return `user ${user} with the password that you typed`;
    case "piped":
      return `user ${user} with the password on standard input`;
    case "command":
      return "what the credential command printed";
    case "setting":
      // Only the token counts where no user was named.
      return credentials.username === TOKEN_USERNAME
        ? origin.name
        : `user ${user} with the password in ${origin.name}`;
    default:
      return `user ${user} with this password`;
  }
}

function remedyOf({ origin }: Credentials, registry: string): string {
  switch (origin?.kind) {
    case "login":
      return logInAgain(registry, origin);
    case "typed":
      return "Check the user name, and type the password again.";
    case "command":
      return "Run the command of --credential-command by hand, and check what it prints.";
    case "setting":
      return `Check ${origin.name}.`;
    case "piped":
      return "Check the user name, and the variable or the file that is piped in.";
    default:
      return "Check the user name and the password.";
  }
}

const CLAIMS = object({ exp: v.fallback(v.optional(v.number()), undefined) });

/** Reads what a JSON web token says of itself, unverified. Undefined for anything else. */
function readJwt(secret: string): { readonly expires: Date | undefined } | undefined {
  const [, claims] = /^eyJ[\w-]+\.([\w-]+)\.[\w-]*\s*$/.exec(secret) ?? [];
  if (claims === undefined) return undefined;
  try {
    const { exp } = v.parse(CLAIMS, JSON.parse(Buffer.from(claims, "base64url").toString("utf8")));
    return { expires: exp === undefined ? undefined : new Date(exp * 1000) };
  } catch {
    return undefined;
  }
}

function expired(date: Date, now: Date): string {
  return `the token expired ${formatAge(date, now)}`;
}

const WHITE_SPACE: Readonly<Record<string, string>> = {
  " ": "a space",
  "\t": "a tab",
  "\n": "a line break",
  "\r": "a line break",
};

/** Tells whether a password begins or ends in white space, which is easily typed or piped in by mistake. */
function whiteSpaceOf(secret: string): string | undefined {
  const [end = ""] = /\s$/.exec(secret) ?? [];
  if (end !== "") return `the password ends in ${WHITE_SPACE[end] ?? "white space"}`;
  const [start = ""] = /^\s/.exec(secret) ?? [];
  return start === "" ? undefined : `the password begins with ${WHITE_SPACE[start] ?? "white space"}`;
}

/** Names the commands that replace a saved login by one that a push to the registry finds. */
function logInAgain(registry: string, { key, authFile }: SavedOrigin): string {
  const file = authFile === undefined ? [] : ["--authfile", authFile];
  const [host, ...part] = key?.split("/") ?? [];
  const login = commandLine("login", ...file, addressOf(registry, host));
  if (key === undefined || part.length === 0) return `Log in again: ${login}`;
  return `Remove it, and log in to the registry: ${commandLine("logout", ...file, key)} && ${login}`;
}

/** Writes a registry's address as a user does: the scheme is left out where it is the default. */
function addressOf(registry: string, name?: string): string {
  const url = new URL(registry);
  const host = name ?? referenceHost(url.host);
  const usual = isLoopback(url) ? "http:" : "https:";
  return url.protocol === usual && looksLikeHost(host) ? host : `${url.protocol}//${host}`;
}
