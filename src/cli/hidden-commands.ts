// Commands that only this program and its scripts start. No image can have such a name.

/** A push uses it to start this program in Podman's user namespace. */
export const STORAGE_READER = "__read-podman-storage";

/** Completion scripts use it to ask for candidates. */
export const COMPLETE = "__complete";
