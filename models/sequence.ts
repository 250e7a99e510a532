/** Builds transformers and recurrent networks layer by layer, with seeded weights that keep activations O(1) and outputs dependent on the input. */
import type { Dim } from "../src/graph/graph.js";
import { type DType, elementCount, floatTensor, int64Tensor } from "../src/graph/tensor.js";
import { GraphBuilder, type NodeAttributes } from "./graph.js";
import type { Random } from "./random.js";

/** A value of the network under construction; features, where it has any, are the last dimension: [batch, positions, width]. */
export interface Value {
  readonly name: string;
  readonly dtype: DType;
  readonly shape: readonly Dim[];
}

export interface AttentionOptions {
  readonly heads: number;
  /** Names of the layers below `name`. One name instead of three for what makes queries, keys and values: one layer, then a split. */
  readonly projections: readonly [string, string, string] | readonly [string];
  readonly output: string;
  /** Added to the scores: [batch, 1, 1, keys]. */
  readonly mask?: Value;
  /** Positions see only themselves and those before. */
  readonly causal?: boolean;
}

/** Deviation of the attention scores: above that of untrained layers (1), so that a position attends to a few others. */
const SCORE_DEVIATION = 2;

/** Scale of what attention and feed-forward layers add to x: with more, a few layers would make all texts look alike. */
const RESIDUAL_SHARE = 0.5;

/** Of biases, and of the shifts of normalizations. */
const SHIFT_DEVIATION = 0.1;

/** Gain that gives the GELU of a normal value mean square 1. */
const GELU_GAIN = 1.53;

/** The most negative FP32 number: what hides a score from Softmax. */
const HIDDEN = -3.4028234663852886e38;

const int = (value: number) => ({ type: "int", value }) as const;
const ints = (value: readonly number[]) => ({ type: "ints", value }) as const;

export class SequenceBuilder extends GraphBuilder {
  /** Gain, for the layer behind an LSTM, that gives the LSTM's output mean square of order 1. */
  static readonly LSTM_GAIN = 3;

  /** An input with the batch in front of `shape`. */
  input(name: string, dtype: DType, shape: readonly number[]): Value {
    this.declare(name, dtype, [this.batch, ...shape]);
    return { name, dtype, shape: [this.batch, ...shape] };
  }

  /** Rows of a table of normal values, by number: [...ids, width]. */
  embedding(name: string, ids: Value, rows: number, width: number, deviation = 1): Value {
    const table = this.weights(`${name}.weight`, [rows, width], deviation);
    return this.value("Gather", name, [table, ids.name], [...ids.shape, width], { axis: int(0) });
  }

  /** Values learnt for each of at most `most` positions, those of its own added to x [batch, positions, width]. */
  addPositions(name: string, x: Value, most: number, deviation: number): Value {
    const [positions, width] = [extent(x, 1), widthOf(x)];
    const table = this.weights(`${name}.weight`, [Math.max(most, positions), width], deviation);
    const bounds = [0, positions, 0].map((value, index) =>
      this.constant(`${name}.${["start", "end", "axis"][index]}`, int64Tensor([1], [value])),
    );
    const own = this.value("Slice", name, [table, ...bounds], [positions, width]);
    return this.value("Add", `${name}.add`, [x.name, own.name], x.shape);
  }

  /** Scale in [0.5, 1.5], as trained. */
  layerNormalization(name: string, x: Value, epsilon: number): Value {
    const width = widthOf(x);
    const random = this.random(name);
    const scale = this.constant(`${name}.weight`, floatTensor([width], uniform(random, width, 0.5, 1.5)));
    const shift = this.constant(`${name}.bias`, floatTensor([width], random.normals(width, SHIFT_DEVIATION)));
    const attributes = { axis: int(-1), epsilon: { type: "float", value: epsilon } } as const;
    return this.value("LayerNormalization", name, [x.name, scale, shift], x.shape, attributes);
  }

  /** x W + b; W has deviation `gain` / sqrt(fan-in): outputs of mean square gain squared for inputs of mean square 1. */
  linear(name: string, x: Value, width: number, gain = 1): Value {
    const shape = [...x.shape.slice(0, -1), width];
    const fanIn = widthOf(x);
    const weight = this.weights(`${name}.weight`, [fanIn, width], gain / Math.sqrt(fanIn));
    const product = this.value("MatMul", `${name}.matmul`, [x.name, weight], shape);
    return this.value("Add", name, [product.name, this.weights(`${name}.bias`, [width], SHIFT_DEVIATION)], shape);
  }

  /** The scores of classes, some of which reach further than others: the best one then leads by more, as in trained networks. */
  classifier(name: string, x: Value, classes: number): Value {
    const scales = floatTensor([classes], this.random(`${name}.scale`).normals(classes, 0.7).map(Math.exp));
    const scores = this.linear(name, x, classes);
    return this.value("Mul", `${name}.scores`, [scores.name, this.constant(`${name}.scale`, scales)], scores.shape);
  }

