import { describe, expect, test } from "bun:test";
import { join } from "node:path";
import packageJson from "../../package.json" with { type: "json" };
import { parseCacheCommand } from "../../src/cli/cache-command.ts";
import { type PushCommand, parsePush } from "../../src/cli/invocation.ts";
import { LOGIN } from "../../src/cli/login-command.ts";
import { parseArguments } from "../../src/cli/parse-arguments.ts";
import { type ErrorCode, exitCodeOf, PushError } from "../../src/errors.ts";
import { digestOf } from "../../src/oci/digest.ts";
import { formatPinned } from "../../src/oci/reference.ts";
import { environmentNames } from "./environment-names.ts";

const TARGET = "registry.example.com/my/app:v1";

function parse(args: readonly string[], env: Record<string, string> = {}): PushCommand {
  const command = parsePush(args, env);
  if (typeof command === "string") throw new Error(`expected a push, not: ${command}`);
  return command;
}

function refusal(
  args: readonly string[],
  env: Record<string, string> = {},
  read: (args: readonly string[], env: Record<string, string>) => unknown = parse,
): PushError {
  try {
    read(args, env);
  } catch (error) {
    if (error instanceof PushError) return error;
    throw error;
  }
  throw new Error(`${args.join(" ")} was taken`);
}

/** The source, and the targets behind it. */
function sourceAndTargets(args: readonly string[]) {
  const { source, targets } = parse(args);
  return [source, ...targets.map(formatPinned)];
}

describe("The arguments of a push", () => {
  test("are the target if there is one, and all settings have their documented defaults", () => {
    expect(parse([TARGET])).toEqual({
      source: undefined,
      targets: [{ scheme: undefined, host: "registry.example.com", repository: "my/app", tag: "v1" }],
      image: undefined,
      platforms: [],
      allPlatforms: false,
      dryRun: false,
      progress: "auto",
      runtime: undefined,
      forceCompression: false,
      username: undefined,
      password: undefined,
      passwordIn: "REGISTRY_JWT_TOKEN",
      passwordStdin: false,
      credentialCommand: undefined,
      authFile: undefined,
      skipAuth: false,
      headers: {},
      insecure: false,
      parallel: 3,
      retries: 8,
      chunkBytes: undefined,
      compression: { kind: "gzip", level: 1 },
      stallTimeoutMs: 60_000,
      allowOversize: false,
      debug: false,
      digestFile: undefined,
      cacheFrom: [],
      caFiles: [],
      clientCertificate: undefined,
      skipVerify: false,
      cacheDirectory: ".cache",
    });
  });

  test("are source and target if there are two, in that order, with flags at any place", () => {
    for (const args of [
      ["image.tar", TARGET],
      ["--retries", "1", "image.tar", TARGET],
      ["image.tar", "--insecure", TARGET],
      ["image.tar", TARGET, "--retries=1"],
      ["--", "image.tar", TARGET],
    ]) {
      expect(sourceAndTargets(args)).toEqual(["image.tar", TARGET]);
    }
  });

  test("are refused with an example if there are none", () => {
    for (const args of [[], ["--insecure"], ["--username", "me"]]) {
      const error = refusal(args);
      expect([error.code, exitCodeOf(error)]).toEqual(["USAGE", 2]);
      expect(error.message).toContain("target");
      expect(error.hint).toContain("chunkpush ");
    }
  });

  test("are refused if there are three", () => {
    const error = refusal(["a", TARGET, "b"]);
    expect([error.code, error.message]).toEqual([
      "USAGE",
      expect.stringContaining("more arguments than a source and a target"),
    ]);
    expect(error.hint).toContain("--tag");
  });

  test("are refused as wrong usage if the target is invalid", () => {
    for (const args of [["my/app:v1"], ["image.tar", "my/app"], ["my/app", "image.tar/x/"]]) {
      const error = refusal(args);
      expect([error.code, exitCodeOf(error)]).toEqual(["REFERENCE_INVALID", 2]);
    }
  });

  test("are refused with a hint at an unset variable if the source is empty", () => {
    const error = refusal(["", TARGET]);
    expect(error.code).toBe("USAGE");
  });

  test("are refused with a hint at an unset variable if the target is empty", () => {
    for (const args of [[""], ["image.tar", ""]]) expect(exitCodeOf(refusal(args))).toBe(2);
  });
});

