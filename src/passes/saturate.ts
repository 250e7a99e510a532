/**
 * `--enable-saturate-infinity`: before infinities can meet what makes NaN of them (0 * inf, inf - inf, inf / inf), they become the largest finite
 * number of the type that the value is stored in. What is known to be finite stays as it is, and so do infinities that others read. A sum that itself
 * leaves FP32's range in both directions is NaN all the same.
 */

import { type EpilogueStep, type Graph, intAttribute, type Node, type TensorType } from "../graph/graph.js";
import { type DType, floatTensor, fromNumbers, isFloat, largestFinite, numberAt, type Tensor } from "../graph/tensor.js";
import {
  type Bounds,
  canBeInfinite,
  canBeOpposite,
  EVERY,
  type FloatType,
  formulaBounds,
  hull,
  isEngineFloat,
  storedBounds,
} from "../operators/bounds.js";
import { operand } from "../operators/expression.js";
import { epilogueUse, recordOf, useOf } from "../operators/index.js";
import type { Lowering, OperatorUse } from "../operators/record.js";
import { dtypeCodes } from "../operators/shapes.js";
import { loweringTraits } from "../operators/traits.js";
import { FreshNames, withoutDead, writesOf } from "./values.js";

const ZERO: Bounds = { low: 0, high: 0 };

/** What a node does with infinities. */
interface Study {
  /** Indices of inputs of which an infinity may give NaN. */
  readonly atRisk: ReadonlySet<number>;
  /** Indices of the epilogue's steps that may make NaN of the running value. */
  readonly steps: ReadonlySet<number>;
  /** Of its outputs. */
  readonly bounds: Bounds;
  /** It moves elements: its outputs are finite where its inputs are. */
  readonly moves: boolean;
}

/** Constants and the types of all values don't matter to a formula here: scalars are operands too. */
function formulaOf(lowering: Extract<Lowering, { kind: "pointwise" }>, use: OperatorUse) {
  return lowering.formula({ ...use, constants: [] });
}

/** Whether infinities among elements of such bounds, which a lowering brings together, may give NaN. */
function risksAmong(lowering: Lowering, bounds: Bounds): boolean {
  switch (lowering.kind) {
    case "convolution":
    case "matmul":
    case "softmax":
      return canBeInfinite(bounds);
    case "pool":
      return lowering.op === "average" && canBeOpposite(bounds, bounds);
    case "reduce":
      return lowering.op === "add" ? canBeOpposite(bounds, bounds) : lowering.op === "multiply" && canBeInfinite(bounds);
    case "pointwise":
    case "movement":
      return false;
  }
}

/** Of the constant's elements that are numbers. */
function boundsOfElements(constant: Tensor): Bounds {
  const { dtype, data } = constant;
  const infinity = dtype === "float16" ? 0x7c00 : 0x7f80;
  // 16-bit floats compare as their magnitudes' bits do.
  const orderOf = (bits: number) => ((bits & 0x7fff) > infinity ? Number.NaN : bits & 0x8000 ? -(bits & 0x7fff) : bits);
  let [least, most] = [-1, -1];
  let [low, high] = [Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY];
  for (let index = 0; index < data.length; index++) {
    const value = data instanceof Uint16Array ? orderOf(data[index]) : Number(data[index]);
    if (value <= low) [low, least] = [value, index];
    if (value >= high) [high, most] = [value, index];
  }
  return least < 0 ? EVERY : { low: numberAt(constant, least), high: numberAt(constant, most) };
}

class Saturation {
  private readonly bounds = new Map<string, Bounds>();
  private readonly studies = new Map<Node, Study>();
  /** Values that are finite for every reader, and those that are for some. */
  private readonly whole = new Set<string>();
  private readonly some = new Set<string>();
  /** The finite form of a value or constant beside which there is the plain one. */
  private readonly finite = new Map<string, string>();
  private readonly limits = new Map<FloatType, readonly string[]>();
  private readonly nodes: Node[] = [];
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly names: FreshNames;

