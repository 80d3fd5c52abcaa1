import { createInterface } from "node:readline";
import { messageOf, PushError } from "../errors.ts";
import { serveStorage } from "../push/serve-storage.ts";

/** Reads an image of rootless Podman's storage for the push that started this process. @returns the exit code */
export async function runStorageReader({ stdin, stderr, geteuid }: NodeJS.Process): Promise<number> {
  try {
    // The process is root in the namespace that Podman makes.
    if (geteuid?.() !== 0 || stdin.isTTY)
      throw new PushError("USAGE", "Only a push runs this, with podman unshare.");
    const stdout = Bun.stdout.writer();
    await serveStorage(createInterface({ input: stdin }), async (bytes) => {
      stdout.write(bytes);
      await stdout.flush();
    });
    return 0;
  } catch (error) {
    // A push closes the pipe when it needs no more layers.
    if ((error as { code?: unknown }).code === "EPIPE") return 0;
    stderr.write(`Error: ${messageOf(error)}\n`);
    return 1;
  }
}
