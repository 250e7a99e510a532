/** What every command shares: parsing with commander, errors to messages, exit codes. */
import type { Command } from "commander";
import { CommanderError } from "commander";
import { UserError, userError } from "../diagnostics/diagnostic.js";
import { version } from "../version.js";
import { processStreams, type Streams } from "./terminal.js";
import { usageMessage } from "./usage.js";

export const exitCodes = { success: 0, user: 1, internal: 70 } as const;

/** Makes a command; it prints on the given streams only. */
export type CommandFactory = (streams: Streams) => Command;

/** Runs a command line (the words after the command's name). Gives the exit code and never throws. */
export async function runCommand(factory: CommandFactory, words: readonly string[], streams: Streams): Promise<number> {
  try {
    const command = factory(streams);
    prepare(command, streams);
    await command.parseAsync([...words], { from: "user" });
    return exitCodes.success;
  } catch (error) {
    if (error instanceof CommanderError) {
      if (error.exitCode === 0) return exitCodes.success;
      streams.err(`${userError("NCC0401", { message: usageMessage(error) }).message}\n`);
      return exitCodes.user;
    }
    if (error instanceof UserError) {
      streams.err(`${error.message}\n`);
      return exitCodes.user;
    }
    streams.err(internalError(error, words));
    return exitCodes.internal;
  }
}

/** Runs a bin entry: the process's own words and streams. */
export async function main(factory: CommandFactory): Promise<void> {
  // A reader that goes away (`| head`) is no error of ours.
  process.stdout.on("error", (error: NodeJS.ErrnoException) => {
    if (error.code === "EPIPE") process.exit(exitCodes.success);
  });
  const words = process.argv.slice(2);
  // What escapes from a callback is a bug too.
  process.on("uncaughtException", (error) => {
    processStreams.err(internalError(error, words));
    process.exit(exitCodes.internal);
  });
  process.exitCode = await runCommand(factory, words, processStreams);
}

function prepare(command: Command, streams: Streams): void {
  command.exitOverride();
  command.configureOutput({ writeOut: (text) => streams.out(text), writeErr: () => undefined, outputError: () => undefined });
  for (const inner of command.commands) prepare(inner, streams);
}

/** The report of a bug. Without the stack: NEURONC_DEBUG=1 adds it. */
function internalError(error: unknown, words: readonly string[]): string {
  const cause = error instanceof Error ? error : new Error(String(error));
  const lines = [
    "ERROR: internal error: this is a bug in neuronc; please report it with the model and these lines",
    `  Error message: ${cause.message}`,
    `  Error class: ${cause.name}`,
    `  Command line: ${words.join(" ")}`,
    `  Version information: neuronc ${version}, Node ${process.version}`,
  ];
  if (process.env.NEURONC_DEBUG) lines.push(`  Internal details: ${cause.stack}`);
  else lines.push("  NEURONC_DEBUG=1 in the environment adds the stack");
  return `${lines.join("\n")}\n`;
}
