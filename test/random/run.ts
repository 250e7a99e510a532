/** Random graphs from seed to seed: `node dist/test/random/run.js [--from SEED] [--count N] [--only OP,OP] [--show] [--reduce]`. */
import { parseArgs } from "node:util";
import { printGraph } from "../../src/graph/text.js";
import type { CompileOptions } from "../../src/index.js";
import { randomCase } from "./case.js";
import { checkCase } from "./check.js";
import { reduceCase } from "./reduce.js";

const { values } = parseArgs({
  options: {
    from: { type: "string" },
    count: { type: "string" },
    only: { type: "string" },
    show: { type: "boolean" },
    reduce: { type: "boolean" },
  },
});
const from = Number(values.from ?? 0);
const count = Number(values.count ?? 100);
const began = performance.now();
const kinds: Record<string, number> = {};
const wordsOf = ({ fastMath = [], fp32Cast }: CompileOptions) =>
  [...fastMath, ...(fp32Cast ? [`--fp32-cast ${fp32Cast}`] : [])].join() || "default";
for (let seed = from; seed < from + count; seed++) {
  try {
    const test = randomCase(seed, values.only?.split(","));
    if (values.show) process.stdout.write(`${printGraph(test.graph, { elideConstants: true })}\n${JSON.stringify(test.options)}\n`);
    const failure = await checkCase(test);
    kinds[failure?.kind ?? "passed"] = (kinds[failure?.kind ?? "passed"] ?? 0) + 1;
    if (failure) process.stdout.write(`${seed} ${test.placement} ${wordsOf(test.options)} ${failure.kind}: ${failure.detail}\n`);
    if (failure && values.reduce) {
      const small = await reduceCase(test, failure);
      process.stdout.write(`${printGraph(small.graph, { elideConstants: true })}${JSON.stringify(small.options)}\n`);
    }
  } catch (error) {
    kinds.harness = (kinds.harness ?? 0) + 1;
    process.stdout.write(`${seed} harness: ${error instanceof Error ? error.stack : error}\n`);
  }
}
process.stdout.write(`${JSON.stringify(kinds)} ${((performance.now() - began) / count).toFixed(1)} ms a graph\n`);
