/** The plan of the rooms, held by a machine: who may import whom, who prints, who exits. */
import { describe, expect, test } from "bun:test";
import { existsSync } from "node:fs";
import { join, posix } from "node:path";

const ROOT = join(import.meta.dir, "..");
const MAX_LINES = 250;

/** Files by path from the repository's root. */
type Sources = ReadonlyMap<string, string>;

/** The ground floor: small files that import no room. */
const GROUND = ["src/errors.ts", "src/retry.ts", "src/format.ts", "src/program-name.ts"];

type Room =
  | "oci"
  | "store"
  | "source"
  | "layers"
  | "registry"
  | "logins"
  | "push"
  | "proxy"
  | "report"
  | "check"
  | "cli";

/** Rooms that each room may import, besides itself and the ground floor. */
const MAY_IMPORT: Readonly<Record<Room, readonly Room[]>> = {
  oci: [],
  store: ["oci"],
  source: ["oci", "store"],
  layers: ["oci", "store"],
  registry: ["oci", "store"],
  logins: ["oci", "store", "registry"],
  report: ["oci", "store"],
  // The only room that knows source, layers and registry together.
  push: ["oci", "store", "source", "layers", "registry", "proxy", "report"],
  // A registry for other clients. It knows no source and no layer.
  proxy: ["oci", "store", "registry", "report"],
  // Looks at a registry without pushing.
  check: ["oci", "store", "registry"],
  cli: ["check", "oci", "store", "registry", "logins", "push", "proxy", "report"],
};

/** The library's entry. Commands are loaded when the script runs. */
const INDEX_MAY_IMPORT: readonly Room[] = ["push", "report", "cli"];

const JSON_OBJECTS = "src/oci/json-schema.ts";

/** Imports of our own files, types included, as paths from the root. Import attributes lead to no code. */
function importsOf(path: string, text: string): string[] {
  const specifiers = [
    ...text.matchAll(/^\s*(?:import|export)\b[^;"]*?\bfrom\s*["'](\.[^"']+)["']/gm),
    ...text.matchAll(/^\s*import\s*["'](\.[^"']+)["']/gm),
    ...text.matchAll(/\bimport\(\s*["'](\.[^"']+)["']/g),
  ];
  return specifiers.map(([, specifier = ""]) => posix.join(posix.dirname(path), specifier));
}

/** Code alone: neither comments nor the words in strings call anything. */
function codeOf(text: string): string {
  return text.replace(
    /"(?:[^"\\\n]|\\.)*"|'(?:[^'\\\n]|\\.)*'|\/\*[\s\S]*?\*\/|(?<![:\\/])\/\/.*$/gm,
    (match) => (match.startsWith("/") ? "" : '""'),
  );
}

function roomOf(path: string): Room | undefined {
  const [, room = ""] = /^src\/([^/]+)\//.exec(path) ?? [];
  return Object.hasOwn(MAY_IMPORT, room) ? (room as Room) : undefined;
}

function mayImport(path: string, imported: string): boolean {
  if (GROUND.includes(imported) || imported === "package.json") return true;
  const to = roomOf(imported);
  if (path === "index.ts") return to !== undefined && INDEX_MAY_IMPORT.includes(to);
  const from = roomOf(path);
  // The ground floor and files without a room are checked elsewhere.
  if (from === undefined) return to === undefined;
  return from === to || (to !== undefined && MAY_IMPORT[from].includes(to));
}

