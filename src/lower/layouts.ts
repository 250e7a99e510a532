/** Which axes of each value lie on partitions: what its maker can give, and of that what its readers, near and far, need not turn around. */
import { type Graph, indexGraph, type Node, staticType } from "../graph/graph.js";
import { elementCount } from "../graph/tensor.js";
import { recordOf, useOf } from "../operators/index.js";
import { type Layout, type Rearrangement, rearrangedLayout, rearrangement, sourceLayout } from "./place.js";
import type { Arrangement } from "./plan.js";

/** How many operators away readers count. */
const HORIZON = 6;
/** Rows of a matrix product from which on they may lie on partitions: fewer would leave most of the machine idle. */
const ROWS_MIN = 16;

function normal(axis: number, rank: number): number {
  return axis < 0 ? axis + rank : axis;
}

/** The axis on partitions for which a reader takes a value; undefined if it takes any. */
export function wantedAxis(graph: Graph, node: Node, position: number): number | undefined {
  const lowering = recordOf(node.op, node.domain)?.lowering;
  if (lowering?.kind === "convolution" || lowering?.kind === "pool") return position === 0 ? 1 : undefined;
  if (lowering?.kind !== "matmul" || position > 1) return undefined;
  const rank = staticType(graph, node.inputs[position]).shape.length;
  if (position === 0) return rank - 1;
  return graph.constants.has(node.inputs[1]) ? undefined : rank - 2;
}

/** Whether a box with `axis` on partitions can be read in place, one position of the other axes on partitions at a time. */
export function gives(layout: Layout, axis: number, rank: number): boolean {
  return layout[layout.length - 1] === axis && layout.slice(0, -1).every((outer) => outer < rank - 2);
}

/** An axis that can lie on partitions while `axes` are reduced: the value's own, else the longest kept one; -1 if all are reduced. */
export function partitionAxisFor(shape: readonly number[], own: number, axes: readonly number[]): number {
  if (!axes.includes(own)) return own;
  const kept = shape.map((_, axis) => axis).filter((axis) => !axes.includes(axis));
  return kept.reduce((best, axis) => (best < 0 || shape[axis] > shape[best] ? axis : best), -1);
}

function isPlain(layout: Layout): boolean {
  return layout.length === 1;
}

class LayoutChooser {
  readonly #graph: Graph;
  readonly #consumers: ReadonlyMap<string, readonly Node[]>;
  readonly #layouts = new Map<string, Layout>();
  readonly #costs = new Map<string, number>();
  readonly #ways = new Map<string, Rearrangement | undefined>();

  constructor(graph: Graph) {
    this.#graph = graph;
    this.#consumers = indexGraph(graph).consumers;
  }

  #shape(name: string): readonly number[] {
    return staticType(this.#graph, name).shape;
  }

