import { PushError } from "../errors.ts";
import { COMPRESSION_LEVELS, DEFAULT_COMPRESSION, type LayerCompression } from "../oci/compression.ts";
import { integer, invalidValue, type Setting } from "./values.ts";

/** The values of `--compression`. */
export const COMPRESSIONS = [...Object.keys(COMPRESSION_LEVELS), "none"];

/** Reads the compression of layers that are uncompressed in the source. Throws `USAGE`. */
export function layerCompression(kind: Setting, level: Setting): LayerCompression {
  const asked = kind.text ?? DEFAULT_COMPRESSION.kind;
  if (asked === "gzip" || asked === "zstd") {
    const { min, max, default: usual } = COMPRESSION_LEVELS[asked];
    return { kind: asked, level: integer(level, min, max, `for ${asked}`) ?? usual };
  }
  if (asked !== "none") {
    throw invalidValue({ name: kind.name, text: asked }, "gzip, zstd or none");
  }
  if (level.text === undefined) return { kind: "none" };
  throw new PushError(
    "USAGE",
    `${level.name} is "${level.text}", but without compression there is no level.`,
    {
      hint: "Leave it out, or choose gzip or zstd.",
    },
  );
}