describe("With --tag, the only argument is the source:", () => {
  const OTHER = "ghcr.io/my/app:v1";
  const DIGEST = digestOf("an image");

  test.each<[args: string[], expected: (string | undefined)[]]>([
    [
      ["-t", TARGET],
      [undefined, TARGET],
    ],
    [
      ["-t", TARGET, "image.tar"],
      ["image.tar", TARGET],
    ],
    [
      ["image.tar", "--tag", TARGET, `--tag=${OTHER}`],
      ["image.tar", TARGET, OTHER],
    ],
    [
      ["-t", TARGET, "image.tar", "-t", OTHER],
      ["image.tar", TARGET, OTHER],
    ],
    [
      ["-t", "registry.example.com/my/app"],
      [undefined, "registry.example.com/my/app:latest"],
    ],
    [
      ["-t", `${TARGET}@${DIGEST}`, "-t", TARGET],
      [undefined, `${TARGET}@${DIGEST}`, TARGET],
    ],
  ])("%j", (args, expected) => {
    expect(sourceAndTargets(args)).toEqual(expected as string[]);
  });

  test.each<[args: string[], code: ErrorCode, words: string]>([
    [["-t", TARGET, "image.tar", OTHER], "USAGE", "source"],
    [["-t", TARGET, "-t", TARGET], "USAGE", TARGET],
    [
      ["-t", "docker.io/alpine", "-t", "index.docker.io/library/alpine:latest"],
      "USAGE",
      "docker.io/library/alpine",
    ],
    [
      ["-t", TARGET, "-t", `https://${OTHER.replace("ghcr.io", "registry.example.com")}x`],
      "USAGE",
      "registry.example.com",
    ],
    [["-t", ""], "REFERENCE_INVALID", "target is empty"],
    [["-t", "my/app:v1"], "REFERENCE_INVALID", "registry host"],
    [["-t", TARGET, ""], "USAGE", "source is empty"],
    [["-t"], "USAGE", "--tag"],
  ])("%j is refused", (args, code, words) => {
    const error = refusal(args);
    expect([error.code, exitCodeOf(error), error.message]).toEqual([code, 2, expect.stringContaining(words)]);
  });
});

