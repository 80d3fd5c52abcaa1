/**
 * Every fault meets every kind of request, in a push of a layer in chunks and of one in a single PUT. Either the push
 * succeeds, and the image is there byte for byte, with no more sent than the image and a chunk for each fault; or it
 * stops with the right error.
 */
import { afterAll, beforeAll, describe, expect, setDefaultTimeout, test } from "bun:test";
import pLimit from "p-limit";
import { requireParts } from "../e2e/parts.ts";
import { type TemporaryFolder, temporaryFolder } from "../support/temporary-folder.ts";
import { COLUMNS, type Column, runCell } from "./matrix-cell.ts";
import { MATRIX_ROWS, type MatrixRow } from "./matrix-rows.ts";
import { formatTable } from "./matrix-table.ts";
import { layerOfChunks, type PreparedImage, prepareImage } from "./prepared-image.ts";
import { dockerTarget, type PushTarget, strictTarget } from "./push-target.ts";

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

/** One test for each row, and the table when all are done. */
function matrix(title: string, rows: readonly MatrixRow[], withTarget: WithTarget): void {
  const results = new Map<string, Map<Column, string>>();
  const names = rows.map((row) => nameOf(row));
  for (const name of names) results.set(name, new Map());
  afterAll(() => console.log(`\n${formatTable(title, COLUMNS, results)}`));

  test.each(rows.map((row, i) => ({ name: names[i] ?? "", row, i })))("$name", async ({ name, row, i }) => {
    const cells = COLUMNS.filter(({ kind }) => row.outcome(kind) !== undefined).map(async (column) => {
      const repository = `row-${i}/${column.layout.replace(" ", "-").toLowerCase()}/${column.kind}`;
      const cell = await atATime(() =>
        withTarget((target) => runCell(row, column, images[column.layout], target, repository)),
      );
      results.get(name)?.set(column, cell);
      return { column, cell };
    });
    const done = await Promise.all(cells);
    const inWords = ({ layout, kind }: Column, cell: string | undefined) => `${layout}, ${kind}: ${cell}`;
    expect(done.map(({ column, cell }) => inWords(column, cell))).toEqual(
      done.map(({ column }) => inWords(column, row.outcome(column.kind))),
    );
  });
}

type WithTarget = (run: (target: PushTarget) => Promise<string>) => Promise<string>;

function nameOf({ fault, isPermanent }: MatrixRow): string {
  // Only for its name: nothing is restarted.
  const { name } = fault({ restart: async () => {} });
  return isPermanent ? `${name}, always` : name;
}

describe.concurrent("a push to the strict registry", () => {
  matrix("the strict registry", MATRIX_ROWS, async (run) => {
    await using target = await strictTarget();
    return await run(target);
  });
});

describe.skipIf(!requireParts("docker-registry")).concurrent("a push to docker-registry", () => {
  let target: PushTarget;
  beforeAll(async () => {
    target = await dockerTarget();
  });
  afterAll(() => target[Symbol.asyncDispose]());

  const rows = MATRIX_ROWS.filter(({ isMain }) => isMain);
  matrix("docker-registry", rows, (run) => run(target));
});
