import type { Call, Repository } from "../registry/registry.ts";
import type { ChunkLimits } from "../registry/upload/chunk-size.ts";
import { cancelUpload, startUpload, type UploadSession } from "../registry/upload/session.ts";

/** An upload that a check begins and cancels. */
export type TrialUpload = { session: UploadSession; readonly limits: ChunkLimits };

/** The time limit for cancelling, also after Ctrl-C. */
const CANCEL_MS = 3000;

/** POST: begins an upload. */
export async function startTrial(at: Repository, call: Call): Promise<TrialUpload> {
  const { limits, ...session } = await startUpload(at, call);
  return { session, limits };
}

/** DELETE: cancels an upload, even after an abort. */
export function cancelTrial(at: Repository, { session }: TrialUpload, call: Call): Promise<void> {
  return cancelUpload(at, session, { ...call, signal: AbortSignal.timeout(CANCEL_MS) });
}
