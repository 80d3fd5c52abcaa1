import * as v from "valibot";
import { PushError } from "../../errors.ts";
import { type Digest, digestOf, parseDiffId } from "../../oci/digest.ts";
import { object, parseJson } from "../../oci/json-schema.ts";
import { endOf, startEngine } from "../engine/command.ts";
import type { Engine } from "../engine/engine.ts";
import { misnamed } from "../files/image-files.ts";
import { readEngineInfo } from "./engine-info.ts";
import type { StoredImage } from "./stored-image.ts";

/** The config in base64, and the layers. */
const ANSWER = object({
  config: v.string(),
  layers: v.array(
    object({ diffId: v.string(), name: v.string(), size: v.pipe(v.number(), v.safeInteger()) }),
  ),
});

/** A process in Podman's user namespace, which answers one question at a time. */
type Reader = AsyncDisposable & {
  ask(question: string): void;
  /** Returns the next piece of its answers. Throws `FILE_FAILED` if it has ended. */
  next(): Promise<Uint8Array<ArrayBuffer>>;
  /** Asks for the image. Returns the answer, one line. */
  open(question: string): Promise<Uint8Array>;
};

/**
 * Opens an image in the storage of a rootless Podman, whose files belong to users of its user namespace. A command reads
 * them there with `podman unshare`: see `serveStorage`. Throws `FILE_FAILED`, `IMAGE_INVALID`, `CONTENT_MISMATCH`, and the
 * errors of asking the engine.
 *
 * @param command the command line that starts `serveStorage`
 */
export async function openUnshared(
  id: Digest,
  engine: Engine,
  command: readonly string[],
): Promise<StoredImage & AsyncDisposable> {
  const running = new AsyncDisposableStack();
  const idle: Reader[] = [];
  const startNext = () => running.use(startReader(command, engine));
  try {
    const first = startNext();
    // The process starts while Podman is asked for its folders.
    const question = JSON.stringify({ id, ...(await readEngineInfo(engine)) });
    const { config, layers } = parseJson(await first.open(question), ANSWER, "what is in Podman's storage");
    const configBytes = new Uint8Array(Buffer.from(config, "base64"));
    if (digestOf(configBytes) !== id) throw misnamed("the config in Podman's storage");
    idle.push(first);

    async function* read(index: number, size: number, signal: AbortSignal) {
      let reader = idle.pop();
      if (reader === undefined) {
        reader = startNext();
        await reader.open(question);
      }
      let leftBytes = size;
      try {
        reader.ask(`${index}`);
        while (leftBytes > 0) {
          const piece = await reader.next();
          signal.throwIfAborted();
          leftBytes -= piece.length;
          yield piece;
        }
      } finally {
        if (leftBytes === 0) idle.push(reader);
        else await reader[Symbol.asyncDispose]();
      }
    }

    return {
      config: configBytes,
      layers: layers.map(({ diffId, name, size }, i) => ({
        diffId: parseDiffId(diffId, `layer ${i + 1} in Podman's storage`),
        name,
        size,
        read: (signal) => read(i, size, signal),
      })),
      [Symbol.asyncDispose]: () => running.disposeAsync(),
    };
  } catch (error) {
    await running.disposeAsync();
    throw error;
  }
}

function startReader(command: readonly string[], engine: Engine): Reader {
  const child = startEngine(["unshare", ...command], engine, { stdin: "pipe", cwd: "/" });
  const stderr = child.stderr.text();
  const pieces = child.stdout.getReader();
  const reader: Reader = {
    ask(line) {
      try {
        child.stdin.write(`${line}\n`);
        Promise.resolve(child.stdin.flush()).catch(() => {});
      } catch {
        // The process has ended. next() throws the reason.
      }
    },
    async next() {
      const { value } = await pieces.read();
      if (value !== undefined) return value;
      const exitCode = await endOf(child, engine);
      const said = await stderr;
      const why =
        /^Error: (.+)$/m.exec(said)?.[1] ?? (said.trim().slice(-500) || `it exited with code ${exitCode}`);
      throw new PushError("FILE_FAILED", `Cannot read Podman's storage with "podman unshare": ${why}`, {
        hint: "Push an archive instead: podman save my/app:v1 --output image.tar",
      });
    },
    async open(question) {
      reader.ask(question);
      const answer: Uint8Array[] = [];
      do answer.push(await reader.next());
      while (answer.at(-1)?.at(-1) !== 0x0a);
      return Buffer.concat(answer);
    },
    async [Symbol.asyncDispose]() {
      // The signal may end Podman alone. The reader ends when its input and output are closed.
      child.kill();
      await Promise.allSettled([child.stdin.end(), pieces.cancel(), child.exited]);
    },
  };
  return reader;
}
