/** The table's options as flags of a command. */
import { type Command, Option } from "commander";
import { flagParts } from "../options/arguments.js";
import { type FlagValues, type OptionName, rows } from "../options/table.js";

/** What commander gives for a command with all of these flags. */
export type OptionFlags = Partial<FlagValues>;

/** An option that is known by its name in the table; `--no-fuse-ops` is no negation. */
class NamedOption extends Option {
  constructor(
    private readonly option: OptionName,
    flag: string,
    help: string,
  ) {
    super(flag, help);
    this.negate = false;
  }

  override attributeName(): string {
    return this.option;
  }
}

function optionsOf<Name extends OptionName>(name: Name): Option[] {
  const { flag, older, help, parse } = rows[name];
  const make = (text: string, description: string) =>
    new NamedOption(name, text, description).argParser<FlagValues[Name] | undefined>(parse(flagParts(text).name));
  return [make(flag, help), ...(older ? [make(older, `older name of ${flagParts(flag).name}`)] : [])];
}

/** Gives a command the flags of these options. */
export function withOptions(command: Command, names: readonly OptionName[]): Command {
  for (const option of names.flatMap((name) => optionsOf(name))) command.addOption(option);
  return command;
}