  /** Two layers with GELU (its tanh form if so said) between them, on four times the width. */
  feedForward(names: readonly [string, string], x: Value, form: "none" | "tanh" = "none"): Value {
    const up = this.linear(names[0], x, 4 * widthOf(x));
    const approximate = { type: "string", value: form } as const;
    return this.linear(
      names[1],
      this.value("Gelu", `${names[0]}.gelu`, [up.name], up.shape, { approximate }),
      widthOf(x),
      RESIDUAL_SHARE * GELU_GAIN,
    );
  }

  /** Softmax of queries times keys, times values, and a layer on it. */
  attention(name: string, x: Value, options: AttentionOptions): Value {
    const { heads, output, causal = false, mask } = options;
    const [batch, positions] = x.shape;
    const size = widthOf(x) / heads;
    const [queries, keys, values] = this.projections(name, x, options.projections).map((projected, index) =>
      this.transpose(`${projected.name}.transpose`, this.splitWidth(projected, heads), index === 1 ? [0, 2, 3, 1] : [0, 2, 1, 3]),
    );
    const scoresShape = [batch, heads, positions, positions];
    const scale = this.constant(`${name}.scale`, floatTensor([], [1 / Math.sqrt(size)]));
    const products = this.value("MatMul", `${name}.scores`, [queries.name, keys.name], scoresShape);
    let scores = this.value("Mul", `${name}.scaled`, [products.name, scale], scoresShape);
    if (mask !== undefined) scores = this.value("Add", `${name}.masked`, [scores.name, mask.name], scoresShape);
    if (causal) scores = this.hideLater(`${name}.causal`, scores, extent(x, 1));
    const shares = this.value("Softmax", `${name}.softmax`, [scores.name], scoresShape, { axis: int(-1) });
    const context = this.value("MatMul", `${name}.context`, [shares.name, values.name], [batch, heads, positions, size]);
    const merged = this.reshape(`${name}.merge`, this.transpose(`${name}.transpose`, context, [0, 2, 1, 3]), [0, 0, -1], x.shape);
    return this.linear(`${name}.${output}`, merged, widthOf(x), RESIDUAL_SHARE);
  }

  /** [batch, positions], 1 for what is seen and 0 for padding, to what is added to scores: 0 or almost minus infinity. */
  paddingMask(name: string, mask: Value): Value {
    const shape = [mask.shape[0], 1, 1, mask.shape[1]];
    const axes = this.constant(`${name}.axes`, int64Tensor([2], [1, 2]));
    const apart = this.value("Unsqueeze", `${name}.unsqueeze`, [mask.name, axes], shape, {}, mask.dtype);
    const seen = this.value("Cast", `${name}.cast`, [apart.name], shape, { to: int(1) });
    const padding = this.value("Sub", `${name}.padding`, [this.constant(`${name}.one`, floatTensor([], [1])), seen.name], shape);
    return this.value("Mul", `${name}.mask`, [padding.name, this.constant(`${name}.hidden`, floatTensor([], [HIDDEN]))], shape);
  }

  add(name: string, a: Value, b: Value): Value {
    return this.value("Add", name, [a.name, b.name], a.shape);
  }

  tanh(name: string, x: Value): Value {
    return this.value("Tanh", name, [x.name], x.shape);
  }

  logSoftmax(name: string, x: Value): Value {
    return this.value("LogSoftmax", name, [x.name], x.shape, { axis: int(-1) });
  }

  /** [batch, positions, width] to [batch, width]. */
  position(name: string, x: Value, index: number): Value {
    const constant = this.constant(`${name}.index`, int64Tensor([], [index]));
    return this.value("Gather", name, [x.name, constant], [x.shape[0], widthOf(x)], { axis: int(1) });
  }

  /** An image [batch, channels, size, size] cut into squares, each a position: [batch, positions, width]. */
  patches(name: string, image: Value, side: number, width: number): Value {
    const channels = extent(image, 1);
    const count = extent(image, 2) / side;
    const kernel = ints([side, side]);
    const inputs = [
      image.name,
      this.weights(`${name}.weight`, [width, channels, side, side], 1 / Math.sqrt(channels * side * side)),
      this.weights(`${name}.bias`, [width], SHIFT_DEVIATION),
    ];
    const rows = this.value("Conv", name, inputs, [this.batch, width, count, count], { kernel_shape: kernel, strides: kernel });
    const flat = this.reshape(`${name}.flatten`, rows, [0, 0, -1], [this.batch, width, count * count]);
    return this.transpose(`${name}.transpose`, flat, [0, 2, 1]);
  }