/** Everything that breaks a rule, in words. */
function violations(sources: Sources): string[] {
  const found: string[] = [];
  for (const [path, text] of sources) {
    const code = codeOf(text);
    if (path !== "index.ts" && !GROUND.includes(path) && roomOf(path) === undefined)
      found.push(`${path} is in no room`);
    for (const imported of importsOf(path, text)) {
      if (!mayImport(path, imported)) found.push(`${path} imports ${imported}`);
      if (/^(?:dev|test)\//.test(imported)) found.push(`${path} imports ${imported}, which is not shipped`);
      if (!sources.has(imported) && imported !== "package.json") {
        found.push(`${path} imports ${imported}, which is not there`);
      }
    }
    const isFrontDoor = path === "index.ts" || path.startsWith("src/cli/");
    if (!isFrontDoor && /\bprocess\s*\.\s*(?:exit|exitCode|abort|reallyExit)\b/.test(code))
      found.push(`${path} exits`);
    if (!isFrontDoor && /\b(?:process|Bun)\s*\.\s*(?:env|argv|stdin)\b/.test(code))
      found.push(`${path} reads the environment, arguments or standard input`);
    const mayPrint = isFrontDoor || path.startsWith("src/report/");
    if (
      !mayPrint &&
      /\bconsole\b|\bprocess\s*\.\s*std(?:out|err)\b|\bBun\s*\.\s*std(?:out|err)\b/.test(code)
    ) {
      found.push(`${path} prints`);
    }
    // docs/decisions.md: valibot's own take lists, and quote what is wrong.
    if (
      path !== JSON_OBJECTS &&
      path.startsWith("src/") &&
      /\bv\s*\.\s*(?:object|looseObject|record)\b/.test(code)
    )
      found.push(`${path} has an object of valibot's own`);
    if (/(?:^|\/)(?:utils?|helpers?|common|misc)\b[^/]*$/.test(path))
      found.push(`${path} says nothing by its name`);
    if (/^src\/(?:.*\/)?index\.ts$/.test(path)) found.push(`${path} is a barrel`);
    const lines = text.trimEnd().split("\n").length;
    if (path.startsWith("src/") && lines > MAX_LINES) found.push(`${path} has ${lines} lines`);
  }
  return [...found, ...cycles(sources)];
}

function cycles(sources: Sources): string[] {
  const found: string[] = [];
  const done = new Set<string>();
  const visit = (path: string, way: readonly string[]) => {
    const start = way.indexOf(path);
    if (start >= 0) found.push(`a cycle: ${[...way.slice(start), path].join(" → ")}`);
    if (start >= 0 || done.has(path)) return;
    for (const imported of importsOf(path, sources.get(path) ?? "")) visit(imported, [...way, path]);
    done.add(path);
  };
  for (const path of sources.keys()) visit(path, []);
  return found;
}

async function readSources(): Promise<Sources> {
  const paths = [...new Bun.Glob("src/**/*.{ts,txt}").scanSync(ROOT)].map((path) =>
    path.replaceAll("\\", "/"),
  );
  const entries = ["index.ts", ...paths].map(
    async (path) => [path, await Bun.file(join(ROOT, path)).text()] as const,
  );
  return new Map(await Promise.all(entries));
}

describe("the project", () => {
  test("keeps its rules", async () => {
    expect(violations(await readSources())).toEqual([]);
  });

  test("has every file reached from index.ts, and the checker sees every import that Bun sees", async () => {
    const sources = await readSources();
    const reached = new Set<string>();
    const visit = (path: string) => {
      if (reached.has(path)) return;
      reached.add(path);
      for (const imported of importsOf(path, sources.get(path) ?? "")) visit(imported);
    };
    visit("index.ts");
    expect([...sources.keys()].filter((path) => !reached.has(path))).toEqual([]);

    const transpiler = new Bun.Transpiler({ loader: "ts" });
    for (const [path, text] of sources) {
      if (!path.endsWith(".ts")) continue;
      const seen = importsOf(path, text);
      for (const { path: specifier } of transpiler.scanImports(text.replace(/^#!.*/, ""))) {
        if (specifier.startsWith(".")) expect(seen).toContain(posix.join(posix.dirname(path), specifier));
      }
    }
  });
});

test("docs/security.md names tests that exist", async () => {
  const text = await Bun.file(join(ROOT, "docs/security.md")).text();
  const named = [...text.matchAll(/`((?:test|dev)\/[^`]+)`/g)].map(([, path = ""]) => path);
  expect(named.length).toBeGreaterThan(20);
  expect(named.filter((path) => !existsSync(join(ROOT, path)))).toEqual([]);
});

describe("the checker of the project", () => {
  const clean: Record<string, string> = {
    "index.ts": `import { a } from "./src/push/a.ts"; import p from "./package.json" with { type: "json" };
      console.log(a, p); process.exit(0);`,
    "src/errors.ts": "export const e = 1;",
    "src/oci/digest.ts": `import * as v from "valibot"; import { e } from "../errors.ts";`,
    "src/oci/image.ts": `import type { D } from "./digest.ts";`,
    "src/source/a.ts": `import { d } from "../oci/digest.ts"; // process.exit(1), console.log
      /* import { x } from "../layers/b.ts"; */ const text = "process.exit console";`,
    "src/push/a.ts": `import { a } from "../source/a.ts"; import { b } from "../layers/b.ts";`,
    "src/layers/b.ts": `import { d } from "../oci/digest.ts";`,
    "src/registry/c.ts": `import { d } from "../oci/image.ts";`,
    "src/report/plain.ts": "process.stderr.write('x');",
  };

  test("finds nothing in what is clean", () => {
    expect(violations(new Map(Object.entries(clean)))).toEqual([]);
  });

  const broken: [file: string, text: string, complaint: string][] = [
    ["src/errors.ts", `import { d } from "./oci/digest.ts";`, "src/errors.ts imports src/oci/digest.ts"],
    ["src/oci/x.ts", `import { s } from "../store/s.ts";`, "src/oci/x.ts imports src/store/s.ts"],
    ["src/push/x.ts", `import { c } from "../cli/c.ts";`, "src/push/x.ts imports src/cli/c.ts"],
    ["src/cli/x.ts", `import { a } from "../source/a.ts";`, "src/cli/x.ts imports src/source/a.ts"],
    ["index.ts", `import { a } from "./src/source/a.ts";`, "index.ts imports src/source/a.ts"],
    ["src/x.ts", "", "src/x.ts is in no room"],
    ["src/attic/x.ts", "", "src/attic/x.ts is in no room"],
    [
      "src/push/x.ts",
      "const { HOME } = process.env;",
      "src/push/x.ts reads the environment, arguments or standard input",
    ],
    ["src/oci/x.ts", `import type { L } from "../layers/b.ts";`, "src/oci/x.ts imports src/layers/b.ts"],
    ["src/source/x.ts", `import { b } from "../layers/b.ts";`, "src/source/x.ts imports src/layers/b.ts"],
    ["src/source/x.ts", `export { c } from "../registry/c.ts";`, "src/source/x.ts imports src/registry/c.ts"],
    ["src/source/x.ts", `export * from "../registry/c.ts";`, "src/source/x.ts imports src/registry/c.ts"],
    ["src/layers/x.ts", `import "../source/a.ts";`, "src/layers/x.ts imports src/source/a.ts"],
    ["src/layers/x.ts", `await import("../registry/c.ts");`, "src/layers/x.ts imports src/registry/c.ts"],
    [
      "src/registry/x.ts",
      `import {\n  a,\n  type b,\n} from "../source/a.ts";`,
      "src/registry/x.ts imports src/source/a.ts",
    ],
    ["src/registry/x.ts", `import { b } from '../layers/b.ts';`, "src/registry/x.ts imports src/layers/b.ts"],
    ["src/registry/x.ts", `import { l } from "../logins/l.ts";`, "src/registry/x.ts imports src/logins/l.ts"],
    ["src/logins/x.ts", `import { a } from "../source/a.ts";`, "src/logins/x.ts imports src/source/a.ts"],
    [
      "src/x.ts",
      `import { t } from "../test/support.ts";`,
      "src/x.ts imports test/support.ts, which is not shipped",
    ],
    ["src/x.ts", "process.exit(1);", "src/x.ts exits"],
    ["src/x.ts", "process.exitCode = 1;", "src/x.ts exits"],
    ["src/x.ts", "process.stdout.write('x');", "src/x.ts prints"],
    ["src/x.ts", "process.stderr.write('x');", "src/x.ts prints"],
    ["src/x.ts", "const url = 'https://x'; console.log(url);", "src/x.ts prints"],
    ["src/layers/x.ts", "Bun.stdout.writer();", "src/layers/x.ts prints"],
    ["src/utils.ts", "", "src/utils.ts says nothing by its name"],
    ["src/oci/util.ts", "", "src/oci/util.ts says nothing by its name"],
    ["src/oci/index.ts", "", "src/oci/index.ts is a barrel"],
    ["src/x.ts", "const S = v.record(v.string(), v.string());", "src/x.ts has an object of valibot's own"],
    ["src/x.ts", "let x;\n".repeat(251), "src/x.ts has 251 lines"],
    [
      "src/oci/digest.ts",
      `import { i } from "./image.ts";`,
      "a cycle: src/oci/digest.ts → src/oci/image.ts → src/oci/digest.ts",
    ],
    ["src/errors.ts", `import { e } from "./errors.ts";`, "a cycle: src/errors.ts → src/errors.ts"],
  ];
  test.each(broken.map(([file, text, complaint]) => ({ file, text, complaint })))(
    "finds that $complaint",
    ({ file, text, complaint }) => {
      const found = violations(new Map(Object.entries({ ...clean, [file]: text })));
      expect(found.filter((each) => !each.endsWith("which is not there"))).toContainEqual(complaint);
    },
  );

  test("accepts 250 lines", () => {
    expect(violations(new Map([["src/oci/x.ts", "let x;\n".repeat(250)]]))).toEqual([]);
  });

  test("finds an import of nothing", () => {
    expect(violations(new Map([["src/oci/x.ts", `import "./y.ts";`]]))).toEqual([
      "src/oci/x.ts imports src/oci/y.ts, which is not there",
    ]);
  });
});
