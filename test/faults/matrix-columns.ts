import type { RequestKind } from "../../dev/faults/request-kind.ts";

/** What is asked for, and, of tokens, when. */
export type ColumnName = Exclude<RequestKind, "other"> | "renewed-token";

/** A column of the matrix: a request of a push. */
export type Column = {
  readonly layout: "4 chunks" | "single PUT";
  readonly name: ColumnName;
  readonly kind: RequestKind;
  /** Which request of its kind. The config goes up first, and alone: a second one is the layer's. */
  readonly occurrence: number;
};

const BEFORE_THE_LAYER = [
  { name: "ping", occurrence: 1 },
  { name: "token", occurrence: 1 },
  { name: "head-blob", occurrence: 2 },
  { name: "start-upload", occurrence: 2 },
] as const;
const IN_CHUNKS = [
  { name: "first-patch", occurrence: 1 },
  { name: "middle-patch", occurrence: 1 },
  { name: "last-patch", occurrence: 1 },
  { name: "closing-put", occurrence: 1 },
] as const;
const AFTER_THE_LAYER = [
  { name: "upload-status", occurrence: 1 },
  { name: "renewed-token", occurrence: 2 },
  { name: "put-manifest", occurrence: 1 },
] as const;

/** What a push consists of, for a layer in chunks and for one in a single PUT. */
export const COLUMNS: readonly Column[] = [
  ...columns("4 chunks", [...BEFORE_THE_LAYER, ...IN_CHUNKS, ...AFTER_THE_LAYER]),
  ...columns("single PUT", [...BEFORE_THE_LAYER, { name: "whole-put", occurrence: 2 }, ...AFTER_THE_LAYER]),
];

function columns(
  layout: Column["layout"],
  requests: readonly { readonly name: ColumnName; readonly occurrence: number }[],
): Column[] {
  return requests.map(({ name, occurrence }) => {
    const kind = name === "renewed-token" ? "token" : name;
    return { layout, name, kind, occurrence };
  });
}
