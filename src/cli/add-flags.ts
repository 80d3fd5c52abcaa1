import { Command, Option } from "commander";

/** Makes the parser of a command. @param usage its arguments, as its help shows them */
export function commandProgram(name: string, usage: string): Command {
  return new Command(`chunkpush ${name}`).usage(usage).helpOption("-h, --help", "show this help");
}

/** A flag and its text in the help. */
export type FlagHelp = readonly [flag: string, description: string, kind?: "repeatable" | "hidden"];

/** Adds flags to a command's parser, in a group of its help. */
export function addFlags(program: Command, group: string, flags: readonly FlagHelp[]): Command {
  for (const [flag, description, kind] of flags) {
    const option = new Option(flag, description).helpGroup(`${group}:`);
    const collect = (value: string, before: readonly string[] = []) => [...before, value];
    if (kind === "repeatable") option.argParser(collect);
    program.addOption(option.hideHelp(kind === "hidden"));
  }
  return program;
}
