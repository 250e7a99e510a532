/** Contractions: convolutions, matrix products, and their quantized forms (inference only). */

import { type Dim, intAttribute, intsAttribute, stringAttribute, type TensorType } from "../graph/graph.js";
import { type DType, elementCount } from "../graph/tensor.js";
import { hardware } from "../hardware/hardware.js";
import { floatTypes } from "./pointwise.js";
import type { AttributeSpec, ConvolutionGeometry, OperatorRecord, OperatorUse, Reason } from "./record.js";
import {
  attributeFault,
  broadcast,
  dtypeOf,
  extent,
  float,
  inputFault,
  int,
  ints,
  intsOf,
  mergeDims,
  OPEN,
  outputCount,
  reason,
  requireRank,
  requireSameType,
  type Shape,
  shapeOf,
  staticShape,
  text,
} from "./shapes.js";

/** What a window slides over: the same for convolutions and pools. */
export interface Window {
  readonly kernel: readonly Dim[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly autoPad: string;
  /** All begins, then all ends; unused with auto_pad. */
  readonly pads: readonly number[];
  /**
   * SAME_* as ONNX Runtime's pools read it: padding for the kernel without its dilation, negative where strides skip elements; the output
   * extent follows from the pads.
   */
  readonly likePool: boolean;
}

export function windowOf(use: OperatorUse, kernel: readonly Dim[], likePool = false): Window {
  const axes = kernel.length;
  const autoPad = stringAttribute(use.attributes, "auto_pad", "NOTSET");
  if (!["NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER", ""].includes(autoPad)) {
    throw attributeFault(use, "auto_pad", autoPad, "use NOTSET, VALID, SAME_UPPER or SAME_LOWER");
  }
  return {
    kernel,
    strides: intsOf(use, "strides", axes, 1, 1),
    dilations: intsOf(use, "dilations", axes, 1, 1),
    autoPad: autoPad === "" ? "NOTSET" : autoPad,
    pads: intsOf(use, "pads", 2 * axes, 0, 0),
    likePool,
  };
}

/** Padding at both ends of an axis, auto_pad resolved. */
export function padsOf(window: Window, axis: number, input: number): [number, number] {
  const axes = window.kernel.length;
  if (window.autoPad === "NOTSET") return [window.pads[axis], window.pads[axes + axis]];
  if (window.autoPad === "VALID") return [0, 0];
  const reach = window.likePool ? Number(window.kernel[axis]) : reachOf(window, axis);
  const stride = window.strides[axis];
  const needed = (Math.ceil(input / stride) - 1) * stride + reach - input;
  const total = window.likePool ? needed : Math.max(0, needed);
  const begin = Math.trunc((window.autoPad === "SAME_LOWER" ? total + 1 : total) / 2);
  return [begin, total - begin];
}

/** Input elements that a window spans on an axis of a known kernel. */
export function reachOf(window: Window, axis: number): number {
  const kernel = window.kernel[axis];
  return typeof kernel === "number" ? (kernel - 1) * window.dilations[axis] + 1 : 1;
}

/** The output extent on one axis. */
export function slide(use: OperatorUse, window: Window, axis: number, input: Dim, ceil = false): Dim {
  if (typeof window.kernel[axis] === "string") return OPEN;
  return extent([input], ([size]) => {
    const [begin, end] = padsOf(window, axis, size);
    const stride = window.strides[axis];
    if (window.autoPad.startsWith("SAME") && !window.likePool) return Math.ceil(size / stride);
    const room = size + begin + end - reachOf(window, axis);
    // ONNX Runtime lets a pool's only window reach past the padding by less than a stride.
    if (room < 0 && !(window.likePool && room > -stride)) {
      const wanted = `at least ${reachOf(window, axis) - begin - end} long on axis ${axis + 2}, which the window spans`;
      throw inputFault(use, 0, wanted);
    }
    const count = (ceil ? Math.ceil(room / stride) : Math.trunc(room / stride)) + 1;
    // A window that would start in the end padding is dropped.
    return ceil && (count - 1) * stride >= size + begin ? count - 1 : count;
  });
}

function kernelOf(use: OperatorUse, weights: Shape): readonly Dim[] {
  const declared = intsAttribute(use.attributes, "kernel_shape");
  const seen = weights.slice(2);
  if (declared === undefined) return seen;
  const checked = intsOf(use, "kernel_shape", seen.length, 1, 1);
  if (checked.some((size, axis) => mergeDims(size, seen[axis]) === undefined)) {
    throw attributeFault(use, "kernel_shape", `[${checked.join(", ")}]`, `the weights' is [${seen.join(", ")}]`);
  }
  return checked;
}

function groupsOf(use: OperatorUse): number {
  const groups = intAttribute(use.attributes, "group", 1);
  if (!Number.isInteger(groups) || groups < 1) throw attributeFault(use, "group", groups, "use 1 or more");
  return groups;
}

/** Input and weight types that fit each other; undefined where a rank is unknown. */
function checkedOperands(use: OperatorUse, weightIndex: number, transposed: boolean): { input: Shape; weights: Shape } | undefined {
  const [input, weights] = [shapeOf(use, 0), shapeOf(use, weightIndex)];
  requireRank(use, 0, 3);
  if (input === undefined || weights === undefined) return undefined;
  requireRank(use, weightIndex, input.length, input.length);
  const groups = groupsOf(use);
  const channels = transposed ? weights[0] : extent([weights[1]], ([perGroup]) => perGroup * groups);
  if (mergeDims(input[1], channels) === undefined) {
    throw inputFault(
      use,
      0,
      `of ${channels} channels (axis 1), as the weights ${use.node?.inputs[weightIndex] ?? ""} with group ${groups}`,
    );
  }
  const split = transposed ? input[1] : weights[0];
  if (typeof split === "number" && split % groups !== 0) throw attributeFault(use, "group", groups, `use a divisor of ${split} channels`);
  if (weights.slice(2).some((size) => size === 0)) throw inputFault(use, weightIndex, "without empty extents");
  return { input, weights };
}

function checkBias(use: OperatorUse, index: number, channels: Dim): void {
  requireRank(use, index, 1, 1);
  const bias = shapeOf(use, index);
  if (bias && mergeDims(bias[0], channels) === undefined) throw inputFault(use, index, `[${channels}], one value an output channel`);
}

function inferConv(weightIndex: number, biasIndex: number): (use: OperatorUse) => Shape | undefined {
  return (use) => {
    const operands = checkedOperands(use, weightIndex, false);
    if (operands === undefined) return undefined;
    const { input, weights } = operands;
    checkBias(use, biasIndex, weights[0]);
    const window = windowOf(use, kernelOf(use, weights));
    return [input[0], weights[0], ...input.slice(2).map((size, axis) => slide(use, window, axis, size))];
  };
}

/** ConvTranspose: output extents and the padding that they imply. */
function transposedAxes(
  use: OperatorUse,
): { shape: Shape; window: Window; pads: [number, number][]; trailing: readonly number[] } | undefined {
  const operands = checkedOperands(use, 1, true);
  if (operands === undefined) return undefined;
  const { input, weights } = operands;
  const axes = input.length - 2;
  const groups = groupsOf(use);
  const channels = extent([weights[1]], ([perGroup]) => perGroup * groups);
  checkBias(use, 2, channels);
  const window = windowOf(use, kernelOf(use, weights));
  const trailing = intsOf(use, "output_padding", axes, 0, 0);
  const wanted = intsAttribute(use.attributes, "output_shape");
  if (wanted && (wanted.length < axes || wanted.length > axes + 2))
    throw attributeFault(use, "output_shape", wanted, `use ${axes} extents`);
  const asked = wanted?.slice(wanted.length - axes);
  const pads: [number, number][] = [];
  const spatial = input.slice(2).map((size, axis): Dim => {
    const kernel = window.kernel[axis];
    if (typeof size === "string" || typeof kernel === "string") return asked?.[axis] ?? OPEN;
    const stride = window.strides[axis];
    const full = (size - 1) * stride + trailing[axis] + reachOf(window, axis);
    if (asked === undefined && !window.autoPad.startsWith("SAME")) {
      const [begin, end] = padsOf(window, axis, size);
      pads.push([begin, end]);
      if (full - begin - end < 1)
        throw attributeFault(use, "pads", `[${window.pads.join(", ")}]`, `axis ${axis + 2} would have no element left`);
      return full - begin - end;
    }
    const output = asked?.[axis] ?? Math.min(size * stride, full);
    if (output < 1) throw attributeFault(use, "output_shape", output, "use extents of 1 or more");
    const total = Math.max(0, full - output);
    const begin = window.autoPad === "SAME_UPPER" ? Math.floor(total / 2) : Math.ceil(total / 2);
    pads.push([begin, total - begin]);
    return output;
  });
  return { shape: [input[0], channels, ...spatial], window, pads, trailing };
}

const known = (dims: readonly Dim[]): number[] =>
  dims.map((dim) => {
    if (typeof dim === "string") throw new Error(`geometry: the extent ${dim} is open`);
    return dim;
  });

/** Input channels up to which the tensor engine reads several rows of an image at once. */
const FEW_CHANNELS = 16;

/** Whether rows of the kernel go on the tensor engine's rows beside the channels, in one pass: else each tap is a pass. */
export function packsKernelRows(kernel: readonly number[], channels: number): boolean {
  return kernel.length === 2 && kernel[0] > 1 && channels <= FEW_CHANNELS && kernel[0] * channels <= hardware.tensorRows;
}

export function convolutionGeometry(use: OperatorUse): ConvolutionGeometry {
  const input = staticShape(use, 0);
  const window = windowOf(use, kernelOf(use, staticShape(use, 1)));
  const pads = input.slice(2).map((size, axis) => padsOf(window, axis, size));
  return geometryOf(use, window, pads);
}

/** `padsEnd` takes output_padding off: it can be negative, and then the output reaches past the last window. */
export function transposedGeometry(use: OperatorUse): ConvolutionGeometry {
  const axes = transposedAxes(use);
  if (axes === undefined) throw new Error(`${use.op}: open shapes`);
  const input = staticShape(use, 0);
  const outputs = known(axes.shape.slice(2));
  const pads = axes.pads.map(([begin], axis): [number, number] => {
    const full = (input[axis + 2] - 1) * axes.window.strides[axis] + reachOf(axes.window, axis);
    return [begin, full - begin - outputs[axis]];
  });
  return geometryOf(use, axes.window, pads);
}

function geometryOf(use: OperatorUse, window: Window, pads: readonly (readonly [number, number])[]): ConvolutionGeometry {
  return {
    kernel: known(window.kernel),
    strides: window.strides,
    dilations: window.dilations,
    padsBegin: pads.map(([begin]) => begin),
    padsEnd: pads.map(([, end]) => end),
    groups: groupsOf(use),
  };
}

function refuseConvolution(use: OperatorUse): Reason | undefined {
  const axes = staticShape(use, 0).length - 2;
  if (axes > 3) return reason("rank", "input 0", `${axes} spatial axes`, "1 to 3 spatial axes");
  const names = ["", "weights", "bias"];
  const open = use.inputs.findIndex((type, index) => index > 0 && type !== undefined && use.constants[index] === undefined);
  return open < 0 ? undefined : reason("not-constant", names[open], use.node?.inputs[open] ?? `input ${open}`, "a constant");
}

const convolutionAttributes: Readonly<Record<string, AttributeSpec>> = {
  auto_pad: text("NOTSET"),
  dilations: ints,
  group: int(1),
  kernel_shape: ints,
  pads: ints,
  strides: ints,
};

/** ONNX MatMul's result shape (NumPy's). */
export function matmulShape(use: OperatorUse, left: number, right: number): Shape | undefined {
  requireRank(use, left, 1);
  requireRank(use, right, 1);
  const [a, b] = [shapeOf(use, left), shapeOf(use, right)];
  if (a === undefined || b === undefined) return undefined;
  const inner = b.length === 1 ? b[0] : b[b.length - 2];
  if (mergeDims(a[a.length - 1], inner) === undefined) {
    throw inputFault(use, right, `of ${a[a.length - 1]} rows, the last extent of ${use.node?.inputs[left] ?? `input ${left}`}`);
  }
  const batch = broadcast(use, [a.slice(0, -2), b.slice(0, -2)]);
  if (batch === undefined) return undefined;
  return [...batch, ...(a.length > 1 ? [a[a.length - 2]] : []), ...(b.length > 1 ? [b[b.length - 1]] : [])];
}

function gemmShape(use: OperatorUse): Shape | undefined {
  requireRank(use, 0, 2, 2);
  requireRank(use, 1, 2, 2);
  const [a, b] = [shapeOf(use, 0), shapeOf(use, 1)];
  if (a === undefined || b === undefined) return undefined;
  const [rows, inner] = intAttribute(use.attributes, "transA", 0) ? [a[1], a[0]] : a;
  const [depth, columns] = intAttribute(use.attributes, "transB", 0) ? [b[1], b[0]] : b;
  if (mergeDims(inner, depth) === undefined) throw inputFault(use, 1, `of depth ${inner}, as the first matrix`);
  const shape = [rows, columns];
  const bias = shapeOf(use, 2);
  if (bias !== undefined) {
    requireRank(use, 2, 0, 2);
    const joined = broadcast(use, [shape, bias]);
    if (joined?.some((dim, axis) => mergeDims(dim, shape[axis]) === undefined))
      throw inputFault(use, 2, `broadcast to [${shape.join(", ")}]`);
  }
  return shape;
}

const one = (dtype: TensorType["dtype"], shape: Shape | undefined): TensorType[] => [{ dtype, shape }];

/** 2 x (elements of the output) x (products in each sum) + one add an element for a bias. */
function convolutionFlops(use: OperatorUse, transposed: boolean, outputs: readonly TensorType[], weightIndex = 1): number {
  const weights = staticShape(use, weightIndex);
  const perWeight = transposed ? elementCount(staticShape(use, 0)) : outputCount(outputs);
  return 2 * perWeight * elementCount(weights.slice(1)) + (use.inputs[2] && weightIndex === 1 ? outputCount(outputs) : 0);
}

function matmulFlops(use: OperatorUse, outputs: readonly TensorType[]): number {
  const a = staticShape(use, 0);
  const depth = use.op === "Gemm" && intAttribute(use.attributes, "transA", 0) ? a[0] : a[a.length - 1];
  return 2 * outputCount(outputs) * depth + (use.op === "Gemm" && use.inputs[2] ? outputCount(outputs) : 0);
}

const inferConvolution = (use: OperatorUse): TensorType[] => {
  requireSameType(use, 0, 1);
  requireSameType(use, 0, 2);
  return one(dtypeOf(use, 0), inferConv(1, 2)(use));
};
const inferTransposed = (use: OperatorUse): TensorType[] => {
  requireSameType(use, 0, 1);
  requireSameType(use, 0, 2);
  return one(dtypeOf(use, 0), transposedAxes(use)?.shape);
};
const inferMatmul = (use: OperatorUse): TensorType[] => {
  requireSameType(use, 0, 1);
  return one(dtypeOf(use, 0), matmulShape(use, 0, 1));
};
const inferGemm = (use: OperatorUse): TensorType[] => {
  requireSameType(use, 0, 1);
  return one(dtypeOf(use, 0), gemmShape(use));
};

const quantizedTypes: readonly DType[] = ["uint8", "int8"];
/** Of the inputs of QLinear operators: tensor, scale, zero point, twice; scale and zero point of the result; bias. */
const quantizedInputs: OperatorRecord["inputTypes"] = { 1: floatTypes, 4: floatTypes, 6: floatTypes, 8: ["int32"] };

interface Form {
  readonly name: string;
  readonly types?: readonly DType[];
  readonly inputTypes?: OperatorRecord["inputTypes"];
  readonly since: number;
  readonly inputs: readonly [number, number];
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  readonly summary: string;
  infer(use: OperatorUse): TensorType[];
  flops(use: OperatorUse): number;
  readonly lowering?: OperatorRecord["lowering"];
  readonly refuse?: OperatorRecord["refuse"];
}

const forms: readonly Form[] = [
  {
    name: "Conv",
    since: 22,
    inputs: [2, 3],
    attributes: convolutionAttributes,
    summary: "convolution, grouped, strided, dilated, over 1 to 3 spatial axes",
    infer: inferConvolution,
    flops: (use) => convolutionFlops(use, false, inferConvolution(use)),
    lowering: { kind: "convolution", transposed: false, geometry: convolutionGeometry },
    refuse: refuseConvolution,
  },
  {
    name: "ConvTranspose",
    since: 22,
    inputs: [2, 3],
    attributes: { ...convolutionAttributes, output_padding: ints, output_shape: ints },
    summary: "transposed convolution",
    infer: inferTransposed,
    flops: (use) => convolutionFlops(use, true, inferTransposed(use)),
    lowering: { kind: "convolution", transposed: true, geometry: transposedGeometry },
    refuse: refuseConvolution,
  },
  {
    name: "MatMul",
    since: 13,
    inputs: [2, 2],
    summary: "matrix product, batched with broadcasting",
    infer: inferMatmul,
    flops: (use) => matmulFlops(use, inferMatmul(use)),
    lowering: { kind: "matmul" },
    refuse: (use) => {
      const vector = [0, 1].find((index) => staticShape(use, index).length < 2);
      return vector === undefined ? undefined : reason("rank", `input ${vector}`, 1, "2 or more dimensions");
    },
  },
  {
    name: "Gemm",
    since: 13,
    inputs: [2, 3],
    attributes: { alpha: float(1), beta: float(1), transA: int(0), transB: int(0) },
    summary: "alpha A B + beta C",
    infer: inferGemm,
    flops: (use) => matmulFlops(use, inferGemm(use)),
  },
  {
    name: "ConvInteger",
    types: quantizedTypes,
    since: 10,
    inputs: [2, 4],
    attributes: convolutionAttributes,
    summary: "convolution of 8-bit integers",
    infer: (use) => one("int32", inferConv(1, -1)(use)),
    flops: (use) => convolutionFlops(use, false, one("int32", inferConv(1, -1)(use))),
  },
  {
    name: "QLinearConv",
    types: quantizedTypes,
    inputTypes: quantizedInputs,
    since: 10,
    inputs: [8, 9],
    attributes: convolutionAttributes,
    summary: "convolution of quantized tensors",
    infer: (use) => one(dtypeOf(use, 7), inferConv(3, 8)(use)),
    flops: (use) => convolutionFlops(use, false, one("uint8", inferConv(3, 8)(use)), 3),
  },
  {
    name: "MatMulInteger",
    types: quantizedTypes,
    since: 10,
    inputs: [2, 4],
    summary: "matrix product of 8-bit integers",
    infer: (use) => one("int32", matmulShape(use, 0, 1)),
    flops: (use) => matmulFlops(use, one("int32", matmulShape(use, 0, 1))),
  },
  {
    name: "QLinearMatMul",
    types: quantizedTypes,
    inputTypes: quantizedInputs,
    since: 21,
    inputs: [8, 8],
    summary: "matrix product of quantized tensors",
    infer: (use) => one(dtypeOf(use, 7), matmulShape(use, 0, 3)),
    flops: (use) => matmulFlops(use, one("uint8", matmulShape(use, 0, 3))),
  },
];

export const convolutionRecords: readonly OperatorRecord[] = forms.map(({ inputs: [minInputs, maxInputs], ...form }) => ({
  domain: "",
  attributes: {},
  types: floatTypes,
  ...form,
  minInputs,
  maxInputs,
  exactness: form.types === quantizedTypes ? "exact" : "rounded",
}));