describe("The choice of an image in a source", () => {
  test("is made by --image", () => {
    expect(parse(["--image", "my/app:v1", TARGET]).image).toBe("my/app:v1");
    expect(refusal(["--image", "", TARGET]).message).toContain("--image is empty");
  });

  test.each<[flags: string[], platforms: string[]]>([
    [["--platform", "linux/arm64"], ["linux/arm64"]],
    [
      ["--platform", "linux/arm64", "--platform=linux/amd64"],
      ["linux/arm64", "linux/amd64"],
    ],
    [
      ["--platform", "linux/amd64,linux/arm64/v8,arm"],
      ["linux/amd64", "linux/arm64", "linux/arm/v7"],
    ],
    [
      ["--platform", "linux/amd64, linux/arm64"],
      ["linux/amd64", "linux/arm64"],
    ],
    [["--platform", "aarch64", "--platform", "linux/arm64/v8"], ["linux/arm64"]],
  ])("is made for %j by the platforms %j", (flags, platforms) => {
    expect(parse([...flags, TARGET])).toMatchObject({ platforms, allPlatforms: false });
  });

  test("is all platforms with --all-platforms", () => {
    expect(parse(["--all-platforms", TARGET])).toMatchObject({ platforms: [], allPlatforms: true });
  });

  test.each(["docker", "podman", "nerdctl"])(
    "is limited to an engine if --runtime or CHUNKPUSH_RUNTIME is %s",
    (runtime) => {
      expect(parse(["--runtime", runtime, TARGET]).runtime).toBe(runtime as PushCommand["runtime"]);
      expect(parse([TARGET], { CHUNKPUSH_RUNTIME: runtime }).runtime).toBe(runtime as PushCommand["runtime"]);
      expect(parse(["--runtime", runtime, TARGET], { CHUNKPUSH_RUNTIME: "nonsense" }).runtime).toBeString();
    },
  );

  test("keeps --force-compression", () => {
    expect(parse(["--force-compression", TARGET]).forceCompression).toBe(true);
  });

  test.each<[flags: string[], env: Record<string, string>, words: string]>([
    [["--platform", ""], {}, "platform"],
    [["--platform", "linux/amd64,"], {}, "platform"],
    [["--platform", "linux"], {}, '"linux" is not a platform'],
    [["--all-platforms", "--platform", "linux/amd64"], {}, "--all-platforms"],
    [["--runtime", "rkt"], {}, '--runtime: invalid value "rkt"'],
    [[], { CHUNKPUSH_RUNTIME: "Docker" }, 'CHUNKPUSH_RUNTIME: invalid value "Docker"'],
    [["--force-compression", "--compression", "none"], {}, "--force-compression"],
  ])("refuses %j with %j", (flags, env, words) => {
    const error = refusal([...flags, TARGET], env);
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining(words)]);
    expect(error.hint).toBeString();
  });
});

test("--cache-from refuses a digest: its images are trusted by their tags", () => {
  const digest = digestOf("an image");
  for (const name of [`registry.example.com/my/app@${digest}`, `registry.example.com/my/app:v1@${digest}`])
    expect(refusal(["--cache-from", name, TARGET]).message).toContain("--cache-from names a digest");
});

