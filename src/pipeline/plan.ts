/** Pipelines: a Neuron subgraph cut into consecutive graphs, one a NeuronCore, for requests that follow one another. */

import { userError } from "../diagnostics/diagnostic.js";
import { type Graph, indexGraph, type Node, staticType } from "../graph/graph.js";
import { bytesPerElement, elementCount } from "../graph/tensor.js";
import { type Hardware, MOST_CORES } from "../hardware/hardware.js";
import { linkSeconds } from "../hardware/link.js";
import { cut as subgraphOf } from "../partition/subgraph.js";
import { FreshNames } from "../passes/values.js";
import { type Cut, type CutNode, type CutProblem, cut } from "./cut.js";
import { divide, joined, type Part, partsOf, shareOf } from "./parts.js";

/** What the cutter has to know of an operator. One whose weights are many may be divided: its parts cost what their channels are of it. */
export interface StageCost {
  readonly seconds: number;
  /** SBUF bytes a partition of its weights, and of the values that are there while it runs. */
  readonly weightBytes: number;
  readonly valueBytes: number;
}

export interface PlannedStage {
  readonly graph: Graph;
  /** What of the whole graph's nodes is in it. */
  readonly parts: readonly Part[];
  /** SBUF bytes a partition of its weights, and the most that values take beside them. */
  readonly weightBytes: number;
  readonly valueBytes: number;
}

export interface PipelinePlan {
  /** In order. What a stage reads the stages before it give; the first alone reads the subgraph's inputs. */
  readonly stages: readonly PlannedStage[];
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
  /** SBUF bytes a partition that a core can keep weights in. */
  readonly weightCapacity: number;
  /** Whether weights stay there between requests; else each request brings all of them. */
  readonly keepsWeights: boolean;
  /** Those that it has for weights and values: where all weights stay, and where some stream past. */
  readonly room: number;
  readonly streamingRoom: number;
  readonly hardware: Hardware;
}

/** An operator whose weights take more than this share of a core may be divided. */
const PART_SHARE = 0.07;

/** The graph's nodes as the cutter sees them. */
interface Cuttable {
  readonly parts: readonly Part[];
  readonly costs: readonly StageCost[];
}

/**
 * Cuts a graph, after precision was applied, into at most so many stages: no sum is changed, so that what a request gives does not depend on
 * the cut. A value that a later stage reads is stored in the type that it has in the graph.
 */
export function planPipeline(graph: Graph, options: PipelineOptions): PipelinePlan {
  const { inputs } = graph;
  const { cores } = options;
  const cuttable = divided(graph, options);
  const found = cores === "auto" ? cutResident(graph, cuttable, options) : cut(problemOf(graph, cuttable, options, cores));
  if (!found) throw new Error(`${graph.name}: no cut, though none is refused`);
  const members = found.stages.map((stage) => stage.flatMap((index) => (index < inputs.length ? [] : [index - inputs.length])));
  const parts = members.map((stage) => joined(stage.map((index) => cuttable.parts[index])));
  const graphs = stageGraphs(graph, parts);
  const stages = members.map((stage, index) => {
    const own = stage.map((part) => cuttable.costs[part]);
    const weightBytes = own.reduce((sum, cost) => sum + cost.weightBytes, 0);
    return {
      graph: graphs[index],
      parts: parts[index],
      weightBytes,
      valueBytes: own.reduce((most, cost) => Math.max(most, cost.valueBytes), 0),
    };
  });
  return { stages, ...limits(found) };
}

function divided(graph: Graph, { costOf, weightCapacity, hardware }: PipelineOptions): Cuttable {
  const parts: Part[] = [];
  const costs: StageCost[] = [];
  for (const node of graph.nodes) {
    const { seconds, weightBytes, valueBytes } = costOf(node);
    for (const part of partsOf(graph, node, weightBytes, weightCapacity * PART_SHARE, hardware.sbufPartitions)) {
      const share = shareOf(part);
      parts.push(part);
      costs.push({ seconds: share * seconds, weightBytes: share * weightBytes, valueBytes });
    }
  }
  return { parts, costs };
}

/** The fastest cut of those into as few stages as keep every weight on chip. Errors: NCC0691 where one operator's weights are too many. */
function cutResident(graph: Graph, cuttable: Cuttable, options: PipelineOptions): Cut | undefined {
  const { weightCapacity, hardware, least = 1 } = options;
  const bytes = cuttable.costs.map((cost) => cost.weightBytes);
  const largest = bytes.reduce((most, _, index) => (bytes[index] > bytes[most] ? index : most), 0);
  if (bytes[largest] > weightCapacity) {
    const values = { node: cuttable.parts[largest].node.name, bytes: bytes[largest] * hardware.sbufPartitions };
    throw userError("NCC0691", { ...values, capacity: weightCapacity * hardware.sbufPartitions });
  }
  const total = bytes.reduce((sum, count) => sum + count, 0);
  for (let cores = Math.max(least, Math.ceil(total / weightCapacity)); cores <= MOST_CORES; cores++) {
    const problem = problemOf(graph, cuttable, options, cores);
    const found = cut({
      ...problem,
      nodes: problem.nodes.map((node) => ({ ...node, live: 0 })),
      excess: Number.POSITIVE_INFINITY,
    });
    if (found) return found;
  }
  throw userError("NCC0692", { name: graph.name, bytes: total * hardware.sbufPartitions, cores: MOST_CORES });
}

