import { join } from "node:path";

/** The facts that determine where login files are. */
export type LoginEnvironment = {
  readonly variables: Readonly<Record<string, string | undefined>>;
  readonly home: string;
  readonly platform: NodeJS.Platform;
  /** Undefined on systems without numeric user IDs. */
  readonly userId: number | undefined;
  /** The only file to use, as `--authfile` names it. It has Podman's format. */
  readonly authFile?: string | undefined;
};

/** The file that a login is saved in. */
export type SavingPlace = {
  readonly path: string;
  /** Docker Hub has another key in Docker's file than in Podman's. */
  readonly isDockers: boolean;
};

/**
 * Returns the file that logins are saved in: Docker's, which Podman and skopeo read as well, unless one is named.
 */
export function savingPlace({ variables, home, authFile }: LoginEnvironment): SavingPlace {
  const named = authFile ?? variables["REGISTRY_AUTH_FILE"];
  return named ? { path: named, isDockers: false } : { path: dockerConfig(variables, home), isDockers: true };
}

function dockerConfig(variables: LoginEnvironment["variables"], home: string): string {
  return join(variables["DOCKER_CONFIG"] || join(home, ".docker"), "config.json");
}

/**
 * Lists the files that may hold logins, Docker's before Podman's unless `REGISTRY_AUTH_FILE` names that. Environment
 * variables replace the default paths.
 *
 * https://docs.docker.com/reference/cli/docker/login/ and
 * https://github.com/containers/image/blob/main/docs/containers-auth.json.5.md
 */
export function loginPlaces({ variables, home, platform, userId, authFile }: LoginEnvironment): string[] {
  if (authFile !== undefined) return [authFile];
  const docker = dockerConfig(variables, home);
  const named = variables["REGISTRY_AUTH_FILE"];
  if (named) return [named, docker];
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
