/** Partition: which operators run on NeuronCores, in which subgraphs, in which order; and for each that doesn't, why. */
import type { Graph, Node } from "../graph/graph.js";
import type { Reason } from "../operators/record.js";
import { buildDag, type Dag } from "./dag.js";
import type { PriceModel } from "./price.js";
import { cut } from "./subgraph.js";
import { assignWaves, groupsOf, partsOf } from "./waves.js";
import { resolveWishes, sourceOperators, type Wishes } from "./wishes.js";

export { checkPartition } from "./check.js";
export { type PriceModel, priceModel } from "./price.js";
export { sourceOperators } from "./wishes.js";

export type Device = "neuron" | "cpu";

export interface Subgraph {
  /** `sg00`, `sg01`, ... in an order in which they can run one after the other. */
  readonly id: string;
  readonly device: Device;
  /** Its inputs and outputs are the values that cross its border; its constants are those that it needs. */
  readonly graph: Graph;
  /** The source model's operators that it stands for, each once, in node order. */
  readonly operators: readonly string[];
}

export interface Placement {
  readonly device: Device;
  readonly subgraph: string;
  /** Why it is on the CPU; present exactly there. */
  readonly reason?: Reason;
}

export interface Partition {
  readonly subgraphs: readonly Subgraph[];
  /** By node name. */
  readonly placements: ReadonlyMap<string, Placement>;
}

export interface PartitionOptions {
  /** Source operators that a Neuron subgraph must have at least; the smaller of 2 and those of the model if absent. */
  readonly minimumSegmentSize?: number;
  /** Names of source operators that are to stay on the CPU, and that are to be on a NeuronCore. */
  readonly noFuse: ReadonlySet<string>;
  readonly forceFuse: ReadonlySet<string>;
  /** Every operator that the source model had, for telling a misspelt name from one that was folded away. */
  readonly sourceNames?: ReadonlySet<string>;
  /** Absent: no group is refused for its price. */
  readonly price?: PriceModel;
}

/**
 * Cuts `graph` into subgraphs, each on one device, whose quotient graph is acyclic: as few on Neuron as there can be, then as few on the
 * CPU. Then small groups and those that don't pay go to the CPU, and the rest is cut again. A graph that is one Neuron subgraph is
 * never refused for its price, nor is a group with a forced operator for anything. A graph without nodes has no subgraphs.
 * `verdicts`: by node name, why it can't run on a NeuronCore, or undefined. Errors: NCC0560 to NCC0562.
 */
export function partition(graph: Graph, verdicts: ReadonlyMap<string, Reason | undefined>, options: PartitionOptions): Partition {
  const wishes = resolveWishes(graph, verdicts, options);
  const reasons = graph.nodes.map((node) => {
    const wish = wishes.noFuse.get(node.name);
    return wish === undefined ? verdicts.get(node.name) : because("no-fuse", "--no-fuse-ops", wish, "leave it out of --no-fuse-ops");
  });
  const dag = buildDag(graph);
  const whole = reasons.every((reason) => reason === undefined);
  if (!whole) sendLookupsToHost(graph, dag, wishes, reasons);
  const all = effectiveOperators(graph.nodes);
  const judge: Judge = {
    graph,
    dag,
    wishes,
    minimum: options.minimumSegmentSize ?? Math.min(2, Math.max(1, all)),
    price: whole ? undefined : options.price,
  };
  for (;;) {
    const onNeuron = reasons.map((reason) => reason === undefined);
    const groups = groupsOf(assignWaves(dag, onNeuron));
    let refused = false;
    for (const group of groups) {
      if (!onNeuron[group[0]]) continue;
      for (const { nodes, reason } of refusals(judge, group)) {
        refused = true;
        for (const node of nodes) reasons[node] = reason;
      }
    }
    if (!refused) return assemble(graph, dag, groups, reasons);
  }
}

function because(rule: string, subject: string, value: string, nearest: string): Reason {
  return { rule, subject, value, nearest };
}

/** Number of source operators, Identity not counted. */
function effectiveOperators(nodes: readonly Node[]): number {
  return new Set(nodes.filter((node) => node.op !== "Identity").flatMap(sourceOperators)).size;
}

/**
 * Embedding lookups at the start of the graph stay on the host, with their tables: nothing of the device's has come before them, and
 * the rows are all that the device needs.
 */
