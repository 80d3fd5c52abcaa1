/** The engines whose images can be pushed, in the order in which they are asked. */
export const RUNTIMES = ["docker", "podman", "nerdctl"] as const;

export type Runtime = (typeof RUNTIMES)[number];

export type Environment = Readonly<Record<string, string | undefined>>;

/** An engine, and how its command is run. Hosts, contexts, connections and namespaces are the command's own. */
export type Engine = {
  readonly runtime: Runtime;
  /** The command's name. Podman may stand behind `docker`. */
  readonly command: Runtime;
  readonly environment: Environment;
  readonly signal: AbortSignal;
};
