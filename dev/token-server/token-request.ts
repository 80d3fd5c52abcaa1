/** A request for a token, taken apart. */
export type TokenRequest = {
  method: string;
  path: string;
  service: string | undefined;
  scopes: string[];
  /** `user:password`; undefined where none was sent. */
  basic: string | undefined;
  /** An identity token is wanted, too, as by docker login. */
  wantsIdentityToken: boolean;
  /** All of a POST's form. */
  form: Readonly<Record<string, string>>;
};

export async function readTokenRequest(request: Request): Promise<TokenRequest> {
  const { pathname, searchParams } = new URL(request.url);
  const form = request.method === "POST" ? new URLSearchParams(await request.text()) : new URLSearchParams();
  const encoded = /^Basic (.*)$/.exec(request.headers.get("authorization") ?? "")?.[1];
  return {
    method: request.method,
    path: pathname,
    service: searchParams.get("service") ?? form.get("service") ?? undefined,
    scopes: [...searchParams.getAll("scope"), ...form.getAll("scope")].flatMap((scope) => scope.split(" ")),
    basic: encoded === undefined ? undefined : Buffer.from(encoded, "base64").toString("utf8"),
    wantsIdentityToken: searchParams.get("offline_token") === "true",
    form: Object.fromEntries(form),
  };
}
