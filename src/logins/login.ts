import type { Credentials } from "../registry/auth/credentials.ts";

/** Credentials that `docker login` or `podman login` saved. */
export type Login = {
  readonly credentials: Credentials;
  /** The source, for messages: `~/.docker/config.json`. */
  readonly from: string;
};
