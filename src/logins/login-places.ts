import { join } from "node:path";

/** The facts that determine where login files are. */
export type LoginEnvironment = {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly platform: NodeJS.Platform;
  /** Undefined on systems without numeric user IDs. */
  readonly userId: number | undefined;
};

/**
 * Lists the files that may hold logins, Docker's before Podman's. Environment variables replace the default paths.
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
  // Podman writes here for users without a session, such as root in a container.
  const session = platform === "linux" && userId !== undefined ? [`/run/containers/${userId}/auth.json`] : [];
  return [docker, ...session, usual];
}

/** Shortens the home folder to `~`, as in `~/.docker/config.json`. */
export function displayPath(path: string, home: string): string {
  return path.startsWith(join(home, "/")) ? join("~", path.slice(home.length)) : path;
}
