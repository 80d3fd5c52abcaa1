/** A challenge of a 401. The scheme and the names of the parameters are in lower case. */
type Challenge = { readonly scheme: string; readonly parameters: Map<string, string> };

/** A challenge that asks for a bearer token: https://distribution.github.io/distribution/spec/auth/token/#how-to-authenticate */
export type BearerChallenge = {
  /** The token server's address, as the registry wrote it. */
  readonly realm: string;
  readonly service: string | undefined;
  /** The scopes that the token needs, such as `repository:my/app:pull,push`. A greeting often has none. */
  readonly scopes: readonly string[];
};

// https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1 and #section-5.6.2
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const SEPARATORS = /[\s,]*/y;
const PARAMETER = new RegExp(`(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]*))`, "ys");
const SCHEME = new RegExp(`(${TOKEN})`, "y");

/** Returns a 401's challenge for a bearer token. Undefined if there is none. */
export function bearerChallenge(headers: Headers): BearerChallenge | undefined {
  // Several headers of this name arrive as one, joined with commas.
  const challenges = parseChallenges(headers.get("www-authenticate") ?? "");
  const bearer = challenges.find(({ scheme }) => scheme === "bearer")?.parameters;
  const realm = bearer?.get("realm");
  if (bearer === undefined || !realm) return undefined;
  return {
    realm,
    service: bearer.get("service"),
    scopes: (bearer.get("scope") ?? "").split(" ").filter(Boolean),
  };
}

/**
 * Parses a `WWW-Authenticate` header. Commas separate challenges as well as their parameters, but only a parameter has
 * an equals sign. Parsing ends at the first invalid character.
 */
function parseChallenges(header: string): Challenge[] {
  const challenges: Challenge[] = [];
  let at = 0;
  const next = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    next(SEPARATORS);
    const current = challenges.at(-1);
    const parameter = current && next(PARAMETER);
    if (parameter) {
      const [, name = "", quoted, bare = ""] = parameter;
      const key = name.toLowerCase();
      if (!current.parameters.has(key)) current.parameters.set(key, quoted?.replace(/\\(.)/gs, "$1") ?? bare);
      continue;
    }
    const scheme = next(SCHEME)?.[1];
    if (scheme === undefined) return challenges;
    challenges.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
  }
}
