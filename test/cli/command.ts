/** Runs a command in this process, its streams caught. */
import { type CommandFactory, runCommand } from "../../src/cli/main.js";

export interface Outcome {
  readonly code: number;
  readonly out: string;
  readonly err: string;
}

export async function command(factory: CommandFactory, ...words: string[]): Promise<Outcome> {
  let out = "";
  let err = "";
  const streams = {
    out: (text: string) => {
      out += text;
    },
    err: (text: string) => {
      err += text;
    },
    interactive: false,
  };
  const code = await runCommand(factory, words, streams);
  return { code, out, err };
}
