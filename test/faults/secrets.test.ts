/**
 * Through faults, redirects, crashes and servers that repeat what they were sent: no password, no token and no
 * Authorization header is in any output, in any file, in what another program is told, or in a request to anybody but
 * the registry and its token server.
 */
import { expect, setDefaultTimeout, test } from "bun:test";
import { gzipSync } from "node:zlib";
import pLimit from "p-limit";
import { RUNS_ALL } from "../support/all-tests.ts";
import { requireParts } from "../support/parts.ts";
import { findSecrets } from "../support/secret-search.ts";
import { SECRET_CASES } from "./secret-cases.ts";
import { runSecretCase, type Way } from "./secret-scene.ts";

setDefaultTimeout(120_000);

/** Whole processes; where one waits before it tries again, others work. */
const atATime = pLimit(6);

const hasOpenssl = requireParts("openssl");
const CASES = SECRET_CASES.filter(
  ({ isUntrusted }, i) => (hasOpenssl || !isUntrusted) && (RUNS_ALL || i % 3 === 0),
);
const WAYS: readonly Way[] = ["standard input", "variable", "login file", "helper", "command"];

const PASSWORD = 'é/bc+d"é/bc+d';
test.each<[string, string | Uint8Array]>([
  ["as it is", '… /bc+d"é/ …'],
  ["in percents", "%2Fbc%2Bd%22"],
  ["as JSON has it", 'c+d\\"é/'],
  ["in base64", Buffer.from(PASSWORD).toString("base64").slice(3)],
])("The search for secrets finds a piece of a password %s, also in gzip", (form, piece) => {
  for (const bytes of [Buffer.from(piece), gzipSync(piece)]) {
    const found = findSecrets(new Map([["a file", bytes]]), new Map([["the password", PASSWORD]]));
    expect(found).toEqual([`the password (${form}) is in a file`]);
  }
});

test(`No secret gets out of ${CASES.length} pushes`, async () => {
  const wrong = CASES.map((secretCase, i) =>
    atATime(async () => {
      const needsLogin = secretCase.wants === "identity" || secretCase.files !== undefined;
      const way = secretCase.way ?? (needsLogin ? "login file" : WAYS[i % WAYS.length]);
      const isAtTerminal = Math.floor(i / WAYS.length) % 2 === 1;
      const told = `${secretCase.name}, by ${way}, ${isAtTerminal ? "at a terminal" : "piped"}`;
      const problems = await runSecretCase({ ...secretCase, ...(way && { way }) }, isAtTerminal, `${i}`);
      return problems.map((problem) => `${told}: ${problem}`);
    }),
  );
  expect((await Promise.all(wrong)).flat()).toEqual([]);
});
