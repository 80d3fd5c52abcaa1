import type { Credentials } from "../registry/auth/credentials.ts";

/** Credentials that an earlier `docker login` or `podman login` left behind. */
export type Login = {
  readonly credentials: Credentials;
  /** Where they were found, in words: `~/.docker/config.json`. */
  readonly from: string;
};
