import { join } from "node:path";

/** What decides where login files are. */
export type LoginEnvironment = {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly platform: NodeJS.Platform;
  /** Undefined where users have no numbers. */
  readonly userId: number | undefined;
};

/**
 * The files in which logins may be, Docker's before Podman's. What the environment names replaces the usual place.
 *
 * https://docs.docker.com/reference/cli/docker/login/ and
 * https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 */
export function loginPlaces({ variables, home, platform, userId }: LoginEnvironment): string[] {
  const docker = join(variables["DOCKER_CONFIG"] || join(home, ".docker"), "config.json");
  const named = variables["REGISTRY_AUTH_FILE"];
  if (named) return [docker, named];
  const usual = join(home, ".config", "containers", "auth.json");
  const runtime = variables["XDG_RUNTIME_DIR"];
  if (runtime) return [docker, join(runtime, "containers", "auth.json"), usual];
  // Where Podman writes for users without a session, root in a container among them.
  const session = platform === "linux" && userId !== undefined ? [`/run/containers/${userId}/auth.json`] : [];
  return [docker, ...session, usual];
}

/** A path as the user knows it: `~/.docker/config.json`. */
export function displayPath(path: string, home: string): string {
  return path.startsWith(join(home, "/")) ? join("~", path.slice(home.length)) : path;
}
