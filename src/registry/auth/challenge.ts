/** One challenge of a 401. Scheme and parameter names are in lower case. */
type Challenge = { readonly scheme: string; readonly parameters: ReadonlyMap<string, string> };

/** Asks for a bearer token: https://distribution.github.io/distribution/spec/auth/token/#how-to-authenticate */
export type BearerChallenge = {
  /** The token server's address, as the registry wrote it. */
  readonly realm: string;
  readonly service: string | undefined;
  /** Scopes that the token must have, such as `repository:my/app:pull,push`. Often none at the greeting. */
  readonly scopes: readonly string[];
};

// https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1 and #section-5.6.2
const TOKEN = "[!#$%&'*+.^_`|~0-9A-Za-z-]+";
const SEPARATORS = /[\s,]*/y;
const PARAMETER = new RegExp(`(${TOKEN})\\s*=\\s*(?:"((?:[^"\\\\]|\\\\.)*)"|([^\\s,"]*))`, "ys");
const SCHEME = new RegExp(`(${TOKEN})`, "y");

/** Finds the challenge of a 401 that asks for a bearer token. Undefined: there is none. */
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
 * Reads a `WWW-Authenticate` header. Commas separate challenges as well as their parameters. A word
 * followed by an equals sign is a parameter. Reading ends at the first syntax error.
 */
function parseChallenges(header: string): Challenge[] {
  const challenges: { scheme: string; parameters: Map<string, string> }[] = [];
  let at = 0;
  const next = (pattern: RegExp) => {
    pattern.lastIndex = at;
    const match = pattern.exec(header);
    if (match !== null) at = pattern.lastIndex;
    return match;
  };
  for (;;) {
    next(SEPARATORS);
    const parameter = challenges.length > 0 ? next(PARAMETER) : null;
    if (parameter !== null) {
      const [, name = "", quoted, bare = ""] = parameter;
      const { parameters } = challenges[challenges.length - 1] ?? { parameters: new Map() };
      if (!parameters.has(name.toLowerCase()))
        parameters.set(name.toLowerCase(), quoted?.replace(/\\(.)/gs, "$1") ?? bare);
      continue;
    }
    const scheme = next(SCHEME)?.[1];
    if (scheme === undefined) return challenges;
    challenges.push({ scheme: scheme.toLowerCase(), parameters: new Map() });
  }
}
