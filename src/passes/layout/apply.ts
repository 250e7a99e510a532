/** Rebuilds a graph with its movers in the orders that were chosen. */
import { capturedValues, type Graph, type Node, type TensorType } from "../../graph/graph.js";
import { int64Tensor, type Tensor } from "../../graph/tensor.js";
import { FreshNames, permuted } from "../values.js";
import { range } from "./axes.js";
import type { Orders } from "./choose.js";
import type { Arrangement, LayoutProblem, Mover } from "./problem.js";

export function applyOrders(problem: LayoutProblem, orders: Orders): Graph {
  return new Rebuilding(problem, orders).run();
}

class Rebuilding {
  private readonly nodes: Node[] = [];
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly names: FreshNames;
  /** Order in which a root is there under its first name; absent: the graph's. */
  private readonly stored = new Map<string, { readonly name: string; readonly axes: Arrangement }>();
  /** Other orders of roots that are there, by root and order. */
  private readonly made = new Map<string, string>();
  /** Transposes of the source by what they write; each stands where it stood as long as someone wants just that. */
  private readonly transposes = new Map<string, Node>();
  private readonly written = new Set<string>();

  constructor(
    private readonly problem: LayoutProblem,
    private readonly orders: Orders,
  ) {
    const { graph } = problem;
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.names = new FreshNames(graph);
    for (const name of [...graph.inputs, ...graph.constants.keys()]) this.written.add(name);
  }

  run(): Graph {
    const { problem } = this;
    for (const node of problem.graph.nodes) {
      if (problem.transposes.has(node)) {
        this.transposes.set(node.outputs[0], node);
        continue;
      }
      const mover = problem.movers.get(node);
      const order = mover && this.orders.get(mover);
      if (mover && order) this.move(mover, order);
      else this.keep(node);
    }
    for (const output of problem.graph.outputs) this.need(output);
    return { ...problem.graph, nodes: this.nodes, types: this.types, constants: this.constants };
  }

  private add(node: Node): void {
    this.nodes.push(node);
    for (const output of node.outputs) this.written.add(output);
  }

  /** A node as it is, on values in the graph's order. */
  private keep(node: Node): void {
    for (const value of capturedValues(node)) this.need(value);
    const names = new Map(node.inputs.map((input) => [input, input === "" ? "" : this.original(input)]));
    this.add({ ...node, inputs: node.inputs.map((input) => names.get(input) ?? input) });
  }

  private move({ node, space }: Mover, order: readonly number[]): void {
    const { attributes = node.attributes, parameters = new Map<number, Tensor>() } = space.rebuild?.(order) ?? {};
    const inputs = node.inputs.map((input, index) => {
      if (input === "") return "";
      const axes = space.inputs[index];
      if (axes === undefined) return this.original(input);
      const view = this.problem.view(input);
      const edge = { value: input, view, mover: { node, space }, input: index, cost: 0 };
      return this.inOrder(view.root, this.problem.wanted(edge, order), input);
    });
    for (const [index, tensor] of parameters) {
      while (inputs.length < index) inputs.push("");
      inputs[index] = this.constant(`${node.name}/parameter${index}`, tensor);
    }
    const outputs = node.outputs.map((output) => {
      const axes = this.problem.written(output, order);
      const type = this.problem.type(output);
      if (type === undefined || isIdentity(axes)) return output;
      const name = this.names.next(`${output}/layout`);
      this.types.set(name, { dtype: type.dtype, shape: axes.map((axis) => type.shape[axis]) });
      this.stored.set(output, { name, axes });
      return name;
    });
    const op = node.op === "Flatten" || node.op === "Squeeze" || node.op === "Unsqueeze" ? "Reshape" : node.op;
    this.add({ ...node, op, inputs, outputs, attributes });
  }

  /** A value in the graph's order. */
  private original(value: string): string {
    if (this.problem.type(value) === undefined) return value;
    const { root, axes } = this.problem.view(value);
    return this.inOrder(root, axes, value);
  }

  /** Sees to it that a value is there in the graph's order and under its own name. */
  private need(value: string): void {
    const name = this.original(value);
    if (name === value || this.written.has(value)) return;
    const source = this.transposes.get(value);
    this.add({
      name: source?.name ?? this.names.next(`${value}/copy`),
      op: "Identity",
      domain: "",
      inputs: [name],
      outputs: [value],
      attributes: {},
      origins: source?.origins ?? [],
    });
  }

  private inOrder(root: string, wanted: Arrangement, value: string): string {
    const { name, axes } = this.stored.get(root) ?? { name: root, axes: range(0, this.problem.type(root)?.shape.length ?? 0) };
    if (wanted.join() === axes.join()) return name;
    const key = `${root} ${wanted.join()}`;
    const known = this.made.get(key);
    if (known !== undefined) return known;
    const made = this.rearranged(root, name, axes, wanted, value);
    this.made.set(key, made);
    return made;
  }

  private rearranged(root: string, from: string, axes: Arrangement, wanted: Arrangement, value: string): string {
    const type = this.problem.type(root);
    if (type === undefined) throw new Error(`${root} has no static type`);
    const shape = wanted.map((axis) => (axis < 0 ? 1 : type.shape[axis]));
    const permutation = wanted.flatMap((axis) => (axis < 0 ? [] : [axes.indexOf(axis)]));
    const constant = this.constants.get(from);
    if (constant) return this.constant(`${from}/layout`, { ...permuted(constant, permutation), shape });
    // A value of the graph in its own order has its own name.
    const view = this.problem.view(value);
    const isValue = view.root === root && view.axes.join() === wanted.join() && !this.written.has(value);
    const source = isValue ? this.transposes.get(value) : undefined;
    const origins = source?.origins ?? this.problem.writers.get(root)?.mover.node.origins ?? [];
    const name = isValue ? value : this.names.next(`${root}/layout`);
    this.types.set(name, { dtype: type.dtype, shape });
    const isMoved = this.problem.differs(root, axes, wanted);
    const base = { name: source?.name ?? this.names.next(`${name}/transpose`), domain: "", outputs: [name], origins };
    if (isMoved && !wanted.includes(-1)) {
      this.add({ ...base, op: "Transpose", inputs: [from], attributes: { perm: { type: "ints", value: permutation } } });
      return name;
    }
    const dense = wanted.filter((axis) => axis >= 0);
    const moved = isMoved ? this.inOrder(root, dense, "") : from;
    const target = this.constant(`${name}/shape`, int64Tensor([shape.length], shape));
    this.add({ ...base, op: "Reshape", inputs: [moved, target], attributes: {} });
    return name;
  }

  private constant(wanted: string, tensor: Tensor): string {
    const name = this.names.next(wanted);
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    this.written.add(name);
    return name;
  }
}

const isIdentity = (axes: Arrangement): boolean => axes.every((axis, index) => axis === index);