describe("A flag overrides its variable:", () => {
  type Case = [
    flag: string[],
    env: Record<string, string>,
    field: keyof PushCommand,
    value: string | number | boolean,
  ];
  const cases: Case[] = [
    [[], { USERNAME_REGISTRY: "env" }, "username", "env"],
    [["--username", "flag"], { USERNAME_REGISTRY: "env" }, "username", "flag"],
    [["-u", "flag"], {}, "username", "flag"],
    [["-uflag"], {}, "username", "flag"],
    [[], { REGISTRY_JWT_TOKEN: "t" }, "password", "t"],
    [[], { INSECURE_HTTP_PUSH: "true" }, "insecure", true],
    [["--insecure"], { INSECURE_HTTP_PUSH: "false" }, "insecure", true],
    [["--plain-http"], { INSECURE_HTTP_PUSH: "false" }, "insecure", true],
    // As skopeo's and podman's, but without falling back to plain HTTP.
    [["--tls-verify=false"], {}, "skipVerify", true],
    [["--dest-tls-verify=false"], {}, "skipVerify", true],
    [["--dest-tls-verify=false"], {}, "insecure", false],
    [["--tls-verify=true"], {}, "skipVerify", false],
    [["--insecure-skip-verify"], {}, "skipVerify", true],
    [["-j", "2"], { MAX_PARALLEL_LAYERS: "7" }, "parallel", 2],
    [["-j2"], {}, "parallel", 2],
    [[], { MAX_PARALLEL_LAYERS: "7" }, "parallel", 7],
    [["--parallel", "2"], { MAX_PARALLEL_LAYERS: "7" }, "parallel", 2],
    [["--parallel=2"], { MAX_PARALLEL_LAYERS: "nonsense" }, "parallel", 2],
    [[], { MAX_RETRIES: "9" }, "retries", 9],
    [["--retries", "0"], { MAX_RETRIES: "9" }, "retries", 0],
    [[], { CHUNKPUSH_CHUNK_SIZE: "5MB" }, "chunkBytes", 5_000_000],
    [["--chunk-size", "6MB"], { CHUNKPUSH_CHUNK_SIZE: "5MB" }, "chunkBytes", 6_000_000],
    [["--chunk-size=6MB"], { CHUNKPUSH_CHUNK_SIZE: "nonsense" }, "chunkBytes", 6_000_000],
    [[], { CHUNKPUSH_CACHE_DIR: "/env" }, "cacheDirectory", "/env"],
    [["--cache-dir", "/flag"], { CHUNKPUSH_CACHE_DIR: "/env" }, "cacheDirectory", "/flag"],
    [["-u", "me", "--password-stdin"], { REGISTRY_JWT_TOKEN: "t" }, "passwordStdin", true],
    [[], { CHUNKPUSH_CREDENTIAL_COMMAND: "env" }, "credentialCommand", "env"],
    [["--credential-command", "flag"], { CHUNKPUSH_CREDENTIAL_COMMAND: "env" }, "credentialCommand", "flag"],
    [[], { SKIP_AUTH: "1" }, "skipAuth", true],
    [[], { SKIP_AUTH: "false" }, "skipAuth", true],
    // The last of equal flags.
    [["--parallel", "2", "--parallel", "4"], {}, "parallel", 4],
  ];
  test.each(cases)("%j with %j: %s is %p", (flags, env, field, value) => {
    expect(parse([...flags, TARGET], env)[field]).toBe(value);
  });

  test.each(["true", "TRUE", "True", "1", "yes"])("INSECURE_HTTP_PUSH=%s", (value) => {
    expect(parse([TARGET], { INSECURE_HTTP_PUSH: value }).insecure).toBe(true);
  });

  test.each(["", "false", "0", "no", "off", "truee", "2"])("INSECURE_HTTP_PUSH=%j is not a yes", (value) => {
    expect(parse([TARGET], { INSECURE_HTTP_PUSH: value }).insecure).toBe(false);
  });

  test("an empty variable counts as unset", async () => {
    const names = await environmentNames();
    const empty = Object.fromEntries(names.map((name) => [name, ""]));
    expect(parse([TARGET], empty)).toEqual(parse([TARGET]));
  });

  test.each(["--username", "--credential-command", "--cache-dir"])("an empty %s is refused", (flag) => {
    const error = refusal([flag, "", TARGET]);
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining(flag)]);
  });
});

describe("The user and the password of a push:", () => {
  test("a token without a user has the user v0, which serverless-registry expects", () => {
    const { username, password } = parse([TARGET], { REGISTRY_JWT_TOKEN: "s3cret" });
    expect([username, password]).toEqual(["v0", "s3cret"]);
  });

  test("a token with a user has that user", () => {
    const env = { REGISTRY_JWT_TOKEN: "s3cret", USERNAME_REGISTRY: "me" };
    expect(parse([TARGET], env).username).toBe("me");
    expect(parse(["-u", "flag", TARGET], env).username).toBe("flag");
  });

  test("a colon in the user name is refused, from a flag or a variable", () => {
    for (const error of [
      refusal(["--username", "me:s3cret", TARGET]),
      refusal([TARGET], { USERNAME_REGISTRY: "me:s3cret" }),
    ]) {
      expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining("colon")]);
      expect(`${error.message} ${error.hint}`).not.toContain("s3cret");
    }
  });

  test("--password-stdin requires a user", () => {
    const error = refusal(["--password-stdin", TARGET]);
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining("--password-stdin")]);
    expect(error.hint).toContain("USERNAME_REGISTRY");
    expect(parse(["--password-stdin", TARGET], { USERNAME_REGISTRY: "me" }).passwordStdin).toBe(true);
  });

  test("the password of a credential command without a user has the user v0", () => {
    const flags = ["--credential-command", "print-token"];
    expect(parse([...flags, TARGET]).username).toBe("v0");
    expect(parse([...flags, "-u", "me", TARGET]).username).toBe("me");
    // --password-stdin counts whatever else is set.
    const env = { CHUNKPUSH_CREDENTIAL_COMMAND: "print-token" };
    expect(parse(["-u", "me", "--password-stdin", TARGET], env).credentialCommand).toBeUndefined();
  });

  test("standard input and a command for the password are refused together", () => {
    const error = refusal(["-u", "me", "--password-stdin", "--credential-command", "print-token", TARGET]);
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining("--credential-command")]);
  });

  test("a flag for a password is refused: it would be visible in the list of processes", () => {
    for (const flag of ["--password", "--password=s3cret", "-p", "--token", "--registry-jwt-token"]) {
      const error = refusal([flag, "x", TARGET]);
      expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining("Unknown flag")]);
    }
  });
});

