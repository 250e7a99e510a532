/**
 * The rewrite engine. A rule is data: a pattern that names operators and what their inputs come from, a condition, and the nodes
 * that take the matched one's place. One worklist runs all rules of a pass to a fixpoint, in time linear in the graph.
 *
 * A match's root is the last node of the pattern. Its replacement stands where the root stood, and so may read whatever the
 * matched nodes read. Matched nodes other than the root go when nothing uses them any more.
 */
import type { Graph, Node, TensorType } from "../graph/graph.js";
import type { Tensor } from "../graph/tensor.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { FreshNames, readsOf, renameReads, withoutDead, writesOf } from "./values.js";

/** What an input of a matched node must be: anything, a compile-time constant, or the output of a matching node. */
export type InputPattern = "any" | "constant" | Pattern;

export interface Pattern {
  /** Operator names of the default domain; absent: any operator. */
  readonly op?: readonly string[];
  /** Patterns of the first inputs. Absent optional inputs match only "any". */
  readonly inputs?: readonly InputPattern[];
  /** The first two inputs match in either order. */
  readonly commutative?: boolean;
  /** The node's first output is its only one, has no other consumer and is no output of the graph. */
  readonly single?: boolean;
}

export interface Match {
  readonly root: Node;
  /** The matched nodes: the root, then those of the input patterns, depth first. */
  readonly nodes: readonly Node[];
  /** The root's inputs in the pattern's order, which a commutative pattern may have swapped. */
  readonly inputs: readonly string[];
}

/** What takes the root's place. Nothing in it may read a value that is made after the root. */
export interface Patch {
  readonly nodes?: readonly Node[];
  /** New constants by name; names come from `View.fresh`. */
  readonly constants?: ReadonlyMap<string, Tensor>;
  /** Types of new values. Outputs of the root that `nodes` write keep their types. */
  readonly types?: ReadonlyMap<string, TensorType>;
  /** [output of the root, the value that its uses read instead]. Without effect (the rule then doesn't apply) if both are graph outputs. */
  readonly alias?: readonly [string, string];
}

/** What rules may ask of the graph as it is at the moment. */
export interface View {
  type(value: string): TensorType | undefined;
  constant(value: string): Tensor | undefined;
  producer(value: string): Node | undefined;
  /** Number of nodes that read the value. */
  useCount(value: string): number;
  isOutput(value: string): boolean;
  /** Grows along the order of execution. */
  position(node: Node): number;
  fresh(wanted: string): string;
}

export interface Rule {
  readonly name: string;
  readonly pattern: Pattern;
  /** The patch, or undefined where the rule's condition does not hold. */
  replace(match: Match, view: View): Patch | undefined;
}

/** How far a root is from the innermost node of the deepest pattern. */
const PATTERN_DEPTH = 4;

/** A node's place: its rank in the order of the graph as given. Replacements share the rank of the node that they replace. */
interface Cell {
  node: Node;
  readonly rank: number;
  alive: boolean;
  queued: boolean;
}

class Workspace implements View {
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly outputs: ReadonlySet<string>;
  private readonly producers = new Map<string, Cell>();
  private readonly readers = new Map<string, Set<Cell>>();
  private readonly cellOf = new Map<Node, Cell>();
  private readonly slots: Cell[][];
  private readonly queue: Cell[] = [];
  private names: FreshNames | undefined;

