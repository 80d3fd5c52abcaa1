import type * as v from "valibot";
import { fileError, PushError } from "../../errors.ts";
import { MAX_JSON_BYTES, parseJson } from "../../oci/json.ts";
import type { ImageFiles } from "./image-files.ts";

/** Reads a small file of an image. Throws `IMAGE_INVALID` if it is missing or too large, and `FILE_FAILED`. */
export async function readDocument(files: ImageFiles, path: string): Promise<Uint8Array<ArrayBuffer>> {
  const content = await files.open(path);
  if (content === undefined)
    throw new PushError("IMAGE_INVALID", `Cannot read the ${files.title}: it lacks "${path}".`);
  if (content.size > MAX_JSON_BYTES) {
    throw new PushError(
      "IMAGE_INVALID",
      `Cannot read the ${files.title}: "${path}" has ${content.size} bytes.`,
    );
  }
  try {
    return new Uint8Array(await content.arrayBuffer());
  } catch (cause) {
    throw fileError(cause, `read "${path}" in the ${files.title}`);
  }
}

/** Reads and validates a JSON file of an image. Throws `IMAGE_INVALID`, naming the file and the field. */
export async function readJson<T>(
  files: ImageFiles,
  path: string,
  schema: v.GenericSchema<unknown, T>,
): Promise<T> {
  return parseJson(await readDocument(files, path), schema, `"${path}" in the ${files.title}`);
}
