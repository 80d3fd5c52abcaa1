import { createPrivateKey, type KeyObject, sign, X509Certificate } from "node:crypto";

/** What a token allows: https://distribution.github.io/distribution/spec/auth/jwt/ */
export type Access = { type: string; name: string; actions: string[] };

export type Claims = {
  issuer: string;
  service: string;
  subject: string;
  issuedAtMs: number;
  expiresAtMs: number;
  access: readonly Access[];
};

/** A key on P-256 and the certificate that vouches for it, both as PEM. */
export type SigningKey = { key: string; cert: string };

/** The token as distribution reads it: a JWT whose header carries the certificate. Without a key nobody can check it. */
export function signedToken(claims: Claims, signing: SigningKey | undefined): string {
  const certificate = signing && new X509Certificate(signing.cert).raw.toString("base64");
  const header = { typ: "JWT", alg: signing ? "ES256" : "none", ...(certificate && { x5c: [certificate] }) };
  const payload = {
    iss: claims.issuer,
    aud: claims.service,
    sub: claims.subject,
    // Whole seconds; distribution allows for a minute between clocks.
    iat: Math.floor(claims.issuedAtMs / 1000),
    nbf: Math.floor(claims.issuedAtMs / 1000),
    exp: Math.floor(claims.expiresAtMs / 1000),
    jti: crypto.randomUUID(),
    access: claims.access,
  };
  const content = `${base64url(JSON.stringify(header))}.${base64url(JSON.stringify(payload))}`;
  return `${content}.${signing ? signature(content, createPrivateKey(signing.key)) : ""}`;
}

/** RFC 7518 wants the two numbers side by side, and not in DER. */
function signature(content: string, key: KeyObject): string {
  return sign("sha256", Buffer.from(content), { key, dsaEncoding: "ieee-p1363" }).toString("base64url");
}

function base64url(text: string): string {
  return Buffer.from(text).toString("base64url");
}
