/**
 * Every fault meets every kind of request, in a push of a layer in chunks and of one in a single PUT. Either the push
 * succeeds, and the image is there byte for byte, with no more sent than the image and a chunk for each fault; or it
 * stops with the right error. Without all tests, each fault meets a fifth of the requests.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import pLimit from "p-limit";
import { passAfter } from "../../dev/faults/fault.ts";
import { RUNS_ALL } from "../support/all-tests.ts";
import { requireParts } from "../support/parts.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { runCell } from "./matrix-cell.ts";
import { COLUMNS, type Column } from "./matrix-columns.ts";
import { expectedOutcome, MATRIX_ROWS, type MatrixRow } from "./matrix-rows.ts";
import { formatTable } from "./matrix-table.ts";
import { layerOfChunks, type PreparedImage, prepareImage } from "./prepared-image.ts";
import {
  dockerTarget,
  dockerTokenTarget,
  PROFILE_NAMES,
  type PushTarget,
  restartingDockerTarget,
  strictTarget,
  tokenTarget,
} from "./push-target.ts";

setDefaultTimeout(120_000);

/** Most of a cell's time is the wait before a retry. */
const atATime = pLimit(32);

let folder: TemporaryFolder;
let images: Readonly<Record<Column["layout"], PreparedImage>>;
beforeAll(async () => {
  folder = await temporaryFolder();
  images = {
    "4 chunks": await prepareImage(folder.path, "chunked", [layerOfChunks("chunked", 4)]),
    "single PUT": await prepareImage(folder.path, "single", [layerOfChunks("single", 1)]),
  };
});
afterAll(() => folder[Symbol.asyncDispose]());

/** Lends a registry to a cell. */
type WithTarget = (
  needs: { readonly hasTokens: boolean; readonly restarts: boolean },
  run: (target: PushTarget) => Promise<string>,
) => Promise<string>;

/** One test for each row, and the table when all are done. */
function matrix(
  title: string,
  rows: readonly MatrixRow[],
  columns: readonly Column[],
  withTarget: WithTarget,
): void {
  const results = new Map(rows.map((row) => [nameOf(row), new Map<Column, string>()]));
  afterAll(() => console.log(`\n${formatTable(title, columns, results)}`));

  const cases = rows.map((row, i) => ({ name: nameOf(row), row, i }));
  test.each(cases)(
    "succeeds or says why, whichever request meets the fault: $name",
    async ({ name, row, i }) => {
      const wanted = columns
        .filter((column) => expectedOutcome(row, column.name) !== undefined)
        .filter((_, at) => RUNS_ALL || (i + at) % 5 === 0);
      const runColumn = (column: Column) => {
        const repository = `row-${i}/${column.layout.replace(" ", "-").toLowerCase()}/${column.name}`;
        const hasTokens = row.needsTokens === true || column.kind === "token";
        const needs = { hasTokens, restarts: row.restarts === true };
        return atATime(() =>
          withTarget(needs, (target) => runCell(row, column, images[column.layout], target, repository)),
        );
      };
      const cells = await Promise.all(wanted.map(runColumn));
      for (const [at, column] of wanted.entries()) results.get(name)?.set(column, cells[at] ?? "");
      const inWords = ({ layout, name }: Column, cell: string | undefined) => `${layout}, ${name}: ${cell}`;
      expect(wanted.map((column, at) => inWords(column, cells[at]))).toEqual(
        wanted.map((column) => inWords(column, expectedOutcome(row, column.name))),
      );
    },
  );
}

function nameOf({ fault, isPermanent }: MatrixRow): string {
  // Only for its name: nothing is done.
  const { name } = fault({ restart: async () => {}, tokensExpire: passAfter("tokens expire", () => {}) });
  return isPermanent ? `${name}, always` : name;
}

describe.concurrent("a push to the strict registry", () => {
  matrix("the strict registry", MATRIX_ROWS, COLUMNS, async ({ hasTokens }, run) => {
    await using target = await (hasTokens ? tokenTarget() : strictTarget());
    return await run(target);
  });
});

/**
 * The other registries meet broken bodies alone, since that is where they differ. With CHUNKPUSH_MATRIX_PROFILES=all they
 * meet all but tokens, and a 416 without a place, after which a blob goes whole and into the strict registry's limit.
 */
const isWhole = process.env["CHUNKPUSH_MATRIX_PROFILES"] === "all";
const PROFILE_ROWS = MATRIX_ROWS.filter((row) =>
  isWhole ? !row.needsTokens && nameOf(row) !== "416" : nameOf(row) === "reset in the body",
);
const BODIES = ["first-patch", "middle-patch", "last-patch", "closing-put", "whole-put"];
const PROFILE_COLUMNS = COLUMNS.filter(({ kind }) => kind !== "token" && (isWhole || BODIES.includes(kind)));

for (const profile of PROFILE_NAMES) {
  describe.concurrent(`a push to a registry like ${profile}`, () => {
    matrix(`like ${profile}`, PROFILE_ROWS, PROFILE_COLUMNS, async (_, run) => {
      await using target = await strictTarget(profile);
      return await run(target);
    });
  });
}

describe.skipIf(!requireParts("docker-registry", "openssl")).concurrent("a push to docker-registry", () => {
  let open: PushTarget;
  let withTokens: PushTarget;
  beforeAll(async () => {
    open = await dockerTarget();
    withTokens = await dockerTokenTarget();
  });
  afterAll(async () => {
    await open[Symbol.asyncDispose]();
    await withTokens[Symbol.asyncDispose]();
  });

  const rows = MATRIX_ROWS.filter(({ isMain }) => isMain);
  const columns = COLUMNS.filter(({ kind }) => kind !== "token");
  matrix("docker-registry", rows, columns, async ({ hasTokens, restarts }, run) => {
    if (!restarts) return run(hasTokens ? withTokens : open);
    await using own = await restartingDockerTarget();
    return await run(own);
  });
});
