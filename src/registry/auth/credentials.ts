/** Who pushes. */
export type Credentials =
  | { readonly username: string; readonly password: string }
  /** What `docker login` keeps in place of a password, for a token server alone. */
  | { readonly identityToken: string };

/** The user name under which credential helpers hand out identity tokens. */
const IDENTITY_TOKEN_USERNAME = "<token>";

/** Tells the two kinds apart, as Docker does. */
export function credentialsOf(username: string, password: string): Credentials {
  return username === IDENTITY_TOKEN_USERNAME ? { identityToken: password } : { username, password };
}

/** Whom the credentials name, to be shown. */
export function usernameOf(credentials: Credentials): string {
  return "identityToken" in credentials ? IDENTITY_TOKEN_USERNAME : credentials.username;
}

/** https://www.rfc-editor.org/rfc/rfc7617#section-2, in UTF-8. Undefined for what is no password. */
export function basicAuthorization(credentials: Credentials | undefined): string | undefined {
  if (credentials === undefined || "identityToken" in credentials) return undefined;
  const { username, password } = credentials;
  return `Basic ${Buffer.from(`${username}:${password}`, "utf8").toString("base64")}`;
}

/** The credentials in all forms in which a server might repeat them. */
export function secretsOf(credentials: Credentials | undefined): string[] {
  if (credentials === undefined) return [];
  const secret = "identityToken" in credentials ? credentials.identityToken : credentials.password;
  const basic = basicAuthorization(credentials)?.slice("Basic ".length) ?? "";
  return [secret, basic].filter(Boolean).flatMap(formsOf);
}

/** A secret as it is; in an address, a form and a JSON text; and as a header has it, whose bytes are read one by one. */
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
