/** `neuronc memory-plan`: the memory allocator on an instance from a file. */
import type { Command } from "commander";
import { userError } from "../diagnostics/diagnostic.js";
import { wholeNumber } from "../options/values.js";
import { allocate } from "../schedule/allocate.js";
import { parseMemoryInstance, printMemoryPlan } from "../schedule/plan/instance.js";
import { checkWritable, readText, writeWhole } from "./files.js";
import { type Streams, Terminal } from "./terminal.js";

/** Nodes times buffers that are searched by default, as each node looks at many: under a minute. */
const WORK_LIMIT = 1e9;
/** Fewer buffers don't make nodes cheaper. */
const LEAST_BUFFERS = 200;

interface Flags {
  readonly capacity: number;
  readonly output?: string;
  readonly nodeLimit?: number;
  readonly json?: boolean;
}

export function addMemoryPlan(program: Command, streams: Streams): void {
  program
    .command("memory-plan <file>")
    .description("give buffers (CSV: id,lower,upper,size) offsets so that no two that live at once overlap")
    .requiredOption("--capacity <bytes>", "where every buffer must end", wholeNumber("--capacity", 0, 1e15 - 1))
    .option("--output <file>", "write the CSV with the column offset there, not on stdout")
    .option(
      "--node-limit <n>",
      `nodes searched before it gives up (default: ${WORK_LIMIT / LEAST_BUFFERS}, fewer where buffers are more than ${LEAST_BUFFERS})`,
      wholeNumber("--node-limit", 0, 1e12),
    )
    .option("--json", "print one JSON object")
    .action((file: string, flags: Flags) => {
      const began = performance.now();
      const { capacity, output, json } = flags;
      const items = parseMemoryInstance(file, readText(file));
      if (output) checkWritable(output);
      const tooLarge = items.find((item) => item.size > capacity);
      if (tooLarge) throw userError("NCC0604", { file, capacity, reason: `buffer ${tooLarge.id} alone has ${tooLarge.size}` });
      const nodeLimit = flags.nodeLimit ?? Math.ceil(WORK_LIMIT / Math.max(LEAST_BUFFERS, items.length));
      const { offsets, peak, bound, fits, nodes, impossible } = allocate(items, { capacity, goal: capacity, nodeLimit });
      if (bound > capacity) throw userError("NCC0604", { file, capacity, reason: `${bound} live at once` });
      if (impossible) throw userError("NCC0604", { file, capacity, reason: `every arrangement was tried, in ${nodes} nodes` });
      if (!fits) throw userError("NCC0605", { file, capacity, nodes, peak, bound });
      const plan = printMemoryPlan(items, offsets);
      if (output) writeWhole(output, plan);
      const terminal = new Terminal(streams, "WARN", json);
      if (json) {
        const seconds = (performance.now() - began) / 1000;
        const placed = items.map(({ id }, index) => ({ id, offset: offsets[index] }));
        return terminal.object({ output, peak, bound, gap: bound > 0 ? peak / bound - 1 : 0, nodes, seconds, buffers: placed });
      }
      if (output) terminal.print(`peak ${peak}, at least ${bound}; ${output} written`);
      else terminal.print(plan.trimEnd());
    });
}
