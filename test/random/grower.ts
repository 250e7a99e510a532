/**
 * Grows a graph node by node. Of each value it knows bounds, so that all stay in sane ranges, and whether it is exact: free of every
 * rounding to 16 bits, so that operators that jump (Floor, Greater, ArgMax, casts) may read it.
 */
import { type Attributes, type Dim, type Graph, isStatic, type Node, type StaticType, type TensorType } from "../../src/graph/graph.js";
import { type DType, elementCount, fromNumbers, int64Tensor, isFloat, type Tensor } from "../../src/graph/tensor.js";
import { recordOf } from "../../src/operators/index.js";
import { Draw } from "./draw.js";

/** What is known of a value's elements. */
export interface Bounds {
  readonly low: number;
  readonly high: number;
  /** Floats: multiples of 1/8 that 8 bits hold, or other numbers that all 16-bit types hold. Integers and bools always are. */
  readonly exact: boolean;
}

export interface Value extends Bounds {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly number[];
  /** Of a constant. */
  readonly tensor?: Tensor;
}

export interface GrowOptions {
  /** The inputs' first dimension is the batch, open in the graph, which no operator mixes. Absent: static shapes. */
  readonly batch?: number;
}

/** The graph, and one set of inputs. */
export interface Grown {
  readonly graph: Graph;
  readonly inputs: ReadonlyMap<string, Tensor>;
  /** Values that are not exact, or float constants: what a 16-bit mode may round. */
  readonly rounded: ReadonlySet<string>;
  /** Holds numbers that no FLOAT16 is near to. */
  readonly far: boolean;
  /** Holds infinities. */
  readonly infinite: boolean;
}

export type Attribute = Attributes[string];
export const int = (value: number): Attribute => ({ type: "int", value });
export const ints = (value: readonly number[]): Attribute => ({ type: "ints", value });
export const float = (value: number): Attribute => ({ type: "float", value: Math.fround(value) });
export const text = (value: string): Attribute => ({ type: "string", value });

/** Float values are kept within this. */
export const LIMIT = 8;
const MOST_ELEMENTS = 20_000;
const extents = [1, 2, 3, 4, 5, 6, 7, 8, 9, 12, 16, 17];
const longExtents = [31, 33, 63, 64, 65, 96, 127, 128, 129, 130, 200, 256, 300];
export const floatTypes: readonly DType[] = ["float32", "float16", "bfloat16"];
/** Greatest magnitude of an integer type's values here. */
export const integerLimits: Partial<Record<DType, number>> = {
  int8: 100,
  uint8: 200,
  int16: 30_000,
  uint16: 60_000,
  int32: 2 ** 29,
  uint32: 2 ** 29,
  int64: 2 ** 50,
  uint64: 2 ** 50,
};

/** Float values that every 16-bit type holds, at the ends of what it holds. */
const floatEnds = [
  ...[Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, Number.NaN, -0, 0],
  ...[2 ** -14, -(2 ** -14), 2 ** -24, 65280, -65280, 32768, 1, -1],
];
/** And those that only FP32 and BFLOAT16 hold. */
const farFloats = [2 ** 127, -(2 ** 127), 1.9921875 * 2 ** 127, 2 ** -126, -(2 ** -126), 2 ** -130];

/** The least and the greatest value of an integer type that a double holds. */
function integerEnds(dtype: DType): readonly [low: number, high: number] {
  const bits = Number(/\d+$/.exec(dtype)?.[0]);
  const high = dtype.startsWith("u") ? 2 ** bits : 2 ** (bits - 1);
  return [dtype.startsWith("u") ? 0 : -high, high - (bits === 64 ? 2 ** 11 : 1)];
}