describe("The compression of a push", () => {
  const KIND = "CHUNKPUSH_COMPRESSION";
  const LEVEL = "CHUNKPUSH_COMPRESSION_LEVEL";
  type Case = [flags: string[], env: Record<string, string>, PushCommand["compression"]];
  const cases: Case[] = [
    [["--compression", "gzip"], {}, { kind: "gzip", level: 1 }],
    [["--compression", "zstd"], {}, { kind: "zstd", level: 2 }],
    [["--compression", "none"], {}, { kind: "none" }],
    [["--compression-level", "12"], {}, { kind: "gzip", level: 12 }],
    [["--compression=zstd", "--compression-level=19"], {}, { kind: "zstd", level: 19 }],
    [[], { [KIND]: "zstd", [LEVEL]: "3" }, { kind: "zstd", level: 3 }],
    [["--compression", "gzip"], { [KIND]: "zstd", [LEVEL]: "3" }, { kind: "gzip", level: 3 }],
    [["--compression", "none"], { [KIND]: "nonsense", [LEVEL]: "" }, { kind: "none" }],
  ];
  test.each(cases)("is read from %j with %j", (flags, env, compression) => {
    expect(parse([...flags, TARGET], env).compression).toEqual(compression);
  });

  const refused: [flags: string[], env: Record<string, string>, message: string][] = [
    [["--compression", "xz"], {}, '--compression: invalid value "xz" (expected gzip, zstd or none).'],
    [[], { [KIND]: "GZIP" }, `${KIND}: invalid value "GZIP" (expected gzip, zstd or none).`],
    [
      ["--compression-level", "0"],
      {},
      '--compression-level: invalid value "0" (expected a number from 1 to 12 for gzip).',
    ],
    [
      ["--compression-level", "13"],
      {},
      '--compression-level: invalid value "13" (expected a number from 1 to 12 for gzip).',
    ],
    [
      ["--compression", "zstd", "--compression-level", "20"],
      {},
      '--compression-level: invalid value "20" (expected a number from 1 to 19 for zstd).',
    ],
    [
      [],
      { [KIND]: "zstd", [LEVEL]: "fast" },
      `${LEVEL}: invalid value "fast" (expected a number from 1 to 19 for zstd).`,
    ],
    [
      ["--compression", "none"],
      { [LEVEL]: "1" },
      `${LEVEL} is "1", but without compression there is no level.`,
    ],
  ];
  test.each(refused)("is refused for %j with %j", (flags, env, message) => {
    const error = refusal([...flags, TARGET], env);
    expect([error.code, error.message]).toEqual(["USAGE", message]);
  });

  test("is refused if an argument is empty", () => {
    expect(refusal(["--compression=", TARGET]).code).toBe("USAGE");
    expect(refusal(["--compression-level=", TARGET]).code).toBe("USAGE");
  });
});

