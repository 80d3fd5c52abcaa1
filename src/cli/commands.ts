import type { NamedCommand } from "./command.ts";

/**
 * The commands, in the order of the help. The first argument names one; any other is an argument of `push`. An image of
 * such a name is written as `docker-daemon:cache`, a file as `./cache`.
 */
export const COMMANDS: readonly NamedCommand[] = [
  {
    name: "push",
    summary: "push an image; the default, so the word may be left out",
    load: async () => (await import("./push-command.ts")).PUSH,
  },
  {
    name: "check",
    summary: "check whether a push to a registry can work, and how its address is written",
    load: async () => (await import("./check-command.ts")).CHECK,
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
    summary: "be a local registry for docker push and others, which sends layers on in chunks",
    load: async () => (await import("./proxy-command.ts")).PROXY,
  },
  {
    name: "completion",
    summary: "print a script that makes TAB complete in bash, zsh or fish",
    load: async () => (await import("./completion/command.ts")).COMPLETION,
  },
  {
    name: "help",
    summary: "show the help of a command",
    load: async () => (await import("./help-command.ts")).HELP,
  },
];
