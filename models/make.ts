/** Writes a generated network as an ONNX file: `node dist/models/make.js NAME OUT.onnx [--batch N] [--sequence N] [--layers N] [--seed N]`. */
import { mkdirSync, writeFileSync } from "node:fs";
import { dirname } from "node:path";
import { parseArgs } from "node:util";
import { writeOnnx } from "../src/frontend/onnx/write.js";
import { networks } from "./networks.js";

const usage = `usage: make.js NAME OUT.onnx [--batch N] [--sequence N] [--layers N] [--seed N]\n  NAME: ${Object.keys(networks).join(", ")}\n`;

function wholeNumber(text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  if (!/^\d+$/.test(text)) throw new Error(`${text} is not a whole number`);
  return Number(text);
}

function main(): number {
  try {
    const options = {
      batch: { type: "string" },
      sequence: { type: "string" },
      layers: { type: "string" },
      seed: { type: "string" },
    } as const;
    const { positionals, values } = parseArgs({ options, allowPositionals: true });
    const [name, path] = positionals;
    const network = Object.hasOwn(networks, name) ? networks[name] : undefined;
    if (network === undefined) throw new Error(`no network ${name}`);
    if (positionals.length !== 2) throw new Error("give one file to write");
    mkdirSync(dirname(path), { recursive: true });
    const [batch, sequence, layers, seed] = [values.batch, values.sequence, values.layers, values.seed].map(wholeNumber);
    writeFileSync(path, writeOnnx(network({ batch, sequence, layers, seed })));
    return 0;
  } catch (error) {
    process.stderr.write(`${error instanceof Error ? error.message : String(error)}\n${usage}`);
    return 1;
  }
}

process.exitCode = main();
