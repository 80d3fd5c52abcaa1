/** JSON with a few things wrong in it: values of other types, names twice, what is nested deep, and what is no JSON. */
import type { Random } from "../support/fuzz.ts";

const TOKEN = /"(?:[^"\\]|\\.)*"|-?\d+|true|false|null|[{}[\]:,]/g;

const DEPTH = 20_000;
const VALUES: readonly string[] = [
  "null",
  "true",
  "0",
  "-1",
  "1e999",
  "9".repeat(400),
  '""',
  '"x"',
  "[]",
  "{}",
  "[null]",
  '[""]',
  '{"__proto__":null}',
  '{"length":1,"toString":1}',
  '"__proto__"',
  '"../../../../etc/passwd"',
  '"/etc/passwd"',
  '"a\\u0000b"',
  '"\\ud800"',
  `"${"n".repeat(5000)}"`,
  `"sha256:${"0".repeat(64)}"`,
  `"sha256:${"Z".repeat(64)}"`,
  `"sha512:${"0".repeat(128)}"`,
  "[".repeat(DEPTH) + "]".repeat(DEPTH),
  `${'{"a":'.repeat(DEPTH)}1${"}".repeat(DEPTH)}`,
  '"application/vnd.oci.image.index.v1+json"',
  '"application/vnd.oci.image.layer.v1.tar+zstd"',
];

export function mutatedJson(text: string, random: Random): string {
  let mutated = text;
  for (let times = 1 + random.below(3); times > 0; times--) mutated = mutatedOnce(mutated, random);
  return mutated;
}

function mutatedOnce(text: string, random: Random): string {
  const tokens = [...text.matchAll(TOKEN)];
  if (tokens.length === 0) return random.pick(VALUES);
  const at = random.below(tokens.length);
  const token = tokens[at]?.[0] ?? "";
  const index = tokens[at]?.index ?? 0;
  const replace = (by: string) => text.slice(0, index) + by + text.slice(index + token.length);
  switch (random.below(8)) {
    case 0:
      return text.slice(0, random.below(text.length));
    case 1:
      return replace("");
    case 2:
      return replace(token + token);
    case 3:
      return replace(random.pick(tokens.map(([other]) => other)));
    case 4:
      // A name twice, and others that nobody expects.
      return token === "{"
        ? replace(`{"__proto__":{"x":1},"layers":${random.pick(VALUES)},`)
        : replace(`[${token}]`);
    default:
      return /^[{}[\]:,]$/.test(token) && random.below(4) > 0 ? text : replace(random.pick(VALUES));
  }
}
