import type { NamedCommand } from "./command.ts";

/**
 * The commands, in the order of the help. Without a command's name in front, the arguments are those of `push`. An
 * image with a command's name is written as `docker-daemon:cache`, a file as `./cache`.
 */
export const COMMANDS: readonly NamedCommand[] = [
  {
    name: "push",
    summary: "push an image (the default)",
    load: async () => (await import("./push-command.ts")).PUSH,
  },
  {
    name: "plan",
    summary: "show what a push would do; nothing is sent or written",
    load: async () => (await import("./plan-command.ts")).PLAN,
  },
  {
    name: "check",
    summary: "check whether pushes to a registry can work",
    load: async () => (await import("./check-command.ts")).CHECK,
  },
  {
    name: "login",
    summary: "check a user name and a password, and save them as docker does",
    load: async () => (await import("./login-command.ts")).LOGIN,
  },
  {
    name: "logout",
    summary: "remove a saved login",
    load: async () => (await import("./logout-command.ts")).LOGOUT,
  },
  {
    name: "save",
    summary: "save images of docker, podman or nerdctl to archives",
    load: async () => (await import("./save-command.ts")).SAVE,
  },
  {
    name: "cache",
    summary: "show or prune the compressed layers of earlier pushes",
    load: async () => (await import("./cache-command.ts")).CACHE,
  },
  {
    name: "proxy",
    summary: "run a local registry that passes docker push on in chunks",
    load: async () => (await import("./proxy-command.ts")).PROXY,
  },
  {
    name: "completion",
    summary: "print the script for TAB in bash, zsh or fish",
    load: async () => (await import("./completion/command.ts")).COMPLETION,
  },
  {
    name: "help",
    summary: "show the help of a command",
    load: async () => (await import("./help-command.ts")).HELP,
  },
];
