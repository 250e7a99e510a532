/** Faults of a command line, in our words. */
import type { CommanderError } from "commander";

export function usageMessage(error: CommanderError): string {
  if (error.code === "commander.help") return "a command is missing; see --help";
  return `${error.message.replace(/^error: /, "").replace(/\n/g, " ")}; see --help`;
}
