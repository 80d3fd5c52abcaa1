import * as v from "valibot";
import { PushError } from "../errors.ts";
import { parseDigest } from "../oci/digest.ts";
import { object, parseJson } from "../oci/json-schema.ts";
import { openPodmanImage } from "../source/storage/podman-storage.ts";

const QUESTION = object({
  id: v.string(),
  root: v.string(),
  driver: v.string(),
  otherRoots: v.array(v.string()),
});

/**
 * Reads one image of Podman's storage for another process, which may not (`openUnshared`). The first line says which; what
 * it has is answered in a line. Then each line is a layer's number, and is answered with the layer's bytes. Throws
 * `FILE_FAILED`, `IMAGE_INVALID` and `CONTENT_MISMATCH`.
 */
export async function serveStorage(
  lines: AsyncIterable<string>,
  write: (bytes: Uint8Array) => Promise<void>,
): Promise<void> {
  const { signal } = new AbortController();
  const questions = lines[Symbol.asyncIterator]();
  const first = await questions.next();
  if (first.done) return;
  const question = parseJson(new TextEncoder().encode(first.value), QUESTION, "the question");
  const image = await openPodmanImage(parseDigest(question.id, "the question"), question, signal);
  const layers = image.layers.map(({ diffId, name, size }) => ({ diffId, name, size }));
  const config = Buffer.from(image.config).toString("base64");
  await write(new TextEncoder().encode(`${JSON.stringify({ config, layers })}\n`));
  for (let line = await questions.next(); !line.done; line = await questions.next()) {
    const layer = image.layers[Number(line.value)];
    if (layer === undefined) throw new PushError("IMAGE_INVALID", `The image has no layer "${line.value}".`);
    for await (const piece of layer.read(signal)) await write(piece);
  }
}
