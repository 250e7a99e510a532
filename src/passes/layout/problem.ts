/**
 * The layout problem of a graph: which order of axes each operator that commutes with permutations (a *mover*) works in, so that the
 * fewest bytes are transposed between operators. Everything else reads and writes values as the graph has them.
 *
 * Transposes are no operators here: what one writes is another view of its *root*, the value that it reads.
 */
import { type Graph, type GraphIndex, indexGraph, isStatic, type Node, type StaticType, type TensorType } from "../../graph/graph.js";
import { bytesPerElement, elementCount } from "../../graph/tensor.js";
import { recordOf } from "../../operators/index.js";
import { isKept, type NormaliseOptions } from "../options.js";
import { readsOf } from "../values.js";
import { type AxisSpace, axisSpace, permutationOf, range } from "./axes.js";

/** Axes of a root in the order of a view of it; -1 for an axis of extent 1 that the root does not have. */
export type Arrangement = readonly number[];

/** A value as a view of its root. */
export interface ValueView {
  readonly root: string;
  readonly axes: Arrangement;
}

export interface Mover {
  readonly node: Node;
  readonly space: AxisSpace;
}

/** A read of a root by a mover, or (undefined) by anything else, in the order of `view`. */
export interface Edge {
  readonly value: string;
  readonly view: ValueView;
  readonly mover: Mover | undefined;
  readonly input: number;
  /** Bytes moved if the reader wants another order than the root has; somewhat more between operators that could be fused. */
  readonly cost: number;
}

export class LayoutProblem {
  readonly movers = new Map<Node, Mover>();
  /** Of each value that a mover, a Transpose or anything else writes. */
  private readonly views = new Map<string, ValueView>();
  /** The mover that writes a root, and which of its outputs that is. */
  readonly writers = new Map<string, { readonly mover: Mover; readonly output: number }>();
  /** Reads by root, and by mover. */
  readonly readers = new Map<string, Edge[]>();
  readonly reads = new Map<Mover, Edge[]>();
  readonly edges: Edge[] = [];
  readonly transposes = new Set<Node>();
  private readonly index: GraphIndex;

  constructor(
    readonly graph: Graph,
    options: Pick<NormaliseOptions, "keep">,
  ) {
    this.index = indexGraph(graph);
    for (const node of graph.nodes) {
      if (!isKept(node, options)) this.classify(node);
    }
    for (const node of graph.nodes) {
      if (!this.transposes.has(node)) this.addReads(node);
    }
    for (const output of graph.outputs) this.addEdge(output, undefined, undefined, 0);
  }

  type(value: string): StaticType | undefined {
    const type: TensorType | undefined = this.graph.types.get(value);
    return isStatic(type) ? type : undefined;
  }

  constant = (value: string) => this.graph.constants.get(value);

  private classify(node: Node): void {
    const source = this.type(node.inputs[0] ?? "");
    if (node.op === "Transpose" && node.domain === "" && node.epilogue === undefined && source) {
      this.transposes.add(node);
      const { root, axes } = this.view(node.inputs[0]);
      this.views.set(node.outputs[0], { root, axes: permutationOf(node, source.shape.length).map((axis) => axes[axis]) });
      return;
    }
    const space = axisSpace(node, { type: (value) => this.type(value), constant: this.constant });
    if (space === undefined || space.rank < 2) return;
    const mover = { node, space };
    this.movers.set(node, mover);
    for (const [output, value] of node.outputs.entries()) this.writers.set(value, { mover, output });
  }

  /** A value as a view of its root: itself, unless a Transpose writes it. */
  view(value: string): ValueView {
    return this.views.get(value) ?? { root: value, axes: range(0, this.type(value)?.shape.length ?? 0) };
  }

  private addReads(node: Node): void {
    const mover = this.movers.get(node);
    if (mover === undefined) {
      for (const value of readsOf(node)) this.addEdge(value, node, undefined, 0, this.takesAnyOrder(node));
      return;
    }
    for (const [input, axes] of mover.space.inputs.entries()) {
      if (axes !== undefined && node.inputs[input]) this.addEdge(node.inputs[input], node, mover, input);
    }
  }

  /** Constants cost nothing: they are transposed at compile time. */
  private addEdge(value: string, reader: Node | undefined, mover: Mover | undefined, input: number, isFree = false): void {
    const type = this.type(value);
    const view = this.view(value);
    if (type === undefined || type.shape.length < 2 || this.constant(view.root)) return;
    const bytes = isFree ? 0 : elementCount(type.shape) * bytesPerElement[type.dtype];
    const ends = [reader, this.index.producer.get(view.root)];
    const isBorder = ends.some((node) => node === undefined || (!this.movers.has(node) && isMovement(node)));
    const cost = isBorder ? bytes : bytes * inside;
    const edge = { value, view, mover, input, cost };
    this.edges.push(edge);
    push(this.readers, view.root, edge);
    if (mover) push(this.reads, mover, edge);
  }

  /** A Reshape to rows that only a product with constant weights reads: the weights' rows can take any order. */
  private takesAnyOrder(node: Node): boolean {
    if (node.op !== "Reshape" && node.op !== "Flatten") return false;
    const readers = this.index.consumers.get(node.outputs[0]) ?? [];
    return (
      readers.length === 1 &&
      readers[0].op === "MatMul" &&
      readers[0].inputs[0] === node.outputs[0] &&
      this.constant(readers[0].inputs[1]) !== undefined &&
      this.type(node.outputs[0])?.shape.length === 2 &&
      this.type(node.inputs[0])?.shape[0] === this.type(node.outputs[0])?.shape[0] &&
      !this.graph.outputs.includes(node.outputs[0])
    );
  }

  /** The order of a root's axes that an edge's reader wants when it works in an order of its own axes. */
  wanted(edge: Edge, order: readonly number[] | undefined): Arrangement {
    const { view, mover, input } = edge;
    if (mover === undefined || order === undefined) return view.axes;
    const own = mover.space.inputs[input] ?? [];
    const places = order.map((axis) => own.indexOf(axis));
    const present = mover.space.broadcasts ? places.slice(places.findIndex((place) => place >= 0)) : places.filter((place) => place >= 0);
    return own.length === 0 ? [] : present.map((place) => (place < 0 ? -1 : view.axes[place]));
  }

  /** The order in which a root is written when its writer works in an order of its own axes. */
  written(root: string, order: readonly number[] | undefined): Arrangement {
    const writer = this.writers.get(root);
    if (writer === undefined || order === undefined) return range(0, this.type(root)?.shape.length ?? 0);
    const own = writer.mover.space.outputs[writer.output];
    return order.map((axis) => own.indexOf(axis)).filter((axis) => axis >= 0);
  }

  /** Whether two orders differ in more than where axes of extent 1 stand. */
  differs(root: string, first: Arrangement, second: Arrangement): boolean {
    const shape = this.type(root)?.shape ?? [];
    const long = (axes: Arrangement) => axes.filter((axis) => axis >= 0 && shape[axis] !== 1).join();
    return long(first) !== long(second);
  }
}

/** A transpose costs more between operators than at the graph's ends or beside what moves data anyhow: that keeps them together for fusion. */
const inside = 1.0625;

const isMovement = (node: Node): boolean => recordOf(node.op, node.domain)?.lowering?.kind === "movement";

function push<K, V>(map: Map<K, V[]>, key: K, value: V): void {
  const values = map.get(key);
  if (values) values.push(value);
  else map.set(key, [value]);
}