function sendLookupsToHost(graph: Graph, dag: Dag, wishes: Wishes, reasons: (Reason | undefined)[]): void {
  const afterNeuron = new Array<boolean>(dag.count).fill(false);
  graph.nodes.forEach((node, number) => {
    const afterDevice = dag.reads[number].some(({ producer }) => producer >= 0 && afterNeuron[producer]);
    const isLookup =
      node.op === "Gather" && node.domain === "" && graph.constants.has(node.inputs[0]) && !graph.constants.has(node.inputs[1]);
    if (!afterDevice && isLookup && reasons[number] === undefined && !wishes.forceFuse.has(node.name)) {
      reasons[number] = because("lookup-at-start", node.inputs[0], "a table, before any other work of the device", "--force-fuse-ops");
    }
    const integer = node.outputs.every((output) => /^u?int/.test(graph.types.get(output)?.dtype ?? ""));
    afterNeuron[number] = afterDevice || (reasons[number] === undefined && !integer);
  });
}

interface Judge {
  readonly graph: Graph;
  readonly dag: Dag;
  readonly wishes: Wishes;
  readonly minimum: number;
  readonly price?: PriceModel;
}

interface Refusal {
  readonly nodes: readonly number[];
  readonly reason: Reason;
}

/** What of a Neuron group goes to the CPU: all, or the unconnected parts that cost more than they save. */
function refusals(judge: Judge, group: readonly number[]): Refusal[] {
  const nodes = group.map((number) => judge.graph.nodes[number]);
  if (nodes.some((node) => judge.wishes.forceFuse.has(node.name))) return [];
  const operators = effectiveOperators(nodes);
  if (operators < judge.minimum) {
    const hint = `at least ${judge.minimum} operators, --minimum-segment-size ${Math.max(1, operators)}, or --force-fuse-ops`;
    return [{ nodes: group, reason: because("minimum-segment-size", "segment", countOf(operators), hint) }];
  }
  const { price } = judge;
  if (!price) return [];
  const loss = lossOf(judge, price, group, price.launchSeconds);
  if (loss) return [{ nodes: group, reason: loss }];
  const parts = partsOf(judge.dag, group);
  if (parts.length === 1) return [];
  return parts.flatMap((part) => {
    const reason = lossOf(judge, price, part, 0);
    return reason ? [{ nodes: part, reason }] : [];
  });
}

function countOf(operators: number): string {
  return `${operators} operator${operators === 1 ? "" : "s"}`;
}

/** Why a group costs more on a NeuronCore than on the host, or undefined where it pays. */
function lossOf({ graph, dag }: Judge, price: PriceModel, group: readonly number[], launchSeconds: number): Reason | undefined {
  const members = new Set(group);
  const crossing = new Map<string, number>();
  let host = 0;
  let device = 0;
  for (const number of group) {
    host += price.hostSeconds(graph.nodes[number]);
    device += price.deviceSeconds(graph.nodes[number]);
    for (const edge of dag.reads[number]) if (!members.has(edge.producer)) crossing.set(edge.value, edge.bytes);
    for (const edge of dag.writes[number]) {
      if (edge.isGraphOutput || edge.consumers.some((consumer) => !members.has(consumer))) crossing.set(edge.value, edge.bytes);
    }
  }
  let transfer = 0;
  for (const bytes of crossing.values()) transfer += price.transferSeconds(bytes);
  if (host > device + transfer + launchSeconds) return undefined;
  const text = (seconds: number) => `${(1e3 * seconds).toFixed(3)} ms`;
  const cost = `${text(device)} on a NeuronCore + ${text(transfer)} transfer + ${text(launchSeconds)} launch`;
  const subject = `segment of ${countOf(effectiveOperators(group.map((number) => graph.nodes[number])))}`;
  return because("not-worth-it", subject, `${text(host)} on the host against ${cost}`, "--force-fuse-ops keeps it on the NeuronCore");
}

function assemble(graph: Graph, dag: Dag, groups: readonly (readonly number[])[], reasons: readonly (Reason | undefined)[]): Partition {
  const groupOf = new Int32Array(dag.count);
  groups.forEach((group, index) => {
    for (const number of group) groupOf[number] = index;
  });
  const needed = new Set<string>(graph.outputs);
  for (const { value, producer, consumers } of dag.edges) {
    if (producer >= 0 && consumers.some((consumer) => groupOf[consumer] !== groupOf[producer])) needed.add(value);
  }
  const placements = new Map<string, Placement>();
  const subgraphs = groups.map((group, index): Subgraph => {
    const id = `sg${String(index).padStart(2, "0")}`;
    const device = reasons[group[0]] === undefined ? "neuron" : "cpu";
    const nodes = group.map((number) => graph.nodes[number]);
    for (const number of group) placements.set(graph.nodes[number].name, { device, subgraph: id, reason: reasons[number] });
    const operators = [...new Set(nodes.flatMap(sourceOperators))];
    return { id, device, graph: cut(graph, id, nodes, (value) => needed.has(value)), operators };
  });
  return { subgraphs, placements };
}