  constructor(
    private readonly graph: Graph,
    private readonly movedAs: FloatType,
  ) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.names = new FreshNames(graph);
  }

  private dtypeOf(value: string): DType | undefined {
    return this.graph.types.get(value)?.dtype;
  }

  /** The type whose largest finite number limits a value: FP32 values may be rounded where they are moved. */
  private limitOf(dtype: FloatType): FloatType {
    return dtype === "float32" ? this.movedAs : dtype;
  }

  private boundsOf(value: string): Bounds {
    const known = this.bounds.get(value);
    if (known) return known;
    const dtype = this.dtypeOf(value);
    const constant = this.graph.constants.get(value);
    const elements = constant && isEngineFloat(dtype) ? boundsOfElements(constant) : EVERY;
    const found = dtype === undefined ? EVERY : this.storedIn(elements, dtype);
    this.bounds.set(value, found);
    return found;
  }

  private storedIn(bounds: Bounds, dtype: DType): Bounds {
    return storedBounds(bounds, dtype, isEngineFloat(dtype) ? this.limitOf(dtype) : dtype);
  }

  /** The operator without its epilogue. */
  private studyMain(node: Node, lowering: Lowering): Study {
    const own = useOf(this.graph, node);
    const inputBounds = (index: number | null) => this.boundsOf(node.inputs[index ?? 0]);
    const none = { steps: new Set<number>(), moves: false };
    switch (lowering.kind) {
      case "pointwise": {
        const { bounds, atRisk } = formulaBounds(formulaOf(lowering, own), inputBounds);
        return { ...none, bounds, atRisk: new Set([...atRisk].filter((index) => index !== null)) };
      }
      case "movement": {
        const fills = lowering.movements(own).map(({ fill = 0 }) => ({ low: fill, high: fill }));
        const parts = own.inputs.flatMap((type, index) => (isEngineFloat(type?.dtype) ? [inputBounds(index)] : []));
        return { ...none, bounds: [...parts, ...fills].reduce(hull, ZERO), atRisk: new Set(), moves: !fills.some(canBeInfinite) };
      }
      case "reduce": {
        const { bounds } = lowering.pre ? formulaBounds(lowering.pre(operand(0)), inputBounds) : { bounds: inputBounds(0) };
        return { ...none, bounds: EVERY, atRisk: new Set(risksAmong(lowering, bounds) ? [0] : []) };
      }
      default: {
        const atRisk = own.inputs.flatMap((type, index) => (type && risksAmong(lowering, inputBounds(index)) ? [index] : []));
        return { ...none, bounds: lowering.kind === "softmax" && !lowering.log ? { low: 0, high: 1 } : EVERY, atRisk: new Set(atRisk) };
      }
    }
  }

  private study(node: Node): Study {
    const lowering = recordOf(node.op, node.domain)?.lowering;
    if (!lowering) return { atRisk: new Set(), steps: new Set(), bounds: EVERY, moves: false };
    const main = this.studyMain(node, lowering);
    const atRisk = new Set(main.atRisk);
    const steps = new Set<number>();
    let running = main.bounds;
    for (const [index, step] of (node.epilogue ?? []).entries()) {
      const inner = recordOf(step.op, "")?.lowering;
      if (inner?.kind !== "pointwise") throw new Error(`${node.name}: ${step.op} can't be an epilogue`);
      const before = running;
      const use = epilogueUse(this.graph, node, step);
      const sourceOf = (place: number | null) => (place === null ? null : step.operands[place]);
      const found = formulaBounds(formulaOf(inner, use), (place) => {
        const source = sourceOf(place);
        if (source !== null) return this.boundsOf(node.inputs[source]);
        // Integers are finite, whatever their formula.
        const dtype = use.inputs[place ?? 0]?.dtype ?? "float32";
        return isFloat(dtype) ? before : storedBounds(before, dtype);
      });
      for (const place of found.atRisk) {
        const source = sourceOf(place);
        if (source === null) steps.add(index);
        else atRisk.add(source);
      }
      running = found.bounds;
    }
    return { atRisk, steps, bounds: running, moves: main.moves };
  }

  private studyAll(): void {
    for (const node of this.graph.nodes) {
      const study = this.study(node);
      this.studies.set(node, study);
      for (const output of writesOf(node)) this.bounds.set(output, this.storedIn(study.bounds, this.dtypeOf(output) ?? "float32"));
    }
  }

  private mayBeInfinite(value: string): boolean {
    return isEngineFloat(this.dtypeOf(value)) && canBeInfinite(this.boundsOf(value));
  }

  /** Whether a reader wants an input without infinities, gives the same with and without them, or is to see them. */
  private wish(node: Node, index: number): "wants" | "allows" | "minds" {
    const study = this.studies.get(node);
    if (study?.atRisk.has(index)) return "wants";
    const givesFinite = writesOf(node).every((output) => this.whole.has(output) || !this.mayBeInfinite(output));
    if (study?.moves && givesFinite) return "wants";
    const to = dtypeCodes[intAttribute(node.attributes, "to", 0)];
    const isCast = node.op === "Cast" && node.domain === "" && !node.epilogue?.length && to !== undefined && isFloat(to);
    return isCast && givesFinite ? "allows" : "minds";
  }

  /** Decides which values are made finite, readers before what they read. */
  private choose(): void {
    const readers = new Map<string, [Node, number][]>();
    for (const node of this.graph.nodes) {
      for (const [index, input] of node.inputs.entries())
        if (input !== "") readers.set(input, [...(readers.get(input) ?? []), [node, index]]);
    }
    const outputs = new Set(this.graph.outputs);
    const made = this.graph.nodes.toReversed().flatMap(writesOf);
    for (const value of [...made, ...this.graph.inputs, ...this.graph.constants.keys()]) {
      if (!this.mayBeInfinite(value)) continue;
      const wishes = (readers.get(value) ?? []).map(([node, index]) => this.wish(node, index));
      if (!wishes.includes("wants")) continue;
      const all = !outputs.has(value) && !wishes.includes("minds");
      (all ? this.whole : this.some).add(value);
    }
  }

  /** Names of the constants between which values of a type are finite. */
  private limitsOf(dtype: FloatType): readonly string[] {
    const known = this.limits.get(dtype);
    if (known) return known;
    const most = largestFinite[dtype];
    const made = [-most, most].map((limit) => {
      const name = this.names.next(`${limit < 0 ? "least" : "most"}/${dtype}`);
      this.constants.set(name, floatTensor([], Float32Array.of(limit)));
      this.types.set(name, { dtype: "float32", shape: [] });
      return name;
    });
    this.limits.set(dtype, made);
    return made;
  }

  /** Beside a value or constant its finite form. */
  private addFinite(value: string, dtype: FloatType): void {
    const name = this.names.next(`${value}/finite`);
    this.finite.set(value, name);
    const type = this.graph.types.get(value) ?? { dtype };
    this.types.set(name, type);
    const limit = this.limitOf(dtype);
    const constant = this.graph.constants.get(value);
    if (constant) {
      const most = largestFinite[limit];
      const values = Float64Array.from({ length: constant.data.length }, (_, index) =>
        Math.min(Math.max(numberAt(constant, index), -most), most),
      );
      this.constants.set(name, fromNumbers(dtype, constant.shape, values));
      return;
    }
    const inputs = [value, ...this.limitsOf(limit)];
    this.nodes.push({
      name: this.names.next(`${name}/clip`),
      op: "Clip",
      domain: "",
      inputs,
      outputs: [name],
      attributes: {},
      origins: [],
    });
  }

  /** The node with steps that make its running value finite before some of its steps and, for a result of type `last`, at the end. */
  private withClips(node: Node, before: ReadonlySet<number>, last: FloatType | undefined): Node {
    if (before.size === 0 && last === undefined) return node;
    const own = recordOf(node.op, node.domain)?.maxInputs ?? node.inputs.length;
    const inputs = [...node.inputs];
    while (inputs.length < own) inputs.push("");
    const clip = (dtype: FloatType): EpilogueStep => {
      const operands = this.limitsOf(dtype).map((name) => {
        const known = inputs.indexOf(name, own);
        return known >= 0 ? known : inputs.push(name) - 1;
      });
      return { op: "Clip", attributes: {}, operands: [null, ...operands], origins: [] };
    };
    const steps = (node.epilogue ?? []).flatMap((step, index) => (before.has(index) ? [clip("float32"), step] : [step]));
    if (last !== undefined) steps.push(clip(last));
    return { ...node, inputs, epilogue: steps };
  }

  private carriesEpilogue(node: Node): boolean {
    const record = recordOf(node.op, node.domain);
    if (!record?.lowering || node.outputs.length !== 1) return false;
    return loweringTraits[record.lowering.kind].carriesEpilogue && Number.isFinite(record.maxInputs);
  }

  private addNode(node: Node): void {
    const { steps, moves } = this.studies.get(node)!;
    const inputs = node.inputs.map((input, index) => {
      const finite = this.finite.get(input);
      return finite !== undefined && this.wish(node, index) !== "minds" ? finite : input;
    });
    const [result] = node.outputs;
    const dtype = this.dtypeOf(result);
    const carries = this.whole.has(result) && isEngineFloat(dtype) && this.carriesEpilogue(node);
    this.nodes.push(this.withClips({ ...node, inputs }, steps, carries ? this.limitOf(dtype) : undefined));
    for (const output of writesOf(node)) {
      const type = this.dtypeOf(output);
      const remains = this.some.has(output) || (this.whole.has(output) && !carries && !moves);
      if (remains && isEngineFloat(type)) this.addFinite(output, type);
    }
  }

  run(): Graph {
    this.studyAll();
    this.choose();
    for (const value of [...this.graph.inputs, ...this.graph.constants.keys()]) {
      const dtype = this.dtypeOf(value);
      if ((this.whole.has(value) || this.some.has(value)) && isEngineFloat(dtype)) this.addFinite(value, dtype);
    }
    for (const node of this.graph.nodes) this.addNode(node);
    return withoutDead({ ...this.graph, nodes: this.nodes, types: this.types, constants: this.constants });
  }
}

/**
 * A Neuron subgraph in its types (`applyPrecision`), with Clips where an infinity would be at risk: in the epilogue of the node that makes the value
 * where it can carry one and all readers are at risk, else nodes of their own. `movedAs`: what FP32 values may be rounded to where they change
 * their layout, FP32 where they are moved bit by bit.
 */
export function saturateInfinity(graph: Graph, movedAs: FloatType = "float32"): Graph {
  return new Saturation(graph, movedAs).run();
}
