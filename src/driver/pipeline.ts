/** From a Neuron subgraph to the programs of its cores: cut into stages, each compiled for a core of its own. */
import type { Graph } from "../graph/graph.js";
import { hardware } from "../hardware/hardware.js";
import {
  type Budget,
  defaultBudget,
  exactValues,
  type LoweredProgram,
  lower,
  MAX_INSTRUCTIONS,
  type OperatorCost,
  operatorCosts,
  RESIDENT_ROOM,
  residentBudgets,
  STREAMING_ROOM,
  WEIGHT_CAPACITY,
} from "../lower/index.js";
import { type PipelinePlan, type PlannedStage, planPipeline } from "../pipeline/plan.js";
import { graphText, verify } from "./checked.js";
import { type CompiledStage, compileStage, type StageOptions } from "./stage.js";

export interface CompiledPipeline {
  readonly stages: readonly (CompiledStage & Pick<PlannedStage, "parts">)[];
  /** How it was cut; absent where one core was asked for. */
  readonly plan?: PipelinePlan;
}

/**
 * Shares of a budget that lowering may keep on chip, tried in turn until the schedule fits. For fast context switches nothing is kept from one request to the
 * next.
 */
function usualBudgets({ enableFastContextSwitch = false }: StageOptions): Budget[] {
  return [1, 0.8, 0.6, 0.4, 0.2, 0].map((share) => ({
    ...defaultBudget,
    valueBytes: Math.floor(share * defaultBudget.valueBytes),
    residentBytes: Math.floor(share * defaultBudget.residentBytes),
    keepsConstants: !enableFastContextSwitch,
  }));
}

/**
 * Programs for at most `cores` cores from a Neuron subgraph, after precision was applied. Errors: NCC0690 where no plan fits a core's memory,
 * NCC0691 and NCC0692 where weights are too many for `auto`.
 */
export function compilePipeline(graph: Graph, cores: number | "auto", options: StageOptions): CompiledPipeline {
  if (cores === 1)
    return { stages: [{ ...compileStage(graph, usualBudgets(options), options), parts: graph.nodes.map((node) => ({ node })) }] };
  options.progress?.("pipeline");
  const costs = costsOf(graph, cores, options);
  if (cores !== "auto") return compilePlan(graph.name, plan(graph, costs, cores, options), false, options);
  for (let least = 1; ; ) {
    const found = plan(graph, costs, "auto", options, least);
    const compiled = compilePlan(graph.name, found, true, options);
    if (compiled.stages.every(({ memory }) => memory.residentWeightBytes === memory.weightBytes)) return compiled;
    options.log?.("DEBUG", `${graph.name}: ${found.stages.length} cores do not hold every weight beside the values`);
    least = found.stages.length + 1;
  }
}

/**
 * The same programs before they are scheduled, each with the first budget that scheduling would try. A number of cores alone: `auto` depends on what
 * scheduling finds.
 */
export function lowerPipeline(graph: Graph, cores: number, options: StageOptions): LoweredProgram[] {
  if (cores === 1) return [lower(graph, usualBudgets(options)[0], options.relayout)];
  const { stages } = plan(graph, costsOf(graph, cores, options), cores, options);
  const { relayout } = together(stages, options);
  return stages.map((stage) => lower(stage.graph, budgetsOf(stage, false, options)[0], relayout));
}

/** Of each node, by its name. Errors: NCC0693 where the graph's programs have to be too long on so many cores. */
function costsOf(graph: Graph, cores: number | "auto", { relayout }: StageOptions): Map<string, OperatorCost> {
  const limit = MAX_INSTRUCTIONS * (cores === "auto" ? 1 : cores);
  return operatorCosts(graph, lower(graph, defaultBudget, relayout, limit));
}

function plan(
  graph: Graph,
  costs: ReadonlyMap<string, OperatorCost>,
  cores: number | "auto",
  { enableFastContextSwitch = false }: StageOptions,
  least?: number,
): PipelinePlan {
  return planPipeline(graph, {
    cores,
    least,
    keepsWeights: !enableFastContextSwitch,
    costOf: ({ name }) => {
      const { busySeconds, ...bytes } = costs.get(name) ?? fail(name);
      return { seconds: Math.max(...Object.values(busySeconds)), ...bytes };
    },
    weightCapacity: WEIGHT_CAPACITY,
    room: RESIDENT_ROOM,
    streamingRoom: STREAMING_ROOM,
    hardware,
  });
}

function fail(name: string): never {
  throw new Error(`node ${name} has no cost`);
}

/** With `resident`, weights come before values in every stage. */
function compilePlan(name: string, found: PipelinePlan, resident: boolean, options: StageOptions): CompiledPipeline {
  if (options.verifyEach) for (const { graph } of found.stages) verify(`pipeline ${graph.name}`, graph);
  options.observe?.("pipeline", name, () => found.stages.map(({ graph }) => `// ${graph.name}\n${graphText(graph)}`).join("\n"));
  const stageOptions = together(found.stages, options);
  const stages = found.stages.map((stage) => ({
    ...compileStage(stage.graph, budgetsOf(stage, resident, options), stageOptions),
    parts: stage.parts,
  }));
  return { stages, plan: found };
}

/** For stages of one pipeline: with the values that one makes and another compares, or makes integers of. */
function together(stages: readonly PlannedStage[], options: StageOptions): StageOptions {
  const { relayout } = options;
  return relayout?.fast ? { ...options, relayout: { ...relayout, exact: exactValues(stages.map(({ graph }) => graph)) } } : options;
}

/** What scheduling tries in turn for a stage. */
function budgetsOf({ weightBytes }: PlannedStage, resident: boolean, options: StageOptions): Budget[] {
  const fits = !options.enableFastContextSwitch && (resident || weightBytes <= WEIGHT_CAPACITY);
  return [...(fits ? residentBudgets(weightBytes) : []), ...usualBudgets(options)];
}
