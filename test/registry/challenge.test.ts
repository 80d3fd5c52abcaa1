import { describe, expect, test } from "bun:test";
import { bearerChallenge } from "../../src/registry/auth/challenge.ts";

function read(...values: string[]) {
  const headers = new Headers();
  for (const value of values) headers.append("www-authenticate", value);
  return bearerChallenge(headers);
}

const REALM = "https://auth.example/token";

describe("bearerChallenge", () => {
  test.each<[string, string[]]>([
    ["alone", [`Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push"`]],
    ["with blanks", [`Bearer   realm = "${REALM}" , service="r" ,, scope="repository:a/b:pull,push" , `]],
    ["in lower case", [`bearer REALM="${REALM}",Service="r",SCOPE="repository:a/b:pull,push"`]],
    [
      "without quotes where they are not needed",
      [`Bearer realm="${REALM}",service=r,scope="repository:a/b:pull,push"`],
    ],
    [
      "behind Basic",
      [`Basic realm="x, Bearer y", Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push"`],
    ],
    [
      "before Basic",
      [`Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push", Basic realm="x"`],
    ],
    [
      "behind Basic, in a header of its own",
      ['Basic realm="x"', `Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push"`],
    ],
    [
      "behind a scheme without parameters",
      [`Negotiate, Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push"`],
    ],
    [
      "behind a scheme with its own encoding",
      [`NTLM TlRMTVNTUAAB==, Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push"`],
    ],
    [
      "with an error",
      [`Bearer realm="${REALM}",service="r",scope="repository:a/b:pull,push",error="invalid_token"`],
    ],
    [
      "with escapes",
      [`Bearer realm="${REALM.replace("t", "\\t")}",service="\\r",scope="repository:a/b:pull,push"`],
    ],
  ])("reads a challenge %s", (_, values) => {
    expect(read(...values)).toEqual({ realm: REALM, service: "r", scopes: ["repository:a/b:pull,push"] });
  });

  test("reads several scopes, and none", () => {
    expect(
      read(`Bearer realm="${REALM}",scope="repository:a:pull repository:b:c:pull,push"`)?.scopes,
    ).toEqual(["repository:a:pull", "repository:b:c:pull,push"]);
    expect(read(`Bearer realm="${REALM}"`)).toEqual({ realm: REALM, service: undefined, scopes: [] });
    expect(read(`Bearer realm="${REALM}",scope=""`)?.scopes).toEqual([]);
  });

  test("takes the first of two parameters", () => {
    expect(
      read(`Bearer realm="${REALM}",service="r",realm="https://evil.example",Service="s"`),
    ).toMatchObject({
      realm: REALM,
      service: "r",
    });
  });

  test("reads a quote and a comma inside of quotes", () => {
    expect(read(`Bearer realm="${REALM}",service="a \\"b\\", realm=c\\\\"`)?.service).toBe(
      'a "b", realm=c\\',
    );
  });

  test.each([
    "",
    ",",
    "Basic",
    'Basic realm="Bearer"',
    'Basic realm="x",Bearer',
    "Bearer",
    "Bearer service=r",
    'Bearer realm=""',
    'Bearer realm="https://never.ends',
    'realm="https://auth.example/token"',
    "\"'<>;",
    `Bearers realm="${REALM}"`,
    `${"x ".repeat(20_000)}`,
    `Bearer ${"\\".repeat(20_000)}`,
    `Bearer realm="${'\\"'.repeat(20_000)}`,
  ])("finds none in %j", (value) => {
    expect(read(value)).toBeUndefined();
  });

  test("finds none without the header", () => {
    expect(read()).toBeUndefined();
  });
});