describe("Numbers of a push:", () => {
  const names = [
    ["--parallel", "MAX_PARALLEL_LAYERS", "parallel", 1],
    ["--retries", "MAX_RETRIES", "retries", 0],
  ] as const;
  test.each(names)(
    "%s and %s accept whole numbers in their range, and nothing else",
    (flag, variable, field, min) => {
      for (const good of [min, 1, 2, 100]) {
        expect(parse([flag, String(good), TARGET])[field]).toBe(good);
        expect(parse([TARGET], { [variable]: String(good) })[field]).toBe(good);
      }
      const bad = [
        String(min - 1),
        "-1",
        "101",
        "99999999999",
        "1.5",
        "1e1",
        "0x1",
        "three",
        "1 ",
        " 1",
        "NaN",
        "Infinity",
        "١",
      ];
      for (const text of bad) {
        for (const [error, name] of [
          [refusal([`${flag}=${text}`, TARGET]), flag],
          [refusal([TARGET], { [variable]: text }), variable],
        ] as const) {
          expect([error.code, error.message]).toEqual([
            "USAGE",
            `${name}: invalid value "${text}" (expected a number from ${min} to 100).`,
          ]);
        }
      }
      expect(refusal([`${flag}=`, TARGET]).code).toBe("USAGE");
      expect(refusal([TARGET, flag]).code).toBe("USAGE");
    },
  );
});

describe("Sizes of a push:", () => {
  const good: [text: string, bytes: number][] = [
    ["1", 1],
    ["52428800", 52_428_800],
    ["50B", 50],
    ["50b", 50],
    ["5k", 5000],
    ["5K", 5000],
    ["5kB", 5000],
    ["5KB", 5000],
    ["5KiB", 5120],
    ["5kib", 5120],
    ["50m", 50_000_000],
    ["50M", 50_000_000],
    ["50MB", 50_000_000],
    ["50mb", 50_000_000],
    ["50 MB", 50_000_000],
    ["64MiB", 67_108_864],
    ["1.5MB", 1_500_000],
    ["0.5KiB", 512],
    ["1.0001kB", 1000],
    ["2G", 2_000_000_000],
    ["1GB", 1_000_000_000],
    ["1GiB", 1_073_741_824],
    ["9007199254740991".slice(0, 15), 900_719_925_474_099],
  ];
  test.each(good)("%s means %d bytes", (text, bytes) => {
    const command = parseCacheCommand(["prune", `--max-size=${text}`], {});
    expect(command).toMatchObject({ prune: { maxBytes: bytes } });
  });

  test("a chunk below 64 KiB is refused: a unit is probably missing", () => {
    for (const [text, bytes] of [
      ["64KiB", 65_536],
      ["50MB", 50_000_000],
      ["52428800", 52_428_800],
    ] as const) {
      expect(parse(["--chunk-size", text, TARGET]).chunkBytes).toBe(bytes);
      expect(parse([TARGET], { CHUNKPUSH_CHUNK_SIZE: text }).chunkBytes).toBe(bytes);
    }
    for (const [text, hint] of [
      ["50", "Did you mean 50MB?"],
      ["1.5", "Did you mean 1.5MB?"],
      ["65535", "50MB"],
      ["5k", "50MB"],
      ["63KiB", "50MB"],
    ] as const) {
      for (const error of [
        refusal(["--chunk-size", text, TARGET]),
        refusal([TARGET], { CHUNKPUSH_CHUNK_SIZE: text }),
      ])
        expect([error.code, error.hint]).toEqual(["USAGE", expect.stringContaining(hint)]);
    }
  });

  const bad = [
    "0",
    "0MB",
    "0.4",
    "-1",
    "-5MB",
    "+5MB",
    "MB",
    "5 0MB",
    "5..0MB",
    "5.MB",
    ".5MB",
    "1,5MB",
    "5e6",
    "0x10",
    "5TB",
    "5Mib ",
    "5iB",
    "5MiBs",
    "5 megabytes",
    "NaN",
    "Infinity",
    "999999999999999GB",
    "1".repeat(400),
    "5constructor",
    "5toString",
    "5__proto__",
  ];
  test.each(bad)("%j is refused", (text) => {
    for (const [error, name] of [
      [refusal([`--chunk-size=${text}`, TARGET]), "--chunk-size"],
      [refusal([TARGET], { CHUNKPUSH_CHUNK_SIZE: text }), "CHUNKPUSH_CHUNK_SIZE"],
    ] as const) {
      expect(error.code).toBe("USAGE");
      expect(error.message).toStartWith(`${name}: invalid value "${text}" (expected a size`);
    }
  });
});

