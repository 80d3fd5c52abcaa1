/** How an upload of a registry other than serverless-registry differs from the specification. */
export type Profile = {
  /** What becomes of the bytes of a PATCH that breaks off. `broken`: they stay, and every further PATCH fails. */
  cut: "kept" | "forgotten" | "broken";
  /** The answer to PATCH and PUT where there is no such upload. */
  unknown: Refusal;
  /** The answer to GET where there is no such upload, and where `always` is set, to every GET. */
  status: Refusal & { always?: true };
  /** The answer to a PATCH that does not begin where the upload stands. It names no place. */
  misplaced: Refusal;
  /** The answer to a PATCH without Content-Range once something is there, or with `always`, to every one. */
  rangeless?: Refusal & { always?: true };
  /** The answer to a PUT that has a body. */
  wholePut?: Refusal;
  /** Every PATCH is written at the start, whatever Content-Range says. */
  overwrites?: true;
  /** Every `Location` carries a new state, and an older one leads nowhere. */
  signsState?: true;
  /** Sessions are in memory: a restart loses them. */
  forgetful?: true;
  /** Of a successful PATCH. @default 202 */
  patched?: 204;
  /** Of a DELETE. @default 204 */
  cancelled?: Refusal;
  /** Announced as OCI-Chunk-Min-Length. */
  minChunkBytes?: number;
};

export type Refusal = { status: number; code: string };

const UNKNOWN_404: Refusal = { status: 404, code: "BLOB_UPLOAD_UNKNOWN" };
const UNKNOWN_400: Refusal = { status: 400, code: "BLOB_UPLOAD_UNKNOWN" };
const RANGE_INVALID: Refusal = { status: 416, code: "RANGE_INVALID" };
/** "Stream uploads after first write are not allowed" */
const NO_STREAM: Refusal = { status: 400, code: "BLOB_UPLOAD_INVALID" };

/** Each line as measured at the registry, and where its code has it. */
export const PROFILES = {
  // registry/handlers/blobupload.go: `_state` is an HMAC of the offset, which a cut body moves.
  "distribution-2": {
    cut: "forgotten",
    unknown: UNKNOWN_404,
    status: UNKNOWN_404,
    misplaced: RANGE_INVALID,
    signsState: true,
  },
  // Version 3.1: GET tells the bytes of a cut PATCH.
  "distribution-3": { cut: "kept", unknown: UNKNOWN_404, status: UNKNOWN_404, misplaced: RANGE_INVALID },
  // Deletes an upload whose PATCH was cut.
  zot: { cut: "forgotten", unknown: UNKNOWN_404, status: UNKNOWN_404, misplaced: RANGE_INVALID },
  // blob.go: 400 wherever the session is gone.
  olareg: {
    cut: "kept",
    unknown: UNKNOWN_400,
    status: UNKNOWN_400,
    misplaced: RANGE_INVALID,
    forgetful: true,
  },
  // pkg/registry/blobs.go: GET takes the upload's name for a digest, there is no DELETE, an unknown upload is empty.
  "go-containerregistry": {
    cut: "kept",
    unknown: { status: 416, code: "BLOB_UPLOAD_UNKNOWN" },
    status: { status: 400, code: "NAME_INVALID", always: true },
    misplaced: { status: 416, code: "BLOB_UPLOAD_UNKNOWN" },
    rangeless: NO_STREAM,
    patched: 204,
    cancelled: { status: 400, code: "METHOD_UNKNOWN" },
    forgetful: true,
  },
  // routers/api/packages/container/container.go; a cut body is in the file, and not in the database.
  gitea: {
    cut: "broken",
    unknown: UNKNOWN_404,
    status: UNKNOWN_404,
    misplaced: { status: 416, code: "BLOB_UPLOAD_INVALID" },
    rangeless: NO_STREAM,
  },
  // ociregistry/ociserver/writer.go
  cuelabs: {
    cut: "kept",
    unknown: UNKNOWN_404,
    status: UNKNOWN_404,
    misplaced: RANGE_INVALID,
    rangeless: { ...RANGE_INVALID, always: true },
    cancelled: { status: 405, code: "METHOD_NOT_ALLOWED" },
    minChunkBytes: 8192,
  },
  // The Rust crate `container-registry`: "feature not supported".
  "container-registry": {
    cut: "kept",
    unknown: UNKNOWN_404,
    status: UNKNOWN_404,
    misplaced: RANGE_INVALID,
    wholePut: { status: 500, code: "UNKNOWN" },
    overwrites: true,
  },
} as const satisfies Record<string, Profile>;

export type ProfileName = keyof typeof PROFILES;
