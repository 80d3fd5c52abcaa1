import { existsSync } from "node:fs";
import { readdir, rm } from "node:fs/promises";
import * as v from "valibot";
import { type Disk, readText, writeText } from "./disk.ts";

const uploadStateSchema = v.object({
  uuid: v.string(),
  repository: v.string(),
  /** Opaque to clients, and new with every stored chunk: it proves that they know the last answer. */
  stateHash: v.string(),
  /** Bytes stored. */
  offset: v.number(),
  partSizes: v.pipe(v.array(v.number()), v.readonly()),
  /**
   * R2 has put the parts together. Nothing can be added any more, and a second completion fails: this is how a
   * closing PUT with a wrong digest kills the session.
   */
  completed: v.boolean(),
});

export type UploadState = v.InferOutput<typeof uploadStateSchema>;

const UUID = /^[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}$/;

export async function createUpload(disk: Disk, repository: string): Promise<UploadState> {
  const uuid = crypto.randomUUID();
  const state = { uuid, repository, stateHash: newStateHash(), offset: 0, partSizes: [], completed: false };
  await saveUpload(disk, state);
  return state;
}

/** The session's state; nothing when it never was, is finished, was cancelled or belongs to another repository. */
export async function readUpload(
  disk: Disk,
  repository: string,
  uuid: string,
): Promise<UploadState | undefined> {
  if (!UUID.test(uuid)) return undefined;
  const text = await readText(disk.path(repository, "_uploads", uuid, "state.json"));
  return text === undefined ? undefined : v.parse(uploadStateSchema, JSON.parse(text));
}

export function withPart(state: UploadState, sizeBytes: number): UploadState {
  return {
    ...state,
    stateHash: newStateHash(),
    offset: state.offset + sizeBytes,
    partSizes: [...state.partSizes, sizeBytes],
  };
}

export async function saveUpload(disk: Disk, state: UploadState): Promise<void> {
  await writeText(
    disk,
    disk.path(state.repository, "_uploads", state.uuid, "state.json"),
    JSON.stringify(state),
  );
}

export async function deleteUpload(disk: Disk, state: UploadState): Promise<void> {
  await rm(disk.path(state.repository, "_uploads", state.uuid), { recursive: true, force: true });
}

/** Ends all uploads, as a restart does where they are in memory. */
export async function forgetUploads(disk: Disk): Promise<void> {
  const objects = disk.path();
  if (!existsSync(objects)) return;
  for await (const uploads of new Bun.Glob("**/_uploads").scan({ cwd: objects, onlyFiles: false })) {
    await rm(disk.path(uploads), { recursive: true, force: true });
  }
}

export function partPath(disk: Disk, state: UploadState, index: number): string {
  return disk.path(state.repository, "_uploads", state.uuid, `part-${index}`);
}

/** The parts of a completed upload are no longer needed; its state still is, for GET goes on answering. */
export async function deleteParts(disk: Disk, state: UploadState): Promise<void> {
  const directory = disk.path(state.repository, "_uploads", state.uuid);
  const parts = (await readdir(directory)).filter((name) => name.startsWith("part-"));
  await Promise.all(parts.map((name) => rm(disk.path(state.repository, "_uploads", state.uuid, name))));
}

function newStateHash(): string {
  return Buffer.from(crypto.getRandomValues(new Uint8Array(32))).toString("hex");
}
