/**
 * Complex numbers are two values, their real and imaginary parts: spectra inside a model that takes and gives real numbers. Fourier transforms
 * of real rows are matrix products with constants, which is what a NeuronCore is good at.
 */
import type { DType, Tensor } from "../../../graph/tensor.js";
import { Conversion, type Rule, type Rules, range } from "./rule.js";
import type { ComplexValue } from "./scope.js";

/** Operators that do the same to both parts. */
const partwise: ReadonlySet<string> = new Set(
  `Add AddN AddV2 BroadcastTo Concat ConcatV2 ExpandDims Gather GatherV2 Identity Mean Neg Pack Reshape ReverseV2 Roll Slice Split SplitV
  Squeeze StridedSlice Sub Sum Tile Transpose Unpack`.split(/\s+/),
);

const isComplex = (dtype: DType | undefined): boolean => dtype?.startsWith("complex") ?? false;

function isComplexValue(node: Conversion, value: string): boolean {
  return node.scope.complex(value) !== undefined || isComplex(node.known(value)?.dtype);
}

/** Whether a node reads complex numbers, or makes them of real ones. */
export function isOfComplex(node: Conversion): boolean {
  return node.inputs.some((input) => isComplexValue(node, input)) || (node.source.op === "Cast" && isComplex(node.dtype("DstT")));
}

function partOfConstant(node: Conversion, { dtype, shape, data }: Tensor, first: 0 | 1): string {
  const elements = Array.from({ length: data.length / 2 }, (_, index) => Number(data[2 * index + first]));
  return node.numbersOf(dtype === "complex128" ? "float64" : "float32", shape, elements);
}

function partsOf(node: Conversion, value: string): ComplexValue {
  const parts = node.scope.complex(value);
  if (parts !== undefined) return parts;
  const constant = node.known(value);
  if (constant === undefined || !isComplex(constant.dtype)) throw node.refusal("its input is no complex number that the model computes");
  return { real: partOfConstant(node, constant, 0), imaginary: partOfConstant(node, constant, 1) };
}

/** A rule of complex operands. */
const ofParts =
  (rule: (node: Conversion, ...operands: readonly ComplexValue[]) => string | ComplexValue): Rule =>
  (node) => {
    const result = rule(node, ...node.inputs.map((input) => partsOf(node, input)));
    return [typeof result === "string" ? result : node.scope.addComplex(result)];
  };

/** Products with cosines and sines of 2 pi row column / n. */
function waves(
  node: Conversion,
  value: string,
  n: number,
  shape: readonly [number, number],
  wave: (angle: number, row: number) => number,
): string {
  const [rows, columns] = shape;
  const elements = range(0, rows).flatMap((row) => range(0, columns).map((column) => wave((2 * Math.PI * ((row * column) % n)) / n, row)));
  const dtype = node.dtypeOf(value);
  return node.emit("MatMul", [value, node.numbersOf(dtype, shape, elements)]);
}

/** The first `length` positions of the last axis, at most. */
function firstOf(node: Conversion, value: string, length: number): { value: string; size: number } {
  const size = node.dims(value).at(-1);
  if (typeof size !== "number") throw node.refusal("the extent of its last axis is known at run time only");
  return size > length ? { value: node.slice(value, node.rank(value) - 1, 0, length), size: length } : { value, size };
}

/** Rows are cut or filled with zeros to `fft_length`. */
const realTransform: Rule = (node) => {
  const [n] = node.numbers(1);
  const { value, size } = firstOf(node, node.inputs[0], n);
  const shape = [size, Math.floor(n / 2) + 1] as const;
  return [
    node.scope.addComplex({
      real: waves(node, value, n, shape, Math.cos),
      imaginary: waves(node, value, n, shape, (angle) => -Math.sin(angle)),
    }),
  ];
};

/** All frequencies but the first and, of an even length, the last stand for their mirror images too. */
const inverseRealTransform: Rule = (node) => {
  const [n] = node.numbers(1);
  const bins = Math.floor(n / 2) + 1;
  const { real, imaginary } = partsOf(node, node.inputs[0]);
  const share = (bin: number) => (bin === 0 || 2 * bin === n ? 1 : 2) / n;
  const part = (from: string, wave: (angle: number) => number) => {
    const { value, size } = firstOf(node, from, bins);
    return waves(node, value, n, [size, n], (angle, bin) => share(bin) * wave(angle));
  };
  return [node.emit("Sub", [part(real, Math.cos), part(imaginary, Math.sin)])];
};

const product = (node: Conversion, a: string, b: string) => node.emit("Mul", [a, b]);

/** The real part, or a complex number without an imaginary one. */
const cast: Rule = (node) => {
  const [value] = node.inputs;
  const to = node.dtype("DstT");
  if (!isComplex(to)) return [node.cast(partsOf(node, value).real, to)];
  if (isComplexValue(node, value)) return [value];
  const real = node.cast(value, to === "complex128" ? "float64" : "float32");
  return [node.scope.addComplex({ real, imaginary: node.emit("Sub", [real, real]) })];
};

/** Of complex operands alone; of real ones these have rules of their own. */
const overloaded: Rules = {
  Cast: cast,
  Exp: ofParts((node, { real, imaginary }) => {
    const size = node.emit("Exp", [real]);
    return { real: product(node, size, node.emit("Cos", [imaginary])), imaginary: product(node, size, node.emit("Sin", [imaginary])) };
  }),
  Mul: ofParts((node, a, b) => ({
    real: node.emit("Sub", [product(node, a.real, b.real), product(node, a.imaginary, b.imaginary)]),
    imaginary: node.emit("Add", [product(node, a.real, b.imaginary), product(node, a.imaginary, b.real)]),
  })),
};

export const complexRules: Rules = {
  Complex: (node) => [node.scope.addComplex({ real: node.inputs[0], imaginary: node.inputs[1] })],
  ComplexAbs: ofParts((node, { real, imaginary }) =>
    node.emit("Sqrt", [node.emit("Add", [product(node, real, real), product(node, imaginary, imaginary)])]),
  ),
  Conj: ofParts((node, { real, imaginary }) => ({ real, imaginary: node.emit("Neg", [imaginary]) })),
  IRFFT: inverseRealTransform,
  Imag: ofParts((_, { imaginary }) => imaginary),
  RFFT: realTransform,
  Real: ofParts((_, { real }) => real),
};

/** Converts a node that is of complex numbers; `rule` is that of its operator. */
export function convertComplex(node: Conversion, rule: Rule): readonly string[] {
  const own = Object.hasOwn(complexRules, node.source.op)
    ? rule
    : Object.hasOwn(overloaded, node.source.op)
      ? overloaded[node.source.op]
      : undefined;
  if (own !== undefined) return own(node);
  if (!partwise.has(node.source.op)) throw node.refusal("it works on complex numbers");
  const half = (part: keyof ComplexValue) =>
    rule(
      new Conversion(
        node.source,
        node.inputs.map((input) => (isComplexValue(node, input) ? partsOf(node, input)[part] : input)),
        node.scope,
      ),
    );
  const [real, imaginary] = [half("real"), half("imaginary")];
  return real.map((value, index) => node.scope.addComplex({ real: value, imaginary: imaginary[index] }));
}
