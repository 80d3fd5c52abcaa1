/** A user name and password, or an identity token. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  /** `docker login` keeps it in place of a password. Only a token server takes it. */
  | { readonly identityToken: string };

/** Credential helpers return identity tokens with this user name. */
const IDENTITY_TOKEN_USERNAME = "<token>";

/** Makes credentials of a user name and a password. Recognizes an identity token as Docker does. */
export function credentialsOf(username: string, password: string): Credentials {
  return username === IDENTITY_TOKEN_USERNAME ? { identityToken: password } : { username, password };
}

/** Returns the user name to show. */
export function usernameOf(credentials: Credentials): string {
  return "identityToken" in credentials ? IDENTITY_TOKEN_USERNAME : credentials.username;
}

/** Returns the Basic header, in UTF-8: https://www.rfc-editor.org/rfc/rfc7617#section-2. Undefined without a password. */
export function basicAuthorization(credentials: Credentials | undefined): string | undefined {
  if (credentials === undefined || "identityToken" in credentials) return undefined;
  const { username, password } = credentials;
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** Returns the credentials in every form in which a server might repeat them. */
export function secretsOf(credentials: Credentials | undefined): string[] {
  if (credentials === undefined) return [];
  const secret = "identityToken" in credentials ? credentials.identityToken : credentials.password;
  const basic = basicAuthorization(credentials)?.slice("Basic ".length) ?? "";
  return [secret, basic].filter(Boolean).flatMap(formsOf);
}

/** Returns a secret as it is, as in an address, a form and JSON, and as Latin-1, which is how headers are read. */
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
