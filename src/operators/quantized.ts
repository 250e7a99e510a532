/**
 * Operators on quantized tensors, in small ones. Integers of 8 bits less their zero point are exact in either 16-bit float, and so are sums of
 * up to 256 products in FP32: longer sums are put together as int32.
 */
import { type Attributes, intAttribute } from "../graph/graph.js";
import { type DType, elementCount } from "../graph/tensor.js";
import { type Builder, type Rule, range } from "./builder.js";
import type { OperatorUse, Reason } from "./record.js";
import { axisAttribute, dtypeFromCode, reason, staticShape } from "./shapes.js";

/** Products of two differences of 8-bit integers whose sum FP32 holds exactly: 256 x 255 x 255 < 2^24. */
const EXACT_PRODUCTS = 256;

const ranges: Readonly<Partial<Record<DType, readonly [number, number]>>> = {
  int8: [-128, 127],
  uint8: [0, 255],
  int16: [-32768, 32767],
  uint16: [0, 65535],
};

/** A scale or zero point as `shape`'s tensor takes it: one for all, one for each place on `axis`, or one for each block of them. */
function spread(builder: Builder, value: string, shape: readonly number[], use: OperatorUse): string {
  const own = builder.shape(value);
  const block = intAttribute(use.attributes, "block_size", 0);
  if (elementCount(own) === 1) return builder.reshape(value, []);
  const axis = axisAttribute(use, 1, shape.length);
  if (block === 0) return builder.reshape(value, new Array<number>(shape.length).fill(1).with(axis, shape[axis]));
  const apart = own.toSpliced(axis + 1, 0, block);
  const repeated = builder.reshape(builder.expand(builder.unsqueeze(value, axis + 1), apart), own.with(axis, own[axis] * block));
  return builder.slice(repeated, axis, 0, shape[axis]);
}

/** x - zero point, as int32. */
function centred(builder: Builder, x: string, zero: string | undefined): string {
  const wide = builder.cast(x, "int32");
  return zero ? builder.op("Sub", [wide, builder.cast(zero, "int32")]) : wide;
}

const dequantize: Rule = (builder, [x, scale, zero], use) => {
  const shape = staticShape(use, 0);
  const narrow = builder.dtypeOf(x) !== "int32";
  const wide = (value: string): string => builder.cast(value, "float32");
  // Integers of 16 bits and their differences are exact in FP32.
  const difference = (from: string): string => builder.op("Sub", [wide(x), wide(from)]);
  const spreadZero = zero && spread(builder, zero, shape, use);
  const plain = !narrow ? wide(centred(builder, x, spreadZero)) : spreadZero ? difference(spreadZero) : wide(x);
  const code = intAttribute(use.attributes, "output_dtype", 0);
  const result = builder.op("Mul", [plain, wide(spread(builder, scale, shape, use))]);
  return builder.cast(result, code ? dtypeFromCode(use, "output_dtype", code) : builder.dtypeOf(scale));
};

/** round(x) + zero point, within the range of the type. */
function saturated(builder: Builder, x: string, zero: string | undefined, dtype: DType): string | Reason {
  const limits = ranges[dtype];
  if (limits === undefined) return reason("dtype", "output", dtype, Object.keys(ranges).join(", "));
  const type = builder.dtypeOf(x);
  const rounded = builder.op("Round", [x]);
  const moved = zero ? builder.op("Add", [rounded, builder.cast(zero, type)]) : rounded;
  return builder.cast(builder.op("Clip", [moved, ...limits.map((limit) => builder.typed(type, limit))]), dtype);
}

const quantize: Rule = (builder, [x, scale, zero], use) => {
  const shape = staticShape(use, 0);
  const precision = intAttribute(use.attributes, "precision", 0);
  if (precision > 1) return reason("attribute", "precision", precision, "FP32, or none");
  const wide = (value: string): string => builder.cast(value, "float32");
  const ratio = builder.op("Div", [wide(x), wide(spread(builder, scale, shape, use))]);
  return saturated(builder, ratio, zero && spread(builder, zero, shape, use), builder.dtypeOf(builder.node.outputs[0]));
};

/** Outputs: the quantized tensor, its scale and its zero point. */
const dynamicQuantize: Rule = (builder, [x], use) => {
  const all = range(0, staticShape(use, 0).length);
  const nothing = builder.scalar(0);
  const [least, most] = (["Min", "Max"] as const).map((op) =>
    builder.op(op, [nothing, builder.reshape(builder.reduce(`Reduce${op}`, x, all), [])]),
  );
  const width = builder.op("Sub", [most, least]);
  const step = builder.op("Div", [width, builder.scalar(255)]);
  const scale = builder.op("Where", [builder.op("Equal", [width, nothing]), builder.scalar(1), step]);
  const start = builder.op("Clip", [builder.op("Neg", [builder.op("Div", [least, scale])]), nothing, builder.scalar(255)]);
  const zero = builder.cast(builder.op("Round", [start]), "uint8");
  const result = saturated(builder, builder.op("Div", [x, scale]), zero, "uint8");
  return typeof result === "string" ? [result, scale, zero] : result;
};

/** The sum, over parts of the contracted axis, of exact products as int32. */
function summed(builder: Builder, size: number, product: (from: number, to: number) => string): string {
  const parts = range(0, Math.ceil(size / EXACT_PRODUCTS)).map((part) => {
    const from = part * EXACT_PRODUCTS;
    return builder.cast(product(from, Math.min(size, from + EXACT_PRODUCTS)), "int32");
  });
  return parts.reduce((sum, part) => builder.op("Add", [sum, part]));
}

