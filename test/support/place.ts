import { tmpdir } from "node:os";

/** Where an engine's programs come from: this machine, or the lab of newer engines. */
export type Place = {
  /** What a command begins with that is to run there. */
  readonly enter: readonly string[];
  /** A folder that has the same path there and here. */
  readonly folder: string;
};

export const THIS_MACHINE: Place = { enter: [], folder: tmpdir() };
