/** One stage, from its graph to a core's program: lowered and scheduled with as much kept on chip as fits. */
import { userError } from "../diagnostics/diagnostic.js";
import { type Graph, isStatic } from "../graph/graph.js";
import { elementCount } from "../graph/tensor.js";
import { type Budget, lower, type Relayout } from "../lower/index.js";
import type { Step } from "../lower/lowered.js";
import { checkProgram, describeFault } from "../program/check.js";
import type { LoadedProgram, Program } from "../program/program.js";
import { printOperation, printProgram } from "../program/text.js";
import { schedule } from "../schedule/index.js";

import { printMemoryPlan } from "../schedule/plan/instance.js";
import { assertSound } from "./checked.js";
import type { CompileOptions } from "./options.js";
import { type StageMemory, stageMemory } from "./report.js";

export interface StageOptions extends Pick<CompileOptions, "progress" | "log" | "observe" | "verifyEach" | "enableFastContextSwitch"> {
  /** Bit by bit by default. */
  readonly relayout?: Relayout;
}

export interface CompiledStage {
  readonly graph: Graph;
  readonly loaded: LoadedProgram;
  readonly memory: StageMemory;
}

/**
 * A core's program for a stage of a Neuron subgraph, after precision was applied, with the first of the budgets that the schedule fits in.
 * Errors: NCC0690 where there is none.
 */
export function compileStage(graph: Graph, budgets: readonly Budget[], options: StageOptions): CompiledStage {
  let needed = "";
  for (const budget of budgets) {
    options.progress?.("lower");
    const lowered = lower(graph, budget, options.relayout);
    options.observe?.("lower", graph.name, () => [...lowered.load, ...lowered.infer].map(stepText).join(""));
    options.progress?.("schedule");
    const result = schedule(lowered);
    if (!result.fits) {
      needed = `${result.neededBytes} bytes of ${result.memory}, there are ${result.capacityBytes}`;
      options.log?.("DEBUG", `${graph.name}: with budget ${JSON.stringify(budget)} it needs ${needed}`);
      continue;
    }
    const { program, report: facts, sbuf } = result;
    options.observe?.("allocate", graph.name, () => printMemoryPlan(sbuf.items, sbuf.offsets));
    options.observe?.("schedule", graph.name, () => printProgram(program));
    if (options.verifyEach) verifyProgram(program);
    const loaded = { program, constants: lowered.constants };
    return { graph, loaded, memory: stageMemory(loaded, facts) };
  }
  throw userError("NCC0690", { name: graph.name, needed, largest: largestValues(graph) });
}

/** Name, element type and shape of the three values with most elements. */
function largestValues(graph: Graph): string {
  return [...graph.types]
    .flatMap(([name, type]) => (isStatic(type) ? [{ name, type, count: elementCount(type.shape) }] : []))
    .sort((a, b) => b.count - a.count)
    .slice(0, 3)
    .map(({ name, type }) => `${name} ${type.dtype}[${type.shape.join(", ")}]`)
    .join(", ");
}

function stepText({ engine, operation, origin }: Step): string {
  return `${engine} ${printOperation(operation)} of ${JSON.stringify(origin)}\n`;
}

function verifyProgram(program: Program): void {
  assertSound(`schedule ${program.name}`, checkProgram(program).map(describeFault));
}
