/** The engines whose images can be pushed, in the order in which chunkpush asks them. */
export const RUNTIMES = ["docker", "podman", "nerdctl"] as const;

export type Runtime = (typeof RUNTIMES)[number];

export type Environment = Readonly<Record<string, string | undefined>>;

/** An engine, and how to run its command, which chooses hosts, contexts, connections and namespaces itself. */
export type Engine = {
  readonly runtime: Runtime;
  /** The command's name. `docker` may be Podman's. */
  readonly command: Runtime;
  readonly environment: Environment;
  readonly signal: AbortSignal;
};
