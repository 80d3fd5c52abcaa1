import { expect, test } from "bun:test";
import {
  displayPath,
  type LoginEnvironment,
  loginPlaces,
  savingPlace,
} from "../../src/logins/login-places.ts";

const LINUX: LoginEnvironment = { variables: {}, home: "/home/me", platform: "linux", userId: 1000 };
const DOCKER = "/home/me/.docker/config.json";
const PODMAN = "/home/me/.config/containers/auth.json";

test.each<[string, Partial<LoginEnvironment>, string[]]>([
  ["nothing is set", {}, [DOCKER, "/run/containers/1000/auth.json", PODMAN]],
  ["root has no session", { userId: 0 }, [DOCKER, "/run/containers/0/auth.json", PODMAN]],
  ["the system is macOS", { platform: "darwin" }, [DOCKER, PODMAN]],
  ["the system is Windows", { platform: "win32", userId: undefined }, [DOCKER, PODMAN]],
  [
    "there is a session",
    { variables: { XDG_RUNTIME_DIR: "/run/user/1000" } },
    [DOCKER, "/run/user/1000/containers/auth.json", PODMAN],
  ],
  [
    "Docker's folder is named",
    { platform: "darwin", variables: { DOCKER_CONFIG: "/etc/docker-me" } },
    ["/etc/docker-me/config.json", PODMAN],
  ],
  [
    "Podman's file is named",
    { variables: { REGISTRY_AUTH_FILE: "/tmp/auth.json", XDG_RUNTIME_DIR: "/run/user/1000" } },
    ["/tmp/auth.json", DOCKER],
  ],
  [
    "a flag names the only file",
    { authFile: "auth.json", variables: { REGISTRY_AUTH_FILE: "x" } },
    ["auth.json"],
  ],
  [
    "variables are empty",
    { platform: "darwin", variables: { DOCKER_CONFIG: "", REGISTRY_AUTH_FILE: "", XDG_RUNTIME_DIR: "" } },
    [DOCKER, PODMAN],
  ],
])("logins are looked for in the files of Docker and Podman where %s", (_, environment, places) => {
  expect(loginPlaces({ ...LINUX, ...environment })).toEqual(places);
});

test.each<[string, Partial<LoginEnvironment>, string, boolean]>([
  ["Docker's file", {}, DOCKER, true],
  ["Docker's file in its own folder", { variables: { DOCKER_CONFIG: "/etc/d" } }, "/etc/d/config.json", true],
  ["the file of REGISTRY_AUTH_FILE", { variables: { REGISTRY_AUTH_FILE: "a.json" } }, "a.json", false],
  [
    "the file of the flag",
    { authFile: "b.json", variables: { REGISTRY_AUTH_FILE: "a.json" } },
    "b.json",
    false,
  ],
])("a login is saved in %s", (_, environment, path, isDockers) => {
  expect(savingPlace({ ...LINUX, ...environment })).toEqual({ path, isDockers });
});

test.each([
  [DOCKER, "/home/me", "~/.docker/config.json"],
  [DOCKER, "/home/me/", "~/.docker/config.json"],
  ["/home/meier/auth.json", "/home/me", "/home/meier/auth.json"],
  ["/etc/auth.json", "/home/me", "/etc/auth.json"],
])("the file %s is shown to a user whose home is %s as %s", (path, home, shown) => {
  expect(displayPath(path, home)).toBe(shown);
});