export class Grower {
  readonly draw: Draw;
  values: Value[] = [];
  /** Values beyond the bounds that are told of them, for recipes that `beyond` runs. */
  private wild: Value[] = [];
  private isWild = false;
  /** Whether some values are so far out that FP32 alone holds them. */
  private isFar = false;
  private hasInfinities = false;
  /** Values that no node reads. */
  private readonly unread = new Set<string>();
  private readonly hidden = new Set<string>();
  private readonly nodes: Node[] = [];
  private readonly types = new Map<string, TensorType>();
  private readonly constants = new Map<string, Tensor>();
  private readonly inputs = new Map<string, Tensor>();
  private readonly rounded = new Set<string>();
  /** Type that most of the graph's floats have. */
  readonly dtype: DType;

  constructor(
    seed: number,
    readonly options: GrowOptions,
  ) {
    this.draw = new Draw(seed, "graph");
    this.dtype = this.draw.pick([...new Array<DType>(6).fill("float32"), "float16", "bfloat16"]);
  }

  /** Axes that operators may mix: all but the batch. */
  axesOf({ shape }: { readonly shape: readonly number[] }): number[] {
    return shape.map((_, axis) => axis).slice(this.firstAxis);
  }

  /** 1 where axis 0 is the batch. */
  get firstAxis(): number {
    return this.options.batch === undefined ? 0 : 1;
  }

  /** The extent of the batch, or any. */
  leading(): number {
    return this.options.batch ?? this.draw.integer(1, 3);
  }

  extent(): number {
    return this.draw.pick(this.draw.chance(0.1) ? longExtents : extents);
  }

  /**
   * Runs a recipe whose operators take any value whatever, among values of their own: infinities, NaN, zeros of either sign, subnormals, the
   * ends of integer types. What it makes is among them.
   */
  beyond<T>(recipe: () => T): T {
    const plain = this.values;
    [this.values, this.isWild] = [this.wild, true];
    try {
      return recipe();
    } finally {
      [this.values, this.wild, this.isWild] = [plain, this.values, false];
    }
  }

  /** With the batch in front, if there is one. */
  shape(rank = this.draw.pick([0, 1, 2, 2, 3, 3, 4, 4, 5])): number[] {
    const own = Math.max(rank, this.firstAxis);
    for (;;) {
      const shape = Array.from({ length: own }, (_, axis) => (axis === 0 ? (this.options.batch ?? this.extent()) : this.extent()));
      if (elementCount(shape) <= MOST_ELEMENTS / 4) return shape;
    }
  }

  /** Elements of a type: floats on a grid if exact, else normal; integers up to 20; bools. */
  elements(dtype: DType, shape: readonly number[], exact: boolean, scale = 1): { tensor: Tensor; bounds: Bounds } {
    const count = elementCount(shape);
    if (this.isWild && dtype !== "bool") return this.wildElements(dtype, shape);
    if (dtype === "bool") {
      const values = Array.from({ length: count }, () => this.draw.integer(0, 1));
      return { tensor: fromNumbers(dtype, shape, values), bounds: { low: 0, high: 1, exact: true } };
    }
    if (!isFloat(dtype)) {
      // Of 64 bits at times with both words in use.
      const high = dtype.endsWith("64") && this.draw.chance(0.3) ? 2 ** 36 : 20;
      const low = dtype.startsWith("u") ? 0 : -high;
      const values = Array.from({ length: count }, () => this.draw.integer(low, high));
      return { tensor: fromNumbers(dtype, shape, values), bounds: { low, high, exact: true } };
    }
    const values = exact
      ? Float32Array.from({ length: count }, () => this.draw.integer(-31, 31) / 8)
      : this.draw.normals(count, scale).map((value) => Math.max(-4 * scale, Math.min(4 * scale, value)));
    const most = exact ? 4 : 4 * scale;
    return { tensor: fromNumbers(dtype, shape, values), bounds: { low: -most, high: most, exact } };
  }

