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
 * Reads an image in Podman's storage for another process without access (`openUnshared`). The first line names the image; the
 * answer is a line with its config and layers. Each further line is a layer's index; the answer is the layer's bytes. Throws
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
