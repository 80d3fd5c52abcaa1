import type { UploadState } from "./upload-state.ts";

const JSON_TYPE = "application/json;charset=UTF-8";

/** The error body of the distribution spec, in the registry's own formatting. */
export function registryError(
  status: number,
  code: string,
  message: string,
  detail: unknown = null,
): Response {
  return Response.json(
    { errors: [{ code, message, detail }] },
    { status, headers: { "Content-Type": JSON_TYPE } },
  );
}

/** The Worker's answer to everything it did not foresee, unknown and dead sessions included. */
export function internalError(): Response {
  return registryError(500, "INTERNAL_ERROR", "internal error");
}

export function manifestError(code: string, message: string): Response {
  return registryError(400, code, message, {});
}

export function blobUnknown(): Response {
  const detail = { message: "This error may be returned when a layer blob is unknown to the registry." };
  const body = { errors: [{ code: "BLOB_UNKNOWN", message: "blob unknown to registry", detail }] };
  // No content type of its own: the Worker's default for a string.
  return new Response(JSON.stringify(body), {
    status: 404,
    headers: { "Content-Type": "text/plain;charset=UTF-8" },
  });
}

export function manifestUnknown(reference: string): Response {
  return registryError(404, "MANIFEST_UNKNOWN", "manifest unknown", { Tag: reference });
}

/** Not relative to anything: path and query only, without scheme and host. */
export function uploadLocation(state: UploadState): string {
  return `/v2/${state.repository}/blobs/uploads/${state.uuid}?_stateHash=${state.stateHash}`;
}

/** Inclusive, thus `0--1` while nothing is stored. */
export function storedRange(state: UploadState): string {
  return `0-${state.offset - 1}`;
}

/**
 * The session is elsewhere than the request believes. Carries the current Location, so the client can go on from
 * it. The body dumps the whole state, as the real one does.
 */
export function rangeError(state: UploadState): Response {
  const message = `stateHash ${state.stateHash} does not match state (upload id: ${state.uuid})`;
  const detail = { ...state, string: state.stateHash };
  return new Response(JSON.stringify({ errors: [{ code: "RANGE_ERROR", message, detail }] }), {
    status: 416,
    headers: {
      Location: uploadLocation(state),
      Range: storedRange(state),
      "Docker-Upload-UUID": state.uuid,
      "Content-Type": "text/plain;charset=UTF-8",
    },
  });
}