  constructor(private readonly graph: Graph) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.outputs = new Set(graph.outputs);
    this.slots = graph.nodes.map((node, rank) => [this.insert(node, rank)]);
  }

  type = (value: string) => this.types.get(value);
  constant = (value: string) => this.constants.get(value);
  producer = (value: string) => this.producers.get(value)?.node;
  useCount = (value: string) => this.readers.get(value)?.size ?? 0;
  isOutput = (value: string) => this.outputs.has(value);
  position = (node: Node) => this.cellOf.get(node)!.rank;
  fresh = (wanted: string) => {
    this.names ??= new FreshNames(this.graph);
    return this.names.next(wanted);
  };

  isSingle(node: Node): boolean {
    const outputs = writesOf(node);
    return outputs.length === 1 && outputs[0] === node.outputs[0] && this.useCount(outputs[0]) === 1 && !this.isOutput(outputs[0]);
  }

  private enqueue(cell: Cell): void {
    if (cell.queued || !cell.alive) return;
    cell.queued = true;
    this.queue.push(cell);
  }

  private link(cell: Cell): void {
    this.cellOf.set(cell.node, cell);
    for (const output of writesOf(cell.node)) this.producers.set(output, cell);
    for (const value of readsOf(cell.node)) {
      const readers = this.readers.get(value);
      if (readers) readers.add(cell);
      else this.readers.set(value, new Set([cell]));
    }
  }

  private unlink(cell: Cell): void {
    this.cellOf.delete(cell.node);
    for (const output of writesOf(cell.node)) if (this.producers.get(output) === cell) this.producers.delete(output);
    for (const value of readsOf(cell.node)) this.readers.get(value)?.delete(cell);
  }

  private insert(node: Node, rank: number): Cell {
    const cell: Cell = { node, rank, alive: true, queued: false };
    this.link(cell);
    this.enqueue(cell);
    return cell;
  }

  /** Puts another node in the cell, and has it and its neighbours looked at again. */
  private change(cell: Cell, node: Node): void {
    this.unlink(cell);
    cell.node = node;
    this.link(cell);
    this.enqueue(cell);
  }

  /** Removes a node, then every node before it that nothing needs any more. */
  private remove(first: Cell): void {
    const stack = [first];
    for (let cell = stack.pop(); cell; cell = stack.pop()) {
      if (!cell.alive) continue;
      cell.alive = false;
      this.unlink(cell);
      for (const value of readsOf(cell.node)) {
        const producer = this.producers.get(value);
        if (!producer) continue;
        this.enqueue(producer);
        const readers = this.readers.get(value);
        if (readers?.size === 1) for (const reader of readers) this.enqueue(reader);
        if (writesOf(producer.node).every((output) => this.useCount(output) === 0 && !this.isOutput(output))) stack.push(producer);
      }
    }
  }

  /**
   * Makes every use of `from` read `to`. A graph output keeps its name: there the producer of `to` writes `from` instead, which
   * needs a producer that is free to. False, with nothing changed, where it can't be done.
   */
  private substitute(from: string, to: string): boolean {
    if (this.isOutput(from)) {
      const producer = this.producers.get(to);
      if (!producer || this.isOutput(to)) return false;
      this.renameOutput(producer, to, from);
    } else {
      this.renameReaders(from, to);
    }
    return true;
  }

  private renameReaders(from: string, to: string): void {
    const names = new Map([[from, to]]);
    for (const reader of [...(this.readers.get(from) ?? [])]) this.change(reader, renameReads(reader.node, names));
    const producer = this.producers.get(to);
    if (producer) this.enqueue(producer);
  }

  private renameOutput(producer: Cell, from: string, to: string): void {
    const type = this.types.get(from);
    if (type) this.types.set(to, type);
    const outputs = producer.node.outputs.map((output) => (output === from ? to : output));
    this.change(producer, { ...producer.node, outputs });
    this.renameReaders(from, to);
  }

  private apply(root: Cell, patch: Patch): boolean {
    const slot = this.slots[root.rank];
    this.unlink(root);
    if (patch.alias && !this.substitute(...patch.alias)) {
      this.link(root);
      return false;
    }
    for (const [name, tensor] of patch.constants ?? []) {
      this.constants.set(name, tensor);
      this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    }
    for (const [name, type] of patch.types ?? []) this.types.set(name, type);
    const added = (patch.nodes ?? []).map((node) => this.insert(node, root.rank));
    slot.splice(slot.indexOf(root), 1, ...added);
    this.remove(root);
    for (const cell of added) this.enqueueReaders(cell, PATTERN_DEPTH);
    return true;
  }

  /** Nodes after a changed one may match now. */
  private enqueueReaders(cell: Cell, depth: number): void {
    for (const output of writesOf(cell.node)) {
      for (const reader of this.readers.get(output) ?? []) {
        this.enqueue(reader);
        if (depth > 1) this.enqueueReaders(reader, depth - 1);
      }
    }
  }

  private match(pattern: Pattern, node: Node, kept: (node: Node) => boolean): Match | undefined {
    if (pattern.op && (node.domain !== "" || !pattern.op.includes(node.op))) return undefined;
    if (node.epilogue !== undefined && pattern.op) return undefined;
    if (kept(node)) return undefined;
    const wanted = pattern.inputs ?? [];
    const orders = pattern.commutative ? [node.inputs, [node.inputs[1], node.inputs[0], ...node.inputs.slice(2)]] : [node.inputs];
    for (const inputs of orders) {
      const nodes: Node[] = [node];
      if (wanted.every((input, index) => this.matchInput(input, inputs[index] ?? "", nodes, kept))) return { root: node, nodes, inputs };
    }
    return undefined;
  }

  private matchInput(pattern: InputPattern, value: string, nodes: Node[], kept: (node: Node) => boolean): boolean {
    if (pattern === "any") return true;
    if (pattern === "constant") return this.constants.has(value);
    const producer = this.producers.get(value)?.node;
    if (!producer || (pattern.single && !this.isSingle(producer))) return false;
    const inner = this.match(pattern, producer, kept);
    if (inner) nodes.push(...inner.nodes);
    return inner !== undefined;
  }

  run(rules: readonly Rule[], kept: (node: Node) => boolean): void {
    let budget = 100 * (this.graph.nodes.length + 10);
    // The queue only grows; its head moves.
    for (let head = 0; head < this.queue.length; head++) {
      const cell = this.queue[head];
      cell.queued = false;
      for (const rule of rules) {
        if (!cell.alive) break;
        const match = this.match(rule.pattern, cell.node, kept);
        const patch = match && rule.replace(match, this);
        if (!patch || !this.apply(cell, patch)) continue;
        if (--budget < 0) throw new Error(`rewriting does not end; last rule ${rule.name} at ${cell.node.name}`);
      }
    }
  }

  result(): Graph {
    const nodes = this.slots.flatMap((cells) => cells.filter((cell) => cell.alive).map((cell) => cell.node));
    return withoutDead({ ...this.graph, nodes, types: this.types, constants: this.constants });
  }
}

/** Applies `rules` to a fixpoint, earlier ones first at each node; then drops dead nodes and constants. */
export function rewrite(graph: Graph, rules: readonly Rule[], options: Pick<NormaliseOptions, "keep">): Graph {
  const workspace = new Workspace(withoutDead(graph));
  workspace.run(rules, (node) => isKept(node, options));
  return workspace.result();
}