function limits({ value, bound }: Cut): Pick<PipelinePlan, "slowestSeconds" | "boundSeconds"> {
  return { slowestSeconds: value, boundSeconds: bound };
}

/** The graph's inputs, which the first stage takes, then its nodes. The parts of a node follow one another. */
function problemOf(graph: Graph, { parts, costs }: Cuttable, options: PipelineOptions, cores: number): CutProblem {
  const { hardware, weightCapacity, keepsWeights, room, streamingRoom } = options;
  const { consumers } = indexGraph(graph);
  const first = graph.inputs.length;
  const positions = new Map<Node, number[]>();
  for (const [index, { node }] of parts.entries()) positions.set(node, [...(positions.get(node) ?? []), first + index]);
  const readers = (values: readonly string[]) => [
    ...new Set(values.flatMap((value) => (consumers.get(value) ?? []).flatMap((node) => positions.get(node)!))),
  ];
  // A core's queues, which loads and stores share.
  const coreBandwidth = hardware.dmaQueues * hardware.dmaBandwidthPerQueue;
  const moves = (values: readonly string[], share = 1) => {
    const passed = values.filter((value) => consumers.has(value));
    const bytes = share * passed.reduce((sum, value) => sum + storedBytes(graph, value), 0);
    return {
      transfer: hardware.dmaSetupSeconds + (2 * bytes) / coreBandwidth,
      traffic: bytes / hardware.dramBandwidthPerChip,
      hop: linkSeconds(passed.length, bytes, hardware),
    };
  };
  const nodes: CutNode[] = [
    ...graph.inputs.map((input) => ({ work: 0, size: 0, ...moves([input]) })),
    ...parts.map((part, index) => {
      const { seconds, weightBytes, valueBytes } = costs[index];
      return { work: seconds, size: weightBytes, live: valueBytes, ...moves(part.node.outputs, shareOf(part)) };
    }),
  ];
  const following = (index: number) => (parts[index + 1]?.node === parts[index].node ? [first + index + 1] : []);
  return {
    nodes,
    successors: [
      ...graph.inputs.map((input) => readers([input])),
      ...parts.map(({ node }, index) => [...following(index), ...readers(node.outputs)]),
    ],
    devices: cores,
    capacity: keepsWeights ? weightCapacity : 0,
    room,
    streamingRoom,
    excess: hardware.sbufPartitions / coreBandwidth,
    chips: { devices: hardware.coresPerChip, excess: hardware.sbufPartitions / hardware.dramBandwidthPerChip },
    first,
  };
}

function storedBytes(graph: Graph, value: string): number {
  const { dtype, shape } = staticType(graph, value);
  return elementCount(shape) * bytesPerElement[dtype];
}

/**
 * The stages' graphs. A divided node's value is put together by the first stage that reads it, or else by that of its last part; an input that a
 * later stage reads is passed on by the first one under another name.
 */
function stageGraphs(original: Graph, parts: readonly (readonly Part[])[]): Graph[] {
  const { graph, nodesOf, joins } = divide(original, parts.flat());
  const members = withJoins(
    parts.map((stage) => stage.flatMap(nodesOf)),
    joins,
  );
  const later = new Set(members.slice(1).flatMap((nodes) => nodes.flatMap((node) => node.inputs)));
  const names = new FreshNames(graph);
  const passed = new Map(graph.inputs.filter((input) => later.has(input)).map((input) => [input, names.next(`${input}/passed`)]));
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

function withJoins(members: readonly (readonly Node[])[], joins: ReadonlyMap<Node, Node>): Node[][] {
  const result = members.map((nodes) => [...nodes]);
  for (const join of joins.values()) {
    const last = members.findLastIndex((nodes) => nodes.some(({ outputs }) => outputs.some((output) => join.inputs.includes(output))));
    const reader = members.findIndex((nodes) => nodes.some(({ inputs }) => inputs.includes(join.outputs[0])));
    const at = reader < 0 ? last : reader;
    const place = at === last ? result[at].findLastIndex(({ outputs }) => outputs.some((output) => join.inputs.includes(output))) + 1 : 0;
    result[at].splice(place, 0, join);
  }
  return result;
}