  /** A learnt position in front of the others, the same for each of the batch. */
  prependToken(name: string, x: Value): Value {
    const width = widthOf(x);
    const batch = this.value("Shape", `${name}.batch`, [x.name], [1], { start: int(0), end: int(1) }, "int64");
    const rest = this.constant(`${name}.extents`, int64Tensor([2], [1, width]));
    const shape = this.value("Concat", `${name}.shape`, [batch.name, rest], [3], { axis: int(0) }, "int64");
    const token = this.value(
      "Expand",
      `${name}.expand`,
      [this.weights(`${name}.weight`, [1, 1, width], 1), shape.name],
      [this.batch, 1, width],
    );
    return this.value("Concat", `${name}.concat`, [token.name, x.name], [this.batch, extent(x, 1) + 1, width], { axis: int(1) });
  }

  /** [batch, positions, width] to [batch, positions, 2 x hidden]: an LSTM in both directions. `gain` as in `linear`. */
  bidirectionalLstm(name: string, x: Value, hidden: number, gain = 2): Value {
    const [batch, positions] = x.shape;
    const width = widthOf(x);
    const inputs = [
      this.transpose(`${name}.time_first`, x, [1, 0, 2]).name,
      this.weights(`${name}.weight`, [2, 4 * hidden, width], gain / Math.sqrt(width)),
      this.weights(`${name}.recurrence.weight`, [2, 4 * hidden, hidden], 1 / Math.sqrt(hidden)),
      this.weights(`${name}.bias`, [2, 8 * hidden], SHIFT_DEVIATION),
    ];
    const attributes = { hidden_size: int(hidden), direction: { type: "string", value: "bidirectional" } } as const;
    const states = this.value("LSTM", name, inputs, [positions, 2, batch, hidden], attributes);
    const batchFirst = this.transpose(`${name}.batch_first`, states, [2, 0, 1, 3]);
    return this.reshape(`${name}.join`, batchFirst, [0, 0, -1], [batch, positions, 2 * hidden]);
  }

  private projections(name: string, x: Value, parts: AttentionOptions["projections"]): readonly Value[] {
    const gain = Math.sqrt(SCORE_DEVIATION);
    const width = widthOf(x);
    if (parts.length === 3) return parts.map((part, index) => this.linear(`${name}.${part}`, x, width, index < 2 ? gain : 1));
    const joint = this.linear(`${name}.${parts[0]}`, x, 3 * width, gain);
    const names = ["query", "key", "value"].map((part) => `${name}.${part}.output`);
    this.node("Split", `${name}.split`, [joint.name], names, { axis: int(-1), num_outputs: int(3) });
    for (const output of names) this.declare(output, "float32", x.shape);
    return names.map((output) => ({ name: output, dtype: "float32", shape: x.shape }));
  }

  /** [batch, positions, width] to [batch, positions, heads, width / heads]. */
  private splitWidth(x: Value, heads: number): Value {
    const size = widthOf(x) / heads;
    return this.reshape(`${x.name}.heads`, x, [0, 0, heads, size], [...x.shape.slice(0, 2), heads, size]);
  }

  private hideLater(name: string, scores: Value, positions: number): Value {
    const seen = Uint8Array.from({ length: positions * positions }, (_, index) => (index % positions <= index / positions ? 1 : 0));
    const mask = this.constant(`${name}.mask`, { dtype: "bool", shape: [1, 1, positions, positions], data: seen });
    return this.value("Where", name, [mask, scores.name, this.constant(`${name}.hidden`, floatTensor([], [HIDDEN]))], scores.shape);
  }

  private transpose(name: string, x: Value, perm: readonly number[]): Value {
    return this.value(
      "Transpose",
      name,
      [x.name],
      perm.map((axis) => x.shape[axis]),
      { perm: ints(perm) },
    );
  }

  /** `target` as ONNX reads it: 0 keeps an extent, -1 takes what is left. */
  private reshape(name: string, x: Value, target: readonly number[], shape: readonly Dim[]): Value {
    return this.value("Reshape", name, [x.name, this.constant(`${name}.shape`, int64Tensor([target.length], target))], shape);
  }

  private weights(name: string, shape: readonly number[], deviation: number): string {
    return this.constant(name, floatTensor(shape, this.random(name).normals(elementCount(shape), deviation)));
  }

  private value(
    op: string,
    name: string,
    inputs: readonly string[],
    shape: readonly Dim[],
    attributes: NodeAttributes = {},
    dtype: DType = "float32",
  ): Value {
    const output = `${name}.output`;
    this.node(op, name, inputs, [output], attributes);
    this.declare(output, dtype, shape);
    return { name: output, dtype, shape };
  }
}

function widthOf(x: Value): number {
  return extent(x, x.shape.length - 1);
}

/** A dimension other than the batch. */
function extent(x: Value, axis: number): number {
  const value = x.shape[axis];
  if (typeof value !== "number") throw new Error(`dimension ${axis} of ${x.name} is open`);
  return value;
}

function uniform(random: Random, count: number, low: number, high: number): Float32Array {
  return Float32Array.from({ length: count }, () => random.uniform(low, high));
}