describe("The command cache", () => {
  const read = (args: readonly string[], env: Record<string, string> = {}) => parseCacheCommand(args, env);
  const rules = { all: false, olderThanMs: undefined, maxBytes: undefined, dryRun: false };

  test("shows the cache of a folder if it has no arguments", () => {
    const shows = (directory: string) => ({ directory, prune: undefined });
    expect(read([])).toEqual(shows(".cache"));
    expect(read([], { CHUNKPUSH_CACHE_DIR: "/env" })).toEqual(shows("/env"));
    expect(read([], { CHUNKPUSH_CACHE_DIR: "" })).toEqual(shows(".cache"));
    expect(read(["--cache-dir", "/flag"], { CHUNKPUSH_CACHE_DIR: "/env" })).toEqual(shows("/flag"));
  });

  test.each([
    [["--all"], { all: true }],
    [["--older-than", "30d"], { olderThanMs: 30 * 86_400_000 }],
    [["--older-than=2w"], { olderThanMs: 14 * 86_400_000 }],
    [["--older-than", "12h"], { olderThanMs: 12 * 3_600_000 }],
    [["--older-than", "5m"], { olderThanMs: 5 * 60_000 }],
    [["--max-size", "10GB", "--dry-run"], { maxBytes: 10_000_000_000, dryRun: true }],
  ])("prunes by %j", (flags, expected) => {
    const prune = { ...rules, ...expected };
    const pruning = { directory: "c", prune };
    expect(read(["prune", "--cache-dir", "c", ...flags])).toEqual(pruning);
    expect(read([...flags, "--cache-dir", "c", "prune"])).toEqual(pruning);
  });

  test.each<[string[], string]>([
    [["prune"], "Specify what to prune."],
    [["prune", "--dry-run"], "Specify what to prune."],
    [["--all"], 'These flags are for "cache prune".'],
    [["--dry-run"], 'These flags are for "cache prune".'],
    [["prune", "--nope"], "Unknown flag '--nope'"],
    [["prune", "x"], '"cache prune" takes only flags.'],
    [["prune", "--older-than"], "--older-than"],
    [["prune", "--older-than", "30"], '--older-than: invalid value "30" (expected a time'],
    [["prune", "--older-than", "-1d"], "--older-than"],
    [["prune", "--older-than", "1constructor"], "--older-than"],
    [["prune", "--max-size", "0"], '--max-size: invalid value "0" (expected a size'],
    [["--cache-dir", ""], "--cache-dir is empty"],
    [["--retries", "3"], "--retries"],
    [["prun"], '"cache" takes only the word "prune"'],
    [[TARGET], '"cache" takes only the word "prune"'],
  ])("%j is refused", (args, words) => {
    const error = refusal(args, {}, read);
    expect([exitCodeOf(error), error.message]).toEqual([2, expect.stringContaining(words)]);
  });

  test("has a help with narrow lines and valid examples", () => {
    const text = String(read(["--help"]));
    expect(text).toStartWith("Usage: chunkpush cache [prune] [flags]");
    for (const line of text.split("\n")) expect(line.length).toBeLessThanOrEqual(120);
    const examples = [...text.matchAll(/^ {2}.*chunkpush cache(.*)$/gm)].map(([, args = ""]) => args.trim());
    expect(examples).toHaveLength(3);
    for (const args of examples) expect(read(args === "" ? [] : args.split(" "))).toBeObject();
  });
});

