import type { Disk } from "./disk.ts";
import type { KeyedLock } from "./keyed-lock.ts";
import type { Profile } from "./profiles.ts";

type Limits = {
  minChunkBytes: number;
  maxChunkBytes: number;
  maxParts: number;
};

/** What every handler needs to know of the registry it works for. */
export type RegistryContext = {
  disk: Disk;
  limits: Limits;
  chunkHints: boolean;
  /** Undefined: serverless-registry. */
  profile: Profile | undefined;
  /** Serialises the state changes of one upload session; the key is its UUID. */
  lock: KeyedLock;
};
