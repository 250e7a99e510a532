/** From a Neuron subgraph to the programs of its cores: cut into stages, each lowered and scheduled with as much kept on chip as fits. */
import { userError } from "./diagnostics/diagnostic.js";
import { type Graph, isStatic } from "./graph/graph.js";
import { elementCount } from "./graph/tensor.js";
import { printGraph } from "./graph/text.js";
import { hardware } from "./hardware/hardware.js";
import { type Budget, defaultBudget, lower, operatorCosts, RESIDENT_CAPACITY, residentBudget } from "./lower/index.js";
import type { Step } from "./lower/lowered.js";
import type { CompileOptions } from "./options.js";
import { type PipelinePlan, planPipeline } from "./pipeline/stages.js";
import { checkProgram, describeFault } from "./program/check.js";
import type { LoadedProgram, Program } from "./program/program.js";
import { printOperation, printProgram } from "./program/text.js";
import { type StageMemory, stageMemory } from "./report.js";
import { schedule } from "./schedule/index.js";

type StageOptions = Pick<CompileOptions, "progress" | "log" | "observe" | "verifyEach">;

/** Shares of the usual budget that lowering may keep on chip, tried in turn until the schedule fits. */
const BUDGET_SHARES = [1, 0.8, 0.6, 0.4, 0.2, 0];

export interface CompiledStage {
  readonly graph: Graph;
  readonly loaded: LoadedProgram;
  readonly memory: StageMemory;
}

export interface CompiledPipeline {
  readonly stages: readonly CompiledStage[];
  /** How it was cut; absent where one core was asked for. */
  readonly plan?: PipelinePlan;
}

/** Programs for at most `cores` cores from a Neuron subgraph, after precision was applied. Errors: NCC0690 where no plan fits a core's memory. */
export function compilePipeline(graph: Graph, cores: number, options: StageOptions): CompiledPipeline {
  if (cores === 1) return { stages: [compileStage(graph, defaultBudget, options)] };
  options.progress?.("pipeline");
  const costs = operatorCosts(graph, lower(graph));
  const costOf = (name: string) => costs.get(name) ?? fail(name);
  const plan = planPipeline(graph, {
    cores,
    costOf: ({ name }) => {
      const { busySeconds, ...bytes } = costOf(name);
      return { seconds: Math.max(...Object.values(busySeconds)), ...bytes };
    },
    capacity: RESIDENT_CAPACITY,
    hardware,
  });
  options.observe?.("pipeline", () =>
    plan.stages.map((stage) => `// ${stage.name}\n${printGraph(stage, { elideConstants: true })}`).join("\n"),
  );
  const stages = plan.stages.map((stage) => {
    const own = stage.nodes.flatMap(({ name }) => costs.get(name) ?? []);
    const weights = own.reduce((sum, { weightBytes }) => sum + weightBytes, 0);
    const values = own.reduce((most, { valueBytes }) => Math.max(most, valueBytes), 0);
    return compileStage(stage, weights + values <= RESIDENT_CAPACITY ? residentBudget(weights) : defaultBudget, options);
  });
  return { stages, plan };
}

function fail(name: string): never {
  throw new Error(`node ${name} has no cost`);
}

/** A core's program for a stage of a Neuron subgraph, after precision was applied. Errors: NCC0690 where no plan fits the core's memory. */
function compileStage(graph: Graph, budget: Budget, options: StageOptions): CompiledStage {
  let needed = "";
  for (const share of BUDGET_SHARES) {
    options.progress?.("lower");
    const lowered = lower(graph, {
      valueBytes: Math.floor(share * budget.valueBytes),
      residentBytes: Math.floor(share * budget.residentBytes),
      workingBytes: budget.workingBytes,
    });
    options.observe?.(`lower ${graph.name}`, () => [...lowered.load, ...lowered.infer].map(stepText).join(""));
    options.progress?.("schedule");
    const result = schedule(lowered);
    if (!result.fits) {
      needed = `${result.neededBytes} bytes of ${result.memory}, there are ${result.capacityBytes}`;
      options.log?.("DEBUG", `${graph.name}: with ${share} of the usual budget it needs ${needed}`);
      continue;
    }
    const { program, report: facts } = result;
    options.observe?.(`schedule ${graph.name}`, () => printProgram(program));
    if (options.verifyEach) verifyProgram(program);
    const loaded = { program, constants: lowered.constants };
    return { graph, loaded, memory: stageMemory(loaded, facts.sbufPeakBytes, facts.sbufBoundBytes) };
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
  const faults = checkProgram(program);
  if (faults.length > 0) throw new Error(`program ${program.name}: ${faults.slice(0, 5).map(describeFault).join("; ")}`);
}
