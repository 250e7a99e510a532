/** Pipelines: a Neuron subgraph cut into consecutive graphs, one a NeuronCore, for requests that follow one another. */

import { userError } from "../diagnostics/diagnostic.js";
import { type Graph, indexGraph, type Node, staticType } from "../graph/graph.js";
import { bytesPerElement, elementCount } from "../graph/tensor.js";
import { linkSeconds } from "../hardware/cost.js";
import { type Hardware, MOST_CORES } from "../hardware/hardware.js";
import { cut as subgraphOf } from "../partition/subgraph.js";
import { type Cut, type CutNode, type CutProblem, cut } from "./cut.js";

/** What the cutter has to know of an operator. */
export interface StageCost {
  readonly seconds: number;
  /** SBUF bytes a partition of its weights, and of the values that are there while it runs. */
  readonly weightBytes: number;
  readonly valueBytes: number;
}

export interface PipelinePlan {
  /** In order. What a stage reads the stages before it give; the first alone reads the subgraph's inputs. */
  readonly stages: readonly Graph[];
  /** By the costs that the cut rests on: time of the slowest stage, and what no cut can be below. */
  readonly slowestSeconds: number;
  readonly boundSeconds: number;
}

export interface PipelineOptions {
  /** At most so many stages; `auto`: the fewest with which every weight stays on chip. */
  readonly cores: number | "auto";
  /** For `auto`: at least so many. */
  readonly least?: number;
  readonly costOf: (node: Node) => StageCost;
  /** SBUF bytes a partition that a core has for both; and for weights, where values have to do with what they leave. */
  readonly capacity: number;
  readonly weightCapacity: number;
  readonly hardware: Hardware;
}

/**
 * Cuts a graph, after precision was applied, into at most so many stages: no operator is changed, so that what a request gives does not depend on
 * the cut. A value that a later stage reads is stored in the type that it has in the graph.
 */
export function planPipeline(graph: Graph, options: PipelineOptions): PipelinePlan {
  const { inputs } = graph;
  const { cores } = options;
  const found = cores === "auto" ? cutResident(graph, options) : cut(problemOf(graph, options, cores));
  if (!found) throw new Error(`${graph.name}: no cut, though none is refused`);
  const members = found.stages.map((stage) =>
    stage.flatMap((index) => (index < inputs.length ? [] : [graph.nodes[index - inputs.length]])),
  );
  return { stages: stageGraphs(graph, members), ...limits(found) };
}

/** The fastest cut of those into as few stages as keep every weight on chip. Errors: NCC0691 where one operator's weights are too many. */
function cutResident(graph: Graph, options: PipelineOptions): Cut | undefined {
  const { weightCapacity, costOf, hardware, least = 1 } = options;
  const bytes = graph.nodes.map((node) => costOf(node).weightBytes);
  const largest = bytes.reduce((most, _, index) => (bytes[index] > bytes[most] ? index : most), 0);
  if (bytes[largest] > weightCapacity) {
    const values = { node: graph.nodes[largest].name, bytes: bytes[largest] * hardware.sbufPartitions };
    throw userError("NCC0691", { ...values, capacity: weightCapacity * hardware.sbufPartitions });
  }
  const total = bytes.reduce((sum, count) => sum + count, 0);
  for (let cores = Math.max(least, Math.ceil(total / weightCapacity)); cores <= MOST_CORES; cores++) {
    const problem = problemOf(graph, options, cores);
    const found = cut({
      ...problem,
      nodes: problem.nodes.map((node) => ({ ...node, live: 0 })),
      capacity: weightCapacity,
      excess: Number.POSITIVE_INFINITY,
    });
    if (found) return found;
  }
  throw userError("NCC0692", { name: graph.name, bytes: total * hardware.sbufPartitions, cores: MOST_CORES });
}

function limits({ value, bound }: Cut): Pick<PipelinePlan, "slowestSeconds" | "boundSeconds"> {
  return { slowestSeconds: value, boundSeconds: bound };
}

/** The graph's inputs, which the first stage takes, then its nodes. */
function problemOf(graph: Graph, { costOf, capacity, hardware }: PipelineOptions, cores: number): CutProblem {
  const { consumers } = indexGraph(graph);
  const position = new Map(graph.nodes.map((node, index) => [node, graph.inputs.length + index]));
  const readers = (values: readonly string[]) => [
    ...new Set(values.flatMap((value) => (consumers.get(value) ?? []).map((node) => position.get(node)!))),
  ];
  // A core's queues, which loads and stores share.
  const coreBandwidth = hardware.dmaQueues * hardware.dmaBandwidthPerQueue;
  const moves = (values: readonly string[]) => {
    const passed = values.filter((value) => consumers.has(value));
    const bytes = passed.reduce((sum, value) => sum + storedBytes(graph, value), 0);
    return {
      transfer: hardware.dmaSetupSeconds + (2 * bytes) / coreBandwidth,
      traffic: bytes / hardware.dramBandwidthPerChip,
      hop: linkSeconds(passed.length, bytes, hardware),
    };
  };
  const nodes: CutNode[] = [
    ...graph.inputs.map((input) => ({ work: 0, size: 0, ...moves([input]) })),
    ...graph.nodes.map((node) => {
      const { seconds, weightBytes, valueBytes } = costOf(node);
      return { work: seconds, size: weightBytes, live: valueBytes, ...moves(node.outputs) };
    }),
  ];
  return {
    nodes,
    successors: [...graph.inputs.map((input) => readers([input])), ...graph.nodes.map((node) => readers(node.outputs))],
    devices: cores,
    capacity,
    excess: hardware.sbufPartitions / coreBandwidth,
    chips: { devices: hardware.coresPerChip, excess: hardware.sbufPartitions / hardware.dramBandwidthPerChip },
    first: graph.inputs.length,
  };
}

function storedBytes(graph: Graph, value: string): number {
  const { dtype, shape } = staticType(graph, value);
  return elementCount(shape) * bytesPerElement[dtype];
}

/** The stages' graphs. An input that a later stage reads is passed on by the first one under another name. */
function stageGraphs(graph: Graph, members: readonly (readonly Node[])[]): Graph[] {
  const later = new Set(members.slice(1).flatMap((nodes) => nodes.flatMap((node) => node.inputs)));
  const passed = new Map(graph.inputs.filter((input) => later.has(input)).map((input) => [input, passedName(graph, input)]));
  const pass = [...passed].map(
    ([input, output]): Node => ({
      name: output,
      op: "Identity",
      domain: "",
      inputs: [input],
      outputs: [output],
      attributes: {},
      origins: [],
    }),
  );
  const renamed = (node: Node): Node => ({ ...node, inputs: node.inputs.map((input) => passed.get(input) ?? input) });
  const whole = members.map((nodes, stage) => (stage === 0 ? [...nodes, ...pass] : nodes.map(renamed)));
  const types = new Map(graph.types);
  for (const [input, output] of passed) types.set(output, staticType(graph, input));
  const outputs = new Set(graph.outputs);
  return whole.map((nodes, stage) => {
    const read = new Set(whole.slice(stage + 1).flatMap((others) => others.flatMap((node) => node.inputs)));
    return subgraphOf({ ...graph, types }, `${graph.name}.${stage}`, nodes, (value) => outputs.has(value) || read.has(value));
  });
}

function passedName(graph: Graph, input: string): string {
  let name = `${input}/passed`;
  while (graph.types.has(name)) name += "_";
  return name;
}