  #lowering(node: Node) {
    return recordOf(node.op, node.domain)?.lowering;
  }

  /** How a node that only rearranges its first input makes an output; undefined for any other. */
  #rearrangement(node: Node, output: string): Rearrangement | undefined {
    const lowering = this.#lowering(node);
    if (lowering?.kind !== "movement") return undefined;
    if (!this.#ways.has(output)) {
      const movement = lowering.movements(useOf(this.#graph, node)).find((each) => node.outputs[each.output] === output);
      const own = movement?.pieces[0]?.input === 0;
      this.#ways.set(output, own ? rearrangement(movement, this.#shape(node.inputs[0]), this.#shape(output)) : undefined);
    }
    return this.#ways.get(output);
  }

  /** The axes that a node reduces of its first input. */
  #reduced(node: Node): readonly number[] {
    const lowering = this.#lowering(node);
    const rank = this.#shape(node.inputs[0]).length;
    if (lowering?.kind === "softmax") return [normal(lowering.axis(useOf(this.#graph, node)), rank)];
    if (lowering?.kind === "reduce") return lowering.axes(useOf(this.#graph, node)).map((axis) => normal(axis, rank));
    return [];
  }

  /** The layout of an output that follows from that of one input, where they hold the same elements at the same places. */
  #passed(node: Node, name: string, layout: Layout, output: string): Layout | undefined {
    const [from, to] = [this.#shape(name), this.#shape(output)];
    const way = this.#rearrangement(node, output);
    if (way) return rearrangedLayout(layout, way, from, to);
    const kind = this.#lowering(node)?.kind;
    const shift = to.length - from.length;
    if (kind === "movement") return shift === 0 && node.op !== "Transpose" ? layout : undefined;
    if (shift < 0 || elementCount(from) !== elementCount(to)) return undefined;
    return layout.map((axis) => axis + shift);
  }

  /** How many values within the horizon, this one and those that follow from it, their readers would want turned around. */
  #cost(name: string, layout: Layout, horizon = HORIZON): number {
    if (horizon === 0) return 0;
    const key = `${name} ${layout.join()} ${horizon}`;
    const known = this.#costs.get(key);
    if (known !== undefined) return known;
    const readers = this.#consumers.get(name) ?? [];
    let cost = Number(readers.some((node) => this.#turns(node, name, layout)));
    for (const node of readers) {
      for (const output of node.outputs) {
        const follows = output === "" ? undefined : this.#follows(node, name, layout, output);
        if (follows) cost += this.#cost(output, follows, horizon - 1);
      }
    }
    this.#costs.set(key, cost);
    return cost;
  }

  /** The axis on partitions for which a reader takes a value: an operand, or one of its epilogue's, which meets the result. */
  #wantedAxis(node: Node, name: string): number | undefined {
    const position = node.inputs.indexOf(name);
    const kind = this.#lowering(node)?.kind;
    const wanted = wantedAxis(this.#graph, node, position);
    if (wanted !== undefined || position < 2 || (kind !== "matmul" && kind !== "convolution")) return wanted;
    const shape = this.#shape(name);
    const axis = (this.#layoutOf(node).at(-1) ?? 0) - (this.#shape(node.outputs[0]).length - shape.length);
    return axis >= 0 && shape[axis] > 1 ? axis : undefined;
  }

  /** Whether a reader takes the value only with other axes on partitions. */
  #turns(node: Node, name: string, layout: Layout): boolean {
    const wanted = this.#wantedAxis(node, name);
    if (wanted !== undefined) return !gives(layout, wanted, this.#shape(name).length);
    if (this.#isReduced(node, name, layout)) return true;
    return node.outputs.some(
      (output) => output !== "" && this.#rearrangement(node, output) && this.#passed(node, name, layout, output) === undefined,
    );
  }

  #isReduced(node: Node, name: string, layout: Layout): boolean {
    return node.inputs[0] === name && this.#reduced(node).some((axis) => layout.includes(axis));
  }

  /** The layout that a reader's result would have because of this one. */
  #follows(node: Node, name: string, layout: Layout, output: string): Layout | undefined {
    const kind = this.#lowering(node)?.kind;
    if (kind === "matmul" || kind === "convolution" || kind === "pool") return undefined;
    if (!this.#isReduced(node, name, layout)) return this.#passed(node, name, layout, output);
    const axis = partitionAxisFor(this.#shape(name), layout.at(-1) ?? 0, this.#reduced(node));
    return kind === "softmax" && axis >= 0 ? [axis] : undefined;
  }

  /** Layouts that readers would take as they are. */
  #wishes(name: string, horizon = HORIZON): Layout[] {
    if (horizon === 0) return [];
    const wishes = (this.#consumers.get(name) ?? []).flatMap((node): Layout[] => {
      const wanted = this.#wantedAxis(node, name);
      if (wanted !== undefined) return [[wanted]];
      return node.outputs.flatMap((output) => (output === "" ? [] : this.#wishesThrough(node, name, output, horizon)));
    });
    return [...new Map(wishes.map((layout) => [layout.join(), layout])).values()];
  }

  #wishesThrough(node: Node, name: string, output: string, horizon: number): Layout[] {
    const [from, to] = [this.#shape(name), this.#shape(output)];
    const way = this.#rearrangement(node, output);
    if (way) return this.#wishes(output, horizon - 1).map((layout) => sourceLayout(layout, way));
    if (this.#lowering(node)?.kind !== "pointwise" || elementCount(from) !== elementCount(to)) return [];
    return this.#wishes(output, horizon - 1).map((layout) => layout.map((axis) => axis - (to.length - from.length)));
  }

  /** Layouts that a node can write without turning its result around; none if any is as good. */
  #offers(node: Node, output: string): Layout[] {
    const lowering = this.#lowering(node);
    const shape = this.#shape(output);
    switch (lowering?.kind) {
      case "convolution":
      case "pool":
        return [[1]];
      case "matmul": {
        const [rows, columns] = [shape.length - 2, shape.length - 1];
        const byWeights = this.#graph.constants.has(node.inputs[1]) && this.#shape(node.inputs[1]).length === 2;
        const leading = shape
          .map((_, axis) => axis)
          .slice(byWeights ? 0 : rows, columns)
          .reverse();
        const fit = (layout: Layout) =>
          layout.slice(0, -1).every((axis) => !byWeights && axis < rows) &&
          (layout.at(-1) === columns || leading.some((axis) => axis === layout.at(-1) && shape[axis] >= ROWS_MIN));
        return [[columns], ...leading.map((axis) => [axis]), ...this.#wishes(output)].filter((layout) => layout.length > 0 && fit(layout));
      }
      case "reduce":
      case "softmax": {
        const layout = this.#layouts.get(node.inputs[0]);
        const from = this.#shape(node.inputs[0]);
        const reduced = this.#reduced(node);
        const axis = partitionAxisFor(from, layout?.at(-1) ?? 0, reduced);
        if (axis < 0) return [];
        return [[from.length === shape.length ? axis : axis - reduced.filter((other) => other < axis).length]];
      }
      default:
        return [...this.#inputLayouts(node, output), ...(this.#isPieces(node) ? this.#wishes(output).filter(isPlain) : [])];
    }
  }

  /** Whether a node moves pieces, which it can bring to any layout. */
  #isPieces(node: Node): boolean {
    return this.#lowering(node)?.kind === "movement" && node.outputs.every((output) => output === "" || !this.#rearrangement(node, output));
  }

  /** The layouts that an output would have because of the inputs'; what is repeated is read from DRAM, and asks for none. */
  #inputLayouts(node: Node, output: string): Layout[] {
    return node.inputs.flatMap((name) => {
      const layout = this.#layouts.get(name);
      if (!layout || elementCount(this.#shape(name)) * node.inputs.length * 2 <= elementCount(this.#shape(output))) return [];
      const passed = this.#passed(node, name, layout, output);
      return passed ? [passed] : [];
    });
  }

  /** How many inputs have to be turned around for a node to write a layout. */
  #effort(node: Node, output: string, layout: Layout): number {
    const kind = this.#lowering(node)?.kind;
    if (kind !== "pointwise" && kind !== "movement") return 0;
    return this.#inputLayouts(node, output).filter((other) => other.join() !== layout.join()).length;
  }

  /** The best offer; of values that come from DRAM, whose rows are whole there, any axis but the last is as good. */
  #choose(name: string, node: Node | undefined): Layout {
    const shape = this.#shape(name);
    const usual = [Math.max(0, Math.min(1, shape.length - 1))];
    const offers = node ? this.#offers(node, name) : [];
    const valid = offers.filter((layout) => layout.length > 0 && layout.every((axis) => axis >= 0 && axis < shape.length));
    const fromDram = valid.length === 0;
    const candidates = fromDram ? [usual, ...this.#wishes(name).filter(isPlain)] : valid;
    let best: { layout: Layout; cost: number } = { layout: usual, cost: Number.POSITIVE_INFINITY };
    for (const layout of candidates) {
      const scattered = fromDram && shape.length > 1 && layout[0] === shape.length - 1;
      const cost = this.#cost(name, layout) + (node ? this.#effort(node, name, layout) : 0) + Number(scattered);
      if (cost < best.cost) best = { layout, cost };
    }
    return best.layout;
  }

  /** The layout of a node's first output. */
  #layoutOf(node: Node): Layout {
    this.#decide(node);
    return this.#layouts.get(node.outputs[0]) ?? [];
  }

  #decide(node: Node): void {
    for (const output of node.outputs) {
      if (output !== "" && !this.#layouts.has(output)) this.#layouts.set(output, this.#choose(output, node));
    }
  }

  /** For each value that is another arrangement of another's memory on chip the name of that one. */
  aliases(): Map<string, string> {
    const aliases = new Map<string, string>();
    const inputs = new Set(this.#graph.inputs);
    for (const node of this.#graph.nodes) {
      const [source] = node.inputs;
      const layout = this.#layouts.get(source);
      if (!layout || inputs.has(source)) continue;
      for (const output of node.outputs) {
        const way = output === "" ? undefined : this.#rearrangement(node, output);
        if (way && rearrangedLayout(layout, way, this.#shape(source), this.#shape(output)))
          aliases.set(output, aliases.get(source) ?? source);
      }
    }
    return aliases;
  }

  /** Values in `rows` are only read from DRAM, and have too few channels: their rows lie on partitions while they are made. */
  run(rows: ReadonlySet<string>): Map<string, Layout> {
    for (const name of rows) this.#layouts.set(name, [2]);
    for (const name of this.#graph.inputs) if (!rows.has(name)) this.#layouts.set(name, this.#choose(name, undefined));
    for (const node of this.#graph.nodes) this.#decide(node);
    return this.#layouts;
  }
}

/** For each value the other axes on partitions that its readers want, of which a whole copy serves all. */
function chooseCopies(graph: Graph, layouts: ReadonlyMap<string, Layout>): Map<string, number[]> {
  const copies = new Map<string, number[]>();
  for (const node of graph.nodes) {
    for (const [position, name] of node.inputs.entries()) {
      const layout = layouts.get(name);
      const wanted = layout && wantedAxis(graph, node, position);
      if (wanted === undefined || gives(layout!, wanted, staticType(graph, name).shape.length)) continue;
      const known = copies.get(name) ?? [];
      if (!known.includes(wanted)) copies.set(name, [...known, wanted]);
    }
  }
  return copies;
}

/** The layout of every value that is not constant, those that need no memory of their own, and the copies that readers want. */
export function arrange(graph: Graph, rows: ReadonlySet<string>): Arrangement {
  const chooser = new LayoutChooser(graph);
  const layouts = chooser.run(rows);
  return { layouts, aliases: chooser.aliases(), copies: chooseCopies(graph, layouts) };
}
