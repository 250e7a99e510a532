/** Delta debugging: the smallest graph that still fails, by taking out operators, outputs, attributes and extents as long as it does. */
import type { Node } from "../graph/graph.js";
import { extentsOf, type KnownValues, type Subject, withConstant, withExtent, withNode, withOutputs, withoutNodes } from "./edit.js";

export interface ShrinkOptions {
  /** Whether a graph fails as the first one does. */
  fails(subject: Subject): Promise<boolean>;
  /** Every value inside, as far as it can be had. */
  evaluate(subject: Subject): Promise<KnownValues>;
  /** Most graphs to try. */
  readonly limit: number;
  /** Hears of each graph that still fails. */
  progress?(subject: Subject, tried: number): void;
}

export interface Shrunk {
  readonly subject: Subject;
  readonly tried: number;
  /** Whether nothing more could be taken out; false where the limit was reached. */
  readonly minimal: boolean;
}

/** `subject` has to fail. */
export async function shrink(subject: Subject, options: ShrinkOptions): Promise<Shrunk> {
  const search = new Search(subject, options);
  const steps = [search.outputs, search.nodes, search.extents, search.attributes, search.constants];
  let before: Subject;
  do {
    before = search.best;
    for (const step of steps) await step.call(search);
  } while (search.best !== before && !search.exhausted);
  return { subject: search.best, tried: search.tried, minimal: !search.exhausted };
}

class Search {
  tried = 0;
  private known: KnownValues | undefined;

  constructor(
    public best: Subject,
    private readonly options: ShrinkOptions,
  ) {}

  get exhausted(): boolean {
    return this.tried >= this.options.limit;
  }

  /** Takes the graph as the best one if it fails. */
  private async attempt(candidate: Subject | undefined): Promise<boolean> {
    if (candidate === undefined || candidate.graph.outputs.length === 0 || this.exhausted) return false;
    this.tried++;
    if (!(await this.options.fails(candidate))) return false;
    this.best = candidate;
    this.options.progress?.(candidate, this.tried);
    return true;
  }

  /** One output alone; else without one at a time. */
  async outputs(): Promise<void> {
    const { outputs } = this.best.graph;
    if (outputs.length > 1) for (const output of outputs) if (await this.attempt(withOutputs(this.best, [output]))) return;
    for (const output of outputs) {
      const others = this.best.graph.outputs.filter((name) => name !== output);
      if (others.length > 0) await this.attempt(withOutputs(this.best, others));
    }
  }

  /** Runs of nodes, from half of them down to single ones. */
  async nodes(): Promise<void> {
    this.known = await this.options.evaluate(this.best);
    for (let size = this.best.graph.nodes.length >> 1; size >= 1; size >>= 1) {
      for (let start = 0; start < this.best.graph.nodes.length && !this.exhausted; ) {
        const removed = new Set(Array.from({ length: size }, (_, index) => start + index));
        // Where they are gone, others stand at `start`.
        if (!(await this.attempt(withoutNodes(this.best, removed, this.known)))) start += size;
      }
    }
  }

  async extents(): Promise<void> {
    for (const extent of extentsOf(this.best)) {
      const smaller = [1, 2, extent >> 2, extent >> 1, extent - 1].filter((value) => value >= 1 && value < extent);
      for (const value of new Set(smaller)) if (await this.attempt(withExtent(this.best, extent, value))) break;
    }
  }

  /** Attributes, and optional inputs from the last on. */
  async attributes(): Promise<void> {
    for (let index = 0; index < this.best.graph.nodes.length; index++) {
      for (const name of Object.keys(this.nodeAt(index).attributes)) {
        const node = this.nodeAt(index);
        const { [name]: _, ...attributes } = node.attributes;
        await this.attempt(withNode(this.best, index, { ...node, attributes }));
      }
      for (let input = this.nodeAt(index).inputs.length - 1; input > 0; input--) {
        const node = this.nodeAt(index);
        const inputs = node.inputs.slice(0, input);
        if (!(await this.attempt(withNode(this.best, index, { ...node, inputs })))) break;
      }
    }
  }

  async constants(): Promise<void> {
    for (const input of this.best.graph.inputs) await this.attempt(withConstant(this.best, input));
  }

  private nodeAt(index: number): Node {
    return this.best.graph.nodes[index];
  }
}