test("--tls-verify accepts only true and false", () => {
  const error = refusal(["--tls-verify=maybe", TARGET]);
  expect([error.code, error.message]).toEqual(["USAGE", expect.stringContaining("--tls-verify")]);
});

describe("Wrong flags are refused:", () => {
  const cases: [args: string[], message: RegExp][] = [
    [["--nope", TARGET], /Unknown flag '--nope'/],
    [["-x", TARGET], /Unknown flag '-x'/],
    [["--insecure=false", TARGET], /Unknown flag '--insecure=false'|--insecure/],
    [[TARGET, "--username"], /--username/],
    [[TARGET, "--cache-dir"], /--cache-dir/],
  ];
  test.each(cases)("%j", (args, message) => {
    const error = refusal(args);
    expect([error.code, error.message]).toEqual(["USAGE", expect.stringMatching(message)]);
    expect(error.message).not.toStartWith("error:");
    expect(error.hint).toContain("help all");
  });
});

test.each([
  [["--user", "me", TARGET], "--username"],
  [["--password", "hush", TARGET], "--username me"],
  [["-phush", TARGET], "--username me"],
])("The error for another tool's flag names ours: %j", (args, flag) => {
  const error = refusal(args);
  expect([error.code, error.message]).toEqual(["USAGE", expect.stringMatching(/^Unknown flag '[a-z-]+'\.$/)]);
  expect(error.hint).toContain(flag);
  expect(error.hint).not.toContain("hush");
});

test.each([[["-p", "hush", "r.example.com"]], [["-phush"]], [["--password=hush", "r.example.com"]]])(
  "The error for a login with a password as an argument has a command that can be completed: %j",
  (args) => {
    const { hint } = refusal(args, {}, (each) => parseArguments(LOGIN.program(), each));
    expect(hint).toEndWith("| chunkpush login --username me REGISTRY");
    expect(hint).not.toContain("hush");
  },
);

describe("The program", () => {
  async function run(args: readonly string[]) {
    const child = Bun.spawn([process.execPath, join(import.meta.dir, "../../index.ts"), ...args], {
      stdin: "ignore",
      stdout: "pipe",
      stderr: "pipe",
      env: { PATH: process.env["PATH"], HOME: process.env["HOME"] },
    });
    const [stdout, stderr, code] = await Promise.all([
      child.stdout.text(),
      child.stderr.text(),
      child.exited,
    ]);
    return { stdout, stderr, code };
  }

  test("prints help and version on standard output, and exits with 0", async () => {
    const [help, version] = await Promise.all([run(["--help"]), run(["--version"])]);
    expect(help.stdout).toContain("Usage: ");
    expect([help.code, help.stderr]).toEqual([0, ""]);
    expect(version.stdout).toStartWith(`chunkpush ${packageJson.version} (Bun ${Bun.version}, `);
    expect([version.code, version.stderr]).toEqual([0, ""]);
  }, 20_000);

  test("reports wrong usage on standard error with a hint and without a stack, and exits with 2", async () => {
    const results = await Promise.all([run([]), run(["--nope"]), run(["my/app:v1"])]);
    for (const { stdout, stderr, code } of results) {
      expect([stdout, code]).toEqual(["", 2]);
      expect(stderr).toMatch(/^Error: .+\n {2}\S.*\n$/);
    }
  }, 20_000);

  test("escapes control characters of its arguments", async () => {
    const { stderr, code } = await run(["registry.example.com/\u001b[2Jevil\u0007:v1"]);
    expect(code).toBe(2);
    expect(stderr).toContain("evil");
    expect([...stderr].filter((character) => character < " " && character !== "\n")).toEqual([]);
  }, 20_000);
});