/** A zero point of each row (or column) of a matrix. */
function alongRows(builder: Builder, zero: string | undefined, rank: number, axis: number): string | undefined {
  if (!zero) return undefined;
  const shape = builder.shape(zero);
  if (elementCount(shape) === 1) return builder.reshape(zero, []);
  return shape.length > 1 ? zero : builder.reshape(zero, new Array<number>(rank).fill(1).with(axis, shape[0]));
}

/** a [..., m, k] by b [..., k, n], both 8-bit integers, as int32. */
function integerProduct(builder: Builder, a: string, b: string, zeroA: string | undefined, zeroB: string | undefined): string {
  const [left, right] = [builder.shape(a).length, builder.shape(b).length];
  const x = builder.cast(centred(builder, a, alongRows(builder, zeroA, left, left - 2)), "float32");
  const y = builder.cast(centred(builder, b, alongRows(builder, zeroB, right, right - 1)), "float32");
  return summed(builder, builder.shape(a)[left - 1], (from, to) =>
    builder.op("MatMul", [builder.slice(x, left - 1, from, to), builder.slice(y, Math.max(0, right - 2), from, to)]),
  );
}

const matmulInteger: Rule = (builder, [a, b, zeroA, zeroB]) => integerProduct(builder, a, b, zeroA, zeroB);

/** Convolution of 8-bit integers, as int32; undefined where its sums are too long and can't be cut. */
function integerConvolution(
  builder: Builder,
  use: OperatorUse,
  x: string,
  w: string,
  zeroX: string | undefined,
  zeroW: string | undefined,
): string | Reason {
  const shape = builder.shape(w);
  const taps = elementCount(shape.slice(2));
  const step = Math.floor(EXACT_PRODUCTS / taps);
  const groups = intAttribute(use.attributes, "group", 1);
  if (step < 1 || (groups > 1 && shape[1] > step)) {
    return reason("size", "weights", `${shape[1] * taps} products a sum`, `at most ${EXACT_PRODUCTS}, or one group and a smaller kernel`);
  }
  const input = builder.cast(centred(builder, x, zeroX && builder.reshape(zeroX, [])), "float32");
  const zero = zeroW && elementCount(builder.shape(zeroW)) > 1 ? builder.reshape(zeroW, [shape[0], ...shape.slice(1).map(() => 1)]) : zeroW;
  const weights = builder.cast(centred(builder, w, zero), "float32");
  const names = ["auto_pad", "dilations", "group", "kernel_shape", "pads", "strides"];
  const attributes: Attributes = Object.fromEntries(Object.entries(use.attributes).filter(([name]) => names.includes(name)));
  const parts = range(0, Math.ceil(shape[1] / step)).map((part) => {
    const [from, to] = [part * step, Math.min(shape[1], (part + 1) * step)];
    const whole = from === 0 && to === shape[1];
    const pair = [whole ? input : builder.slice(input, 1, from, to), builder.slice(weights, 1, from, to)];
    return builder.cast(builder.op("Conv", pair, attributes), "int32");
  });
  return parts.reduce((sum, part) => builder.op("Add", [sum, part]));
}

const convInteger: Rule = (builder, [x, w, zeroX, zeroW], use) => integerConvolution(builder, use, x, w, zeroX, zeroW);

/** An int32 sum times scale, rounded to a quantized type. */
function requantized(builder: Builder, sum: string, scale: string, zero: string, dtype: DType): string | Reason {
  return saturated(builder, builder.op("Mul", [builder.cast(sum, "float32"), scale]), zero, dtype);
}

/** a b / y of three scales, in FP32. */
function ratioOf(builder: Builder, a: string, b: string, y: string): string {
  const [left, right, result] = [a, b, y].map((scale) => builder.cast(scale, "float32"));
  return builder.op("Div", [builder.op("Mul", [left, right]), result]);
}

const qlinearMatmul: Rule = (builder, inputs) => {
  const [a, scaleA, zeroA, b, scaleB, zeroB, scaleY, zeroY] = inputs;
  const [rank, right] = [builder.shape(a).length, builder.shape(b).length];
  const [left, other] = [alongRows(builder, scaleA, rank, rank - 2), alongRows(builder, scaleB, right, right - 1)];
  const scale = ratioOf(builder, left ?? scaleA, other ?? scaleB, scaleY);
  return requantized(builder, integerProduct(builder, a, b, zeroA, zeroB), scale, zeroY, builder.dtypeOf(zeroY));
};

const qlinearConv: Rule = (builder, inputs, use) => {
  const [x, scaleX, zeroX, w, scaleW, zeroW, scaleY, zeroY, bias] = inputs;
  const perChannel = (value: string): string => {
    const count = elementCount(builder.shape(value));
    return builder.reshape(
      value,
      count === 1
        ? []
        : [
            count,
            ...builder
              .shape(w)
              .slice(2)
              .map(() => 1),
          ],
    );
  };
  const sum = integerConvolution(builder, use, x, w, zeroX, zeroW);
  if (typeof sum !== "string") return sum;
  const whole = bias ? builder.op("Add", [sum, perChannel(bias)]) : sum;
  return requantized(builder, whole, ratioOf(builder, scaleX, perChannel(scaleW), scaleY), zeroY, builder.dtypeOf(zeroY));
};

export const quantizedRules: Readonly<Record<string, Rule>> = {
  ConvInteger: convInteger,
  DequantizeLinear: dequantize,
  DynamicQuantizeLinear: dynamicQuantize,
  MatMulInteger: matmulInteger,
  QLinearConv: qlinearConv,
  QLinearMatMul: qlinearMatmul,
  QuantizeLinear: quantize,
};
