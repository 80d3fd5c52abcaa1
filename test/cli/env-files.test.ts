/** What counts of the `.env` files of a folder. test/cli/foreign-folder.test.ts has what must not. */
import { describe, expect, setDefaultTimeout, test } from "bun:test";
import { join } from "node:path";
import { runWell } from "../support/command.ts";
import { temporaryFolder } from "../support/temporary-folder.ts";

setDefaultTimeout(60_000);

const PROGRAM = `
import { settleEnvironment } from ${JSON.stringify(join(import.meta.dir, "../../src/cli/env-files.ts"))};
const warnings = settleEnvironment(process);
console.log(JSON.stringify({ warnings, env: process.env }));
`;

type Settled = { readonly warnings: string[]; readonly env: Record<string, string> };

/** The environment that is left in a folder with these files. */
async function settle(
  files: Readonly<Record<string, string>>,
  flags: readonly string[],
  env: Readonly<Record<string, string>> = {},
): Promise<Settled> {
  await using folder = await temporaryFolder();
  for (const [name, content] of Object.entries(files)) await Bun.write(join(folder.path, name), content);
  await Bun.write(join(folder.path, "program.ts"), PROGRAM);
  const command = [process.execPath, ...flags, "program.ts"];
  return JSON.parse(await runWell(command, { cwd: folder.path, env: { HOME: "/home/me", ...env } }));
}

const WAYS: [string, string[]][] = [
  ["read by Bun", []],
  ["read by us", ["--no-env-file"]],
];

describe("Our own settings in .env files", () => {
  // With "@" for "$", which strings had better not have before a brace.
  const FORMS = [
    "A=plain # comment",
    "export B='single @CHUNKPUSH_A'",
    'C="line\nbreak\\n and @REAL"',
    "D=@{NOBODY:-default}@{NOBODY}",
    "E=pa\\@CHUNKPUSH_A@",
    "F=CHUNKPUSH_A-@{CHUNKPUSH_A}x@1b",
    "G=@{NOBODY:-@CHUNKPUSH_A}",
    "H=@CHUNKPUSH_LATER",
    "LATER=late",
    "I=@CHUNKPUSH_I",
    "J=@{}@{NOBODY-x}@CHUNKPUSH_A",
    "K=",
    'L="unterminated',
    "M: colon",
    "N=`tick`\r",
    "O=a#b",
  ];
  const file = FORMS.map((form) => form.replaceAll("@", "$").replace(/^(export )?/, "$1CHUNKPUSH_")).join(
    "\n",
  );

  test("mean the same whether Bun reads the files or we do", async () => {
    const [bun, own] = await Promise.all(
      WAYS.map(([, flags]) => settle({ ".env": file }, flags, { REAL: "real" })),
    );
    expect(own).toEqual(bun as Settled);
    expect(own?.env["CHUNKPUSH_C"]).toBe("line\nbreak\n and real");
    expect(own?.env["CHUNKPUSH_E"]).toBe("pa$CHUNKPUSH_A$");
    expect(Object.keys(own?.env ?? {}).filter((name) => name.startsWith("CHUNKPUSH_"))).toHaveLength(16);
  });

  test.each([
    {},
    { NODE_ENV: "production" },
    { NODE_ENV: "test" },
    { NODE_ENV: "staging" },
    { BUN_ENV: "test", NODE_ENV: "production" },
  ])("come from the same file whether Bun reads the files or we do, with %o", async (env) => {
    const modes = ["", ".development", ".production", ".test"];
    const names = modes.flatMap((mode) => [`.env${mode}`, `.env${mode}.local`]);
    for (const leftOut of [
      [],
      [".env.development.local", ".env.production.local", ".env.test.local"],
      [".env.local"],
    ]) {
      const files = Object.fromEntries(
        names.filter((name) => !leftOut.includes(name)).map((name) => [name, `CHUNKPUSH_A=${name}\n`]),
      );
      const [bun, own] = await Promise.all(WAYS.map(([, flags]) => settle(files, flags, env)));
      expect(own).toEqual(bun as Settled);
      expect(own?.env["CHUNKPUSH_A"]).toStartWith(".env");
    }
  });

  test.each(WAYS)("are left out with a NUL in them, %s", async (_, flags) => {
    const { env } = await settle({ ".env": "CHUNKPUSH_CACHE_DIR=a\0b\nSKIP_AUTH=1" }, flags);
    expect(env).toMatchObject({ SKIP_AUTH: "1" });
    expect(env).not.toHaveProperty("CHUNKPUSH_CACHE_DIR");
  });

  test.each(WAYS)("do not override the environment, %s", async (_, flags) => {
    const { env } = await settle({ ".env": "MAX_RETRIES=1\nSKIP_AUTH=1" }, flags, { MAX_RETRIES: "2" });
    expect(env).toMatchObject({ MAX_RETRIES: "2", SKIP_AUTH: "1" });
  });
});

describe("Other variables in .env files", () => {
  test.each(WAYS)(
    "are removed, with a warning that names the file of dangerous ones, %s",
    async (_, flags) => {
      const files = {
        ".env":
          "https_proxy=http://x\nNODE_ENV=test\nPASSWORD=secret\nPATH=/evil\nconstructor=1\n__proto__=1",
        ".env.local":
          "DOCKER_CERT_PATH=$HOME\nXDG_RUNTIME_DIR=/evil\nREGISTRY_AUTH_FILE=/evil\nCHUNKPUSH_RUNTIME=podman",
      };
      const { warnings, env } = await settle(files, flags);
      expect(warnings).toEqual([
        'Warning: ignored DOCKER_CERT_PATH, XDG_RUNTIME_DIR, REGISTRY_AUTH_FILE, CHUNKPUSH_RUNTIME from ".env.local": a file in the current folder must not decide whom a push trusts. Set them in the environment instead.',
        'Warning: ignored https_proxy from ".env": a file in the current folder must not decide whom a push trusts. Set them in the environment instead.',
      ]);
      expect(Object.keys(env).sort()).toEqual(["HOME", "PATH"]);
    },
  );

  test.each(WAYS)("do not change those of the environment, %s", async (_, flags) => {
    const real = { HTTPS_PROXY: "http://real", DOCKER_HOST: "tcp://real" };
    const { warnings, env } = await settle(
      { ".env": "HTTPS_PROXY=http://x\nDOCKER_HOST=tcp://y" },
      flags,
      real,
    );
    expect({ warnings, env }).toMatchObject({ warnings: [], env: real });
  });

  test("stay if the user names the file", async () => {
    const files = { ".env": "HTTPS_PROXY=http://x\nMAX_RETRIES=1", mine: "DOCKER_HOST=tcp://y" };
    const { warnings, env } = await settle(files, ["--env-file=mine"]);
    expect({ warnings, env }).toMatchObject({ warnings: [], env: { DOCKER_HOST: "tcp://y" } });
    expect(env).not.toHaveProperty("HTTPS_PROXY");
    expect(env).not.toHaveProperty("MAX_RETRIES");
  });
});
