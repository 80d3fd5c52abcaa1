/** A user name and a password, or an identity token. */
export type Credentials = (
  | { readonly username: string; readonly password: string }
  /** An identity token replaces the password in some logins of `docker login`. Only a token server accepts it. */
  | { readonly identityToken: string }
) & { readonly origin?: CredentialsOrigin };

/** The way in which the user passed credentials. Only messages depend on it. */
export type CredentialsOrigin =
  | { readonly kind: "typed" | "piped" | "command" }
  /** `name` is a variable or a flag, such as `REGISTRY_JWT_TOKEN`. */
  | { readonly kind: "setting"; readonly name: string }
  | SavedOrigin;

/** The origin of credentials that are a saved login. */
export type SavedOrigin = {
  readonly kind: "login";
  /** The place of a saved login, such as `~/.docker/config.json`. */
  readonly name: string;
  /** The key that a new login replaces: the registry, or Podman's part of one. @default the registry of the push */
  readonly key?: string | undefined;
  /** The file of `--authfile`, if the user named one. */
  readonly authFile?: string | undefined;
};

/** The user name for serverless-registry's own tokens. The registry ignores it. */
export const TOKEN_USERNAME = "v0";

/** Gets new credentials in place of expired ones. Undefined if there are none. */
export type RenewCredentials = (signal: AbortSignal) => Promise<Credentials | undefined>;

/** Credential helpers return identity tokens with this user name. */
const IDENTITY_TOKEN_USERNAME = "<token>";

/** An address may contain a shorter password by chance, such as "docker-registry". */
const LEAST_SECRET_CHARACTERS = 16;

/** Makes credentials of a user name and a password. Recognizes an identity token as Docker does. */
export function credentialsOf(username: string, password: string): Credentials {
  return username === IDENTITY_TOKEN_USERNAME ? { identityToken: password } : { username, password };
}

/** Returns the user name to show. */
export function usernameOf(credentials: Credentials): string {
  return "identityToken" in credentials ? IDENTITY_TOKEN_USERNAME : credentials.username;
}

/** Makes a Basic header in UTF-8: https://www.rfc-editor.org/rfc/rfc7617#section-2. Undefined without a password. */
export function basicAuthorization(credentials: Credentials | undefined): string | undefined {
  if (credentials === undefined || "identityToken" in credentials) return undefined;
  const { username, password } = credentials;
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** Converts a Basic header between Base64's standard and URL-safe alphabets, which differ in two characters. */
export function otherAlphabet(basic: string): string {
  const others: Readonly<Record<string, string>> = { "+": "-", "/": "_", "-": "+", _: "/" };
  return basic.replace(/[-+/_]/g, (character) => others[character] ?? character);
}

/** Returns the credentials in all forms in which a server might repeat them. */
export function secretsOf(credentials: Credentials | undefined): string[] {
  if (credentials === undefined) return [];
  const secret = "identityToken" in credentials ? credentials.identityToken : credentials.password;
  const basic = basicAuthorization(credentials)?.slice("Basic ".length) ?? "";
  return [secret, basic, otherAlphabet(basic)].filter(Boolean).flatMap(formsOf);
}

/** Returns a secret unchanged, encoded for a URL, a form and JSON, and as UTF-8 bytes that are read as Latin-1. */
export function formsOf(secret: string): string[] {
  const wellFormed = secret.toWellFormed();
  const forms = [
    secret,
    encodeURIComponent(wellFormed),
    new URLSearchParams({ s: wellFormed }).toString().slice("s=".length),
    JSON.stringify(secret).slice(1, -1),
    Buffer.from(secret, "utf8").toString("latin1"),
  ];
  return [...new Set(forms)];
}

/**
 * Tells whether an address from a server contains a secret. A request to it could carry the secret to other hosts, and the
 * address appears in files and messages.
 */
export function repeatsSecret(address: string, secrets: readonly string[]): boolean {
  return secrets.some((secret) => secret.length >= LEAST_SECRET_CHARACTERS && address.includes(secret));
}
