import { describe, expect, test } from "bun:test";
import { PushError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import {
  apiHost,
  formatPinned,
  formatReference,
  parseReference,
  tagOrDigest,
} from "../../src/oci/reference.ts";

const DIGEST = digestOf("an image");

describe("parseReference", () => {
  const valid: [
    text: string,
    host: string,
    repository: string,
    tag: string,
    scheme: "http" | "https" | undefined,
  ][] = [
    ["registry.example.com/app", "registry.example.com", "app", "latest", undefined],
    ["registry.example.com/app:v1", "registry.example.com", "app", "v1", undefined],
    ["registry.example.com/a/b/c/d:v1", "registry.example.com", "a/b/c/d", "v1", undefined],
    ["registry.example.com:5000/app:v1", "registry.example.com:5000", "app", "v1", undefined],
    ["https://registry.example.com/app:v1", "registry.example.com", "app", "v1", "https"],
    ["http://registry.lan:8080/my/app", "registry.lan:8080", "my/app", "latest", "http"],
    // Behind a scheme, a name without a dot can only be a host.
    ["http://registry/app", "registry", "app", "latest", "http"],
    ["localhost/app", "localhost", "app", "latest", undefined],
    ["LocalHost:8787/app", "localhost:8787", "app", "latest", undefined],
    ["Registry.Example.COM/app", "registry.example.com", "app", "latest", undefined],
    ["127.0.0.1:8787/app", "127.0.0.1:8787", "app", "latest", undefined],
    ["[::1]/app", "[::1]", "app", "latest", undefined],
    ["[::1]:5000/my/app:v1", "[::1]:5000", "my/app", "v1", undefined],
    ["[2001:DB8::1]:5000/app", "[2001:db8::1]:5000", "app", "latest", undefined],
    ["[::ffff:127.0.0.1]/app", "[::ffff:127.0.0.1]", "app", "latest", undefined],
    ["xn--bcher-kva.example/app", "xn--bcher-kva.example", "app", "latest", undefined],
    ["r.example.com:1/app", "r.example.com:1", "app", "latest", undefined],
    ["r.example.com:65535/app", "r.example.com:65535", "app", "latest", undefined],
    ["r.example.com/a.b_c__d-e--f/0:v1", "r.example.com", "a.b_c__d-e--f/0", "v1", undefined],
    ["r.example.com/app:V1.0_rc-2", "r.example.com", "app", "V1.0_rc-2", undefined],
    ["r.example.com/app:_", "r.example.com", "app", "_", undefined],
    // Docker Hub's own images have a folder, and its host an old name.
    ["docker.io/me/app:v1", "docker.io", "me/app", "v1", undefined],
    ["docker.io/app:v1", "docker.io", "library/app", "v1", undefined],
    ["Index.Docker.io/app", "docker.io", "library/app", "latest", undefined],
    ["docker.io.example/app", "docker.io.example", "app", "latest", undefined],
    // A number behind the colon is a tag, and no port, once the host has ended.
    ["r.example.com/app:5000", "r.example.com", "app", "5000", undefined],
    [`r.example.com/app:${"t".repeat(128)}`, "r.example.com", "app", "t".repeat(128), undefined],
    [`r.example.com/${"a".repeat(255)}`, "r.example.com", "a".repeat(255), "latest", undefined],
    [`r.example.com/${"a/".repeat(127)}a`, "r.example.com", `${"a/".repeat(127)}a`, "latest", undefined],
  ];
  test.each(valid)("takes %s", (text, host, repository, tag, scheme) => {
    expect(parseReference(text)).toEqual({ scheme, host, repository, tag });
  });

  test("takes a digest in place of the tag, or behind it", () => {
    const place = { scheme: undefined, host: "r.example.com:5000", repository: "my/app" };
    for (const tag of [undefined, "v1"]) {
      const text = `r.example.com:5000/my/app${tag === undefined ? "" : `:${tag}`}@${DIGEST}`;
      const reference = parseReference(text);
      expect(reference).toStrictEqual({ ...place, tag, digest: DIGEST } as typeof reference);
      expect(formatPinned(reference)).toBe(text);
      expect(formatReference(reference)).toBe(text.replace(`@${DIGEST}`, ""));
      expect(tagOrDigest(reference)).toBe(tag ?? DIGEST);
    }
  });

  test("takes what formatReference wrote, which has no scheme and always a tag", () => {
    expect(formatReference(parseReference("https://R.example.com:5000/my/app"))).toBe(
      "r.example.com:5000/my/app:latest",
    );
    for (const [, host, repository, tag] of valid) {
      const written = formatReference({ scheme: "http", host, repository, tag });
      expect(parseReference(`http://${written}`)).toEqual({ scheme: "http", host, repository, tag });
    }
  });
});

test("Docker Hub answers under another name than it goes by", () => {
  expect(apiHost(parseReference("docker.io/me/app"))).toBe("registry-1.docker.io");
  expect(apiHost(parseReference("registry.example.com:5000/me/app"))).toBe("registry.example.com:5000");
});

describe("parseReference", () => {
  const invalid: [text: string, message: RegExp, hint: RegExp][] = [
    ["", /has no registry host/, /registry\.example\.com/],
    ["app", /has no registry host/, /registry\.example\.com/],
    ["app:v1", /has no registry host/, /registry\.example\.com/],
    ["my/app:v1", /has no registry host/, /registry\.example\.com/],
    ["localhost", /has no registry host/, /registry\.example\.com/],
    ["localhost:5000", /has no registry host/, /registry\.example\.com/],
    ["registry.example.com", /has no registry host/, /registry\.example\.com/],
    ["/my/app:v1", /has no registry host/, /registry\.example\.com/],
    ["https://", /has no registry host/, /registry\.example\.com/],
    ["https:///app", /has no registry host/, /registry\.example\.com/],

    ["registry.example.com/", /has no repository/, /my\/app/],
    ["registry.example.com/:v1", /has no repository/, /my\/app/],

    ["ftp://registry.example.com/app", /unknown scheme/, /https:\/\//],
    ["docker://registry.example.com/app", /unknown scheme/, /https:\/\//],

    ["r.example.com:0/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com:65536/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com:/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com:port/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com:-1/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com:1:2/app", /not a valid host name/, /registry\.example\.com/],
    ["-r.example.com/app", /not a valid host name/, /registry\.example\.com/],
    ["r-.example.com/app", /not a valid host name/, /registry\.example\.com/],
    ["r..example.com/app", /not a valid host name/, /registry\.example\.com/],
    [".example.com/app", /not a valid host name/, /registry\.example\.com/],
    ["../app", /not a valid host name/, /registry\.example\.com/],
    ["./app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com?x=1/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com#x/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com\\evil/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com%2fevil/app", /not a valid host name/, /registry\.example\.com/],
    ["256.1.1.1/app", /not a valid host name/, /registry\.example\.com/],
    ["[::1/app", /not a valid host name/, /registry\.example\.com/],
    ["::1/app", /not a valid host name/, /registry\.example\.com/],
    ["[::g]/app", /not a valid host name/, /registry\.example\.com/],
    ["[]/app", /has no registry host|not a valid host name/, /registry\.example\.com/],
    ["[::1]evil.com/app", /not a valid host name/, /registry\.example\.com/],
    ["[::1]:/app", /not a valid host name/, /registry\.example\.com/],
    ["[fe80::1%25eth0]/app", /not a valid host name/, /registry\.example\.com/],
    [" r.example.com/app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com /app", /not a valid host name/, /registry\.example\.com/],
    ["r.example.com\n/app", /not a valid host name/, /registry\.example\.com/],
    ["r.exa\0mple.com/app", /not a valid host name/, /registry\.example\.com/],

    ["r.example.com/my app", /repository "my app"/, /lower-case letters and digits/],
    ["r.example.com/app ", /repository "app "/, /lower-case letters and digits/],
    ["r.example.com/app\n", /repository/, /lower-case letters and digits/],
    ["r.example.com/a\tb", /repository/, /lower-case letters and digits/],
    ["r.example.com/a\0b", /repository/, /lower-case letters and digits/],
    ["r.example.com//app", /repository/, /lower-case letters and digits/],
    ["r.example.com/app/", /repository/, /lower-case letters and digits/],
    ["r.example.com/a//b", /repository/, /lower-case letters and digits/],
    ["r.example.com/a/../b", /repository/, /lower-case letters and digits/],
    ["r.example.com/..", /repository/, /lower-case letters and digits/],
    ["r.example.com/.hidden", /repository/, /lower-case letters and digits/],
    ["r.example.com/-app", /repository/, /lower-case letters and digits/],
    ["r.example.com/app-", /repository/, /lower-case letters and digits/],
    ["r.example.com/a..b", /repository/, /lower-case letters and digits/],
    ["r.example.com/a___b", /repository/, /lower-case letters and digits/],
    ["r.example.com/a._b", /repository/, /lower-case letters and digits/],
    ["r.example.com/äpp", /repository/, /lower-case letters and digits/],
    ["r.example.com/app?x=1", /repository/, /lower-case letters and digits/],
    ["r.example.com/app#x", /repository/, /lower-case letters and digits/],
    ["r.example.com/app%2e", /repository/, /lower-case letters and digits/],
    ["r.example.com/a:b:c", /repository "a:b"/, /lower-case letters and digits/],
    [`r.example.com/${"a".repeat(5000)}!`, /repository/, /lower-case letters and digits|255/],

    ["r.example.com/app:", /tag ""/, /1 to 128/],
    ["r.example.com/app:.v1", /tag "\.v1"/, /1 to 128/],
    ["r.example.com/app:-v1", /tag "-v1"/, /1 to 128/],
    ["r.example.com/app:v 1", /tag "v 1"/, /1 to 128/],
    ["r.example.com/app:v1\n", /tag/, /1 to 128/],
    ["r.example.com/app:v+1", /tag/, /1 to 128/],
    ["r.example.com/app:v1?x=1", /tag/, /1 to 128/],
    ["r.example.com/a:v1/b", /tag "v1\/b"/, /1 to 128/],
    [`r.example.com/app:${"t".repeat(129)}`, /tag/, /1 to 128/],

    ["r.example.com/app@sha256:", /digest "sha256:"/, /64 lower-case hex digits/],
    [`r.example.com/app:v1@sha256:${"0".repeat(63)}`, /digest "sha256:0+"/, /64 lower-case hex digits/],
    [`r.example.com/app@sha256:${"A".repeat(64)}`, /digest "sha256:A+"/, /64 lower-case hex digits/],
    [`r.example.com/app@sha512:${"0".repeat(128)}`, /digest "sha512:0+"/, /64 lower-case hex digits/],
    [`r.example.com/app:@${DIGEST}`, /tag ""/, /1 to 128/],
    [`r.example.com/@${DIGEST}`, /has no repository/, /my\/app/],
  ];
  test.each(invalid)("refuses %j", (text, message, hint) => {
    const error = refusalOf(text);
    expect(error.code).toBe("REFERENCE_INVALID");
    expect(error.message).toMatch(message);
    expect(error.hint).toMatch(hint);
  });

  const upperCase: [text: string, suggestion: string][] = [
    ["r.example.com/App:V1", "r.example.com/app:V1"],
    ["r.example.com/my/App", "r.example.com/my/app"],
    ["https://r.example.com:5000/A/B", "https://r.example.com:5000/a/b"],
    ["r.example.com/A:A", "r.example.com/a:A"],
    // The repository's name may stand in the host, too.
    ["MyApp.example.com/MyApp:v1", "MyApp.example.com/myapp:v1"],
    ["https://R.example.com/R", "https://R.example.com/r"],
  ];
  test.each(upperCase)("refuses upper case, and says what to write: %s", (text, suggestion) => {
    const error = refusalOf(text);
    expect(error.code).toBe("REFERENCE_INVALID");
    expect(error.message).toContain("upper-case");
    expect(error.hint).toContain(`"${suggestion}"`);
    expect(parseReference(suggestion).repository).not.toMatch(/[A-Z]/);
  });

  test("refuses a repository over 255 characters, and says that it is the length", () => {
    const error = refusalOf(`r.example.com/${"a".repeat(256)}`);
    expect(error.code).toBe("REFERENCE_INVALID");
    expect(`${error.message} ${error.hint}`).toContain("255");
    expect(error.hint).not.toContain("lower case only");
  });

  const withPassword = [
    "https://user:s3cret@r.example.com/app",
    "http://user:s3cret@r.example.com/app:v1",
    "user:s3cret@r.example.com/app",
    "https://s3cret@r.example.com/app",
    "https://user:s3cret@",
    "https://user:s3cret@r.example.com",
    "https://user:a@s3cret@r.example.com/app",
    // A slash in the password, which ought to have been written as %2F.
    "https://user:s3/cret@r.example.com/app",
    "https://user:/s3cret@r.example.com/app",
    "user:12/s3cret@r.example.com/app",
    // Other schemes, and none.
    "ftp://user:s3cret@r.example.com/app",
    "HTTPS://user:s3cret@r.example.com/app",
    "https:///user:s3cret@r.example.com/app",
    "//user:s3cret@r.example.com/app",
  ];
  test.each(withPassword)("refuses credentials, without repeating them: %s", (text) => {
    const error = refusalOf(text);
    expect(error.code).toBe("REFERENCE_INVALID");
    expect(error.hint).toBeString();
    expect(`${error.message} ${error.hint} ${error.cause ?? ""}`).not.toMatch(/s3|cret/);
  });
});

function refusalOf(text: string): PushError {
  try {
    parseReference(text);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error(`"${text}" was taken for a reference.`);
}
