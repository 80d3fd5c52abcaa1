import type { Descriptor } from "../oci/descriptor.ts";
import type { Repository } from "../registry/registry.ts";
import { ensureBlob } from "../registry/upload/ensure.ts";
import type { NamedBlob } from "../registry/upload/outgoing.ts";
import { type SendOptions, sendBlob } from "../registry/upload/send-blob.ts";
import type { BlobTitle } from "../report/events.ts";
import { type Context, callOf } from "./context.ts";
import type { SpoolFile } from "./spool.ts";

/** Sends a growing blob, whose digest the client sends at its end. Throws the errors of `sendBlob`. */
export async function sendGrowing(context: Context, at: Repository, file: SpoolFile): Promise<Descriptor> {
  const blob = context.activity.title(at.name);
  const options = optionsOf(context, blob, file, context.signal);
  const sent = await at.registry.sending.run(file.sizeBytes, (turn) => sendBlob(at, file, options, turn));
  context.activity.sent(at.name, blob, sent);
  return sent.descriptor;
}

/**
 * Sends a blob with a known digest, unless the registry has it. Throws the errors of `ensureBlob`.
 *
 * @param signal ends the upload so that a later push of the blob resumes it
 */
export async function sendNamed(
  context: Context,
  at: Repository,
  file: SpoolFile & NamedBlob,
  signal: AbortSignal,
): Promise<Descriptor> {
  const { descriptor } = file;
  const blob = context.activity.title(at.name, descriptor.digest);
  const isLacking = context.commits.isLacking(at.name, descriptor.digest);
  const ensured = await ensureBlob(at, file, {
    ...optionsOf(context, blob, file, signal),
    locks: context.locks,
    onWaiting() {
      file.wait();
      context.report({ type: "blob", ...blob, state: "awaiting-upload" });
    },
    mountFrom: context.mountFrom,
    mayMount: !isLacking,
  });
  // Verify the client's bytes even if the registry has the blob.
  await file.end;
  if (ensured.how === "sent") context.activity.sent(at.name, blob, ensured);
  else if (ensured.how === "mounted") context.activity.mounted(at.name, descriptor.digest, ensured.from);
  else context.activity.present(at.name, descriptor);
  return descriptor;
}

function optionsOf(context: Context, blob: BlobTitle, file: SpoolFile, signal: AbortSignal): SendOptions {
  const { chunkBytes, allowOversize, report } = context;
  return {
    ...callOf(context, blob),
    signal,
    abort: context.abort,
    chunkBytes,
    allowOversize,
    onProgress: (doneBytes, keptBytes, chunkBytes) =>
      report({
        type: "blob",
        ...blob,
        state: "uploading",
        doneBytes,
        keptBytes,
        chunkBytes,
        totalBytes: file.descriptor?.size ?? (file.grows ? undefined : file.sizeBytes),
      }),
    onRefused: (bodyBytes) => report({ type: "notice", code: "BODY_REFUSED", ...blob, bodyBytes }),
  };
}
