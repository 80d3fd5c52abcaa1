import { Command } from "commander";
import { PushError } from "../errors.ts";
import { defineCommand } from "./command.ts";
import { parseArguments } from "./parse-arguments.ts";

/** Prints the help of a command, which is that of `push` where none is named. */
export const HELP = defineCommand<{ readonly name: string }>({
  program: helpProgram,
  parse(args) {
    const program = helpProgram();
    return parseArguments(program, args) ?? { name: program.args[0] ?? "push" };
  },
  async run({ name }, { commands, process }) {
    const command = commands.find((each) => each.name === name);
    if (command === undefined) {
      throw new PushError("USAGE", `There is no command "${name}".`, {
        hint: `The commands are ${commands.map((each) => each.name).join(", ")}.`,
      });
    }
    const { program } = await command.load();
    process.stdout.write(parseArguments(program(), ["--help"]) ?? "");
    return 0;
  },
});

function helpProgram(): Command {
  return new Command("chunkpush help").description("Shows the help of a command.").argument("[command]");
}