  private wildElements(dtype: DType, shape: readonly number[]): { tensor: Tensor; bounds: Bounds } {
    const count = elementCount(shape);
    if (isFloat(dtype)) {
      const far = dtype === "float32" && this.draw.chance(0.2);
      this.isFar ||= far;
      this.hasInfinities = true;
      const ends = far ? [...floatEnds, ...farFloats] : floatEnds;
      const values = Array.from({ length: count }, () => (this.draw.chance(0.5) ? this.draw.pick(ends) : this.draw.integer(-31, 31) / 8));
      return { tensor: fromNumbers(dtype, shape, values), bounds: { low: -4, high: 4, exact: true } };
    }
    const [low, high] = integerEnds(dtype);
    const one = () => this.draw.pick([low, high, low / 2, high / 2, 0, 1, this.draw.integer(0, 20), this.draw.real(low, high)]);
    const values = Array.from({ length: count }, () => Math.trunc(one()));
    return { tensor: fromNumbers(dtype, shape, values), bounds: { low: dtype.startsWith("u") ? 0 : -4, high: 4, exact: true } };
  }

  input(dtype: DType, shape: readonly number[] = this.shape(), exact = dtype === "float64" || this.draw.chance(0.4)): Value {
    const { tensor, bounds } = this.elements(dtype, shape, exact);
    const name = `x${this.inputs.size}`;
    this.inputs.set(name, tensor);
    const dims: readonly Dim[] = this.options.batch === undefined ? shape : ["N", ...shape.slice(1)];
    this.types.set(name, { dtype, shape: dims });
    return this.keep({ name, dtype, shape, ...bounds });
  }

  constant(dtype: DType, shape: readonly number[], exact: boolean, scale = 1): Value {
    const { tensor, bounds } = this.elements(dtype, shape, exact, scale);
    return this.fixed(tensor, bounds);
  }

  /** A float constant with values from low to high. */
  within(dtype: DType, shape: readonly number[], low: number, high: number): Value {
    const values = Float32Array.from({ length: elementCount(shape) }, () => this.draw.real(low, high));
    return this.fixed(fromNumbers(dtype, shape, values), { low, high, exact: false });
  }

  /** A constant scalar. */
  scalar(dtype: DType, value: number): Value {
    return this.fixed(fromNumbers(dtype, [], [value]), { low: value, high: value, exact: true });
  }

  integers(values: readonly number[], shape: readonly number[] = [values.length]): Value {
    return this.fixed(int64Tensor(shape, values), { low: Math.min(...values), high: Math.max(...values), exact: true });
  }

  fixed(tensor: Tensor, { low, high, exact }: Bounds): Value {
    const name = `c${this.constants.size}`;
    this.constants.set(name, tensor);
    this.types.set(name, { dtype: tensor.dtype, shape: tensor.shape });
    if (!exact) this.rounded.add(name);
    return { name, dtype: tensor.dtype, shape: tensor.shape, tensor, low, high, exact };
  }

  /** Any value that suits, preferring those that nothing reads yet; undefined if there is none. */
  find(suits: (value: Value) => boolean): Value | undefined {
    const fitting = this.values.filter(suits);
    if (fitting.length === 0) return undefined;
    const fresh = fitting.filter(({ name }) => this.unread.has(name));
    return this.draw.pick(fresh.length > 0 && this.draw.chance(0.6) ? fresh : fitting);
  }

  /** Adds a node whose outputs' types the operator's record tells. Undefined where they would be too large, or values out of range. */
  add(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes, ...bounds: readonly Bounds[]): Value[] | undefined {
    const record = recordOf(op, "");
    if (record === undefined) throw new Error(`no record of ${op}`);
    const types = record.infer({
      op,
      attributes,
      inputs: inputs.map((value) => value && { dtype: value.dtype, shape: value.shape }),
      constants: inputs.map((value) => value?.tensor),
      outputCount: bounds.length,
    });
    const outputs = bounds.map((bound, index) => {
      const type = types[index];
      if (!isStatic(type)) throw new Error(`${op}: the type of output ${index} is not known`);
      return { ...bound, ...type };
    });
    return this.typed(op, inputs, attributes, ...outputs);
  }

