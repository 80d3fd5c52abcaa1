/** What a push with `--progress json` has told. */
export type Told = { readonly type: string; readonly [field: string]: unknown };

/** The variables with which a push tells events. */
export const TELLS_EVENTS = { CHUNKPUSH_PROGRESS: "json" } as const;

export function toldEvents(stderr: string): Told[] {
  return stderr
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => JSON.parse(line));
}

/** The layers and other blobs of which something was told: that they were `compressed`, `cached`, `sent`, `present` … */
export function toldBlobs(stderr: string, how: string): Told[] {
  return toldEvents(stderr).filter((event) => event.type === "blob" && event["how"] === how);
}
