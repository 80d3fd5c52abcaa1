// Commands that only this program and its scripts start. No image has such a name.

/** A push starts this program with it in Podman's user namespace. */
export const STORAGE_READER = "__read-podman-storage";

/** The completion scripts ask with it what to offer. */
export const COMPLETE = "__complete";