  /** The same with outputs whose types are given. */
  typed(
    op: string,
    inputs: readonly (Value | undefined)[],
    attributes: Attributes,
    ...types: readonly (Bounds & StaticType)[]
  ): Value[] | undefined {
    const name = `${op}${this.nodes.length}`;
    const outputs = types.map(
      ({ dtype, shape, low, high, exact }, index): Value => ({
        name: `${name}_${index}`,
        dtype,
        shape,
        low,
        high,
        exact: exact || !isFloat(dtype),
      }),
    );
    const sane = ({ dtype, shape, low, high }: Value) =>
      (low >= 0 || !dtype.startsWith("u")) &&
      elementCount(shape) <= MOST_ELEMENTS &&
      elementCount(shape) > 0 &&
      Math.max(-low, high) <= (isFloat(dtype) ? 1e4 : (integerLimits[dtype] ?? 1));
    if (!outputs.every(sane)) return undefined;
    for (const value of inputs) if (value) this.unread.delete(value.name);
    const names = inputs.map((value) => value?.name ?? "");
    while (names.at(-1) === "") names.pop();
    this.nodes.push({ name, op, domain: "", inputs: names, outputs: outputs.map((value) => value.name), attributes, origins: [name] });
    for (const value of outputs) this.keep(value);
    return outputs;
  }

  /** The one output of `add`. */
  node(op: string, inputs: readonly (Value | undefined)[], attributes: Attributes, bounds: Bounds): Value | undefined {
    return this.add(op, inputs, attributes, bounds)?.[0];
  }

  /** The value brought within [low, high]: as it is, cut off (which keeps it exact), or scaled and shifted. */
  fit(value: Value, low: number, high: number): Value {
    if (value.low >= low && value.high <= high) return value;
    // What is made of constants alone has no batch.
    if (value.tensor && this.firstAxis === 1) return this.within(value.dtype, value.shape, low, high);
    const bounds = [Math.ceil(low * 8) / 8, Math.floor(high * 8) / 8];
    // Far from 0, scaling and shifting would magnify what rounding does.
    const centred = Math.max(-value.low, value.high) <= 4 * (value.high - value.low);
    if (value.exact || !centred || this.draw.chance(0.3)) {
      const limits = bounds.map((bound) => this.scalar(value.dtype, bound));
      const within = {
        low: Math.max(bounds[0], Math.min(value.low, bounds[1])),
        high: Math.min(bounds[1], Math.max(value.high, bounds[0])),
      };
      return this.node("Clip", [value, ...limits], {}, { ...within, exact: value.exact }) ?? value;
    }
    const factor = (high - low) / Math.max(value.high - value.low, 1e-3);
    const shift = low - value.low * factor;
    const scaled = this.node(
      "Mul",
      [value, this.scalar(value.dtype, factor)],
      {},
      { low: value.low * factor, high: value.high * factor, exact: false },
    );
    const moved = scaled && this.node("Add", [scaled, this.scalar(value.dtype, shift)], {}, { low, high, exact: false });
    return moved ?? value;
  }

  /** The graph as grown; its outputs are the values that nothing reads, and sometimes others. */
  finish(): Grown {
    const made = this.nodes.flatMap((node) => node.outputs);
    const shown = made.filter((name) => !this.hidden.has(name));
    const outputs = shown.filter((name) => this.unread.has(name) || this.draw.chance(0.08));
    const used = new Set(this.nodes.flatMap((node) => node.inputs));
    const inputs = new Map([...this.inputs].filter(([name]) => used.has(name)));
    const constants = new Map([...this.constants].filter(([name]) => used.has(name)));
    const types = new Map([...this.types].filter(([name]) => used.has(name)));
    const graph: Graph = { name: "random", inputs: [...inputs.keys()], outputs, nodes: this.nodes, types, constants };
    return { graph, inputs, rounded: this.rounded, far: this.isFar, infinite: this.hasInfinities };
  }

  /** Hides a value from later nodes, and from the outputs: one that another batch would change. */
  hide(value: Value): void {
    this.hidden.add(value.name);
    this.values.splice(this.values.indexOf(value), 1);
  }

  get size(): number {
    return this.nodes.length;
  }

  private keep(value: Value): Value {
    this.values.push(value);
    this.unread.add(value.name);
    if (!value.exact) this.rounded.add(value.name);
    return value;
  }
}
