/** What the project knows of one operator, in one place: the contract between import, inference, check, partition and lowering. */
import type { Attribute, Attributes, Node, TensorType } from "../graph/graph.js";
import type { DType, Tensor } from "../graph/tensor.js";
import type { ReduceOp } from "../program/program.js";
import type { Exactness } from "./exactness.js";
import type { Expression } from "./expression.js";

/** One use of an operator: its attributes, and the types and constant values of its inputs (undefined: absent, or not constant). */
export interface OperatorUse {
  readonly op: string;
  readonly attributes: Attributes;
  readonly inputs: readonly (TensorType | undefined)[];
  readonly constants: readonly (Tensor | undefined)[];
  readonly outputCount: number;
  /** The node in question, for messages. */
  readonly node?: Node;
}

export interface AttributeSpec {
  readonly type: Attribute["type"];
  /** Undefined and not required: absence has a meaning of its own. */
  readonly default?: Attribute["value"];
  readonly required?: boolean;
}

/** Why an operator does not run on a NeuronCore. */
export interface Reason {
  /** Short name of the rule, in kebab-case: `dtype`, `dynamic-shape`, `rank`, `not-constant`, `no-lowering`, ... */
  readonly rule: string;
  /** The attribute, input or output that breaks it, and the value seen. */
  readonly subject: string;
  readonly value: string;
  /** The nearest form that is supported; empty where there is none. */
  readonly nearest: string;
}

/** Copies a box of the output from a strided part of one input. Offsets and strides count elements of the row-major tensors. */
export interface MovementPiece {
  readonly input: number;
  readonly inOffset: number;
  readonly inStrides: readonly number[];
  readonly outOffset: number;
  readonly outStrides: readonly number[];
  readonly sizes: readonly number[];
}

/** Data movement: the pieces of output `output` (they don't overlap), over a background of `fill` where they don't cover it. */
export interface Movement {
  readonly output: number;
  readonly fill?: number;
  readonly pieces: readonly MovementPiece[];
}

/** A contraction, after operand order and transposes are resolved. */
export interface ConvolutionGeometry {
  /** Spatial extents, outermost first; all have the same length. */
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
  readonly padsBegin: readonly number[];
  readonly padsEnd: readonly number[];
  readonly groups: number;
}

export interface PoolGeometry extends Omit<ConvolutionGeometry, "groups"> {
  readonly countIncludePad: boolean;
  /** The border behind the image as it is given: what `padsEnd` has beyond it, for windows that reach further, counts for nothing. */
  readonly padsGiven: readonly number[];
}

/** How an operator becomes instructions. Each kind is one module of `src/lower`. */
export type Lowering =
  /** The value of each output element from the same (broadcast) element of each input. */
  | { readonly kind: "pointwise"; formula(use: OperatorUse): Expression }
  /** inputs: x [N, C, ...], w, bias? */
  | { readonly kind: "convolution"; readonly transposed: boolean; geometry(use: OperatorUse): ConvolutionGeometry }
  /** inputs: a, b: the ONNX MatMul of the two. Gemm is decomposed into it. */
  | { readonly kind: "matmul" }
  | { readonly kind: "pool"; readonly op: "maximum" | "average"; geometry(use: OperatorUse): PoolGeometry }
  /** Reduces over static `axes`: post(reduce(pre(x))), where post sees the number of reduced elements. */
  | {
      readonly kind: "reduce";
      readonly op: ReduceOp;
      axes(use: OperatorUse): readonly number[];
      pre?(value: Expression): Expression;
      post?(value: Expression, count: number): Expression;
    }
  | { readonly kind: "softmax"; readonly log: boolean; axis(use: OperatorUse): number }
  | { readonly kind: "movement"; readonly items?: ItemOrder; movements(use: OperatorUse): readonly Movement[] };

/**
 * How a movement keeps the items of the first axis apart. `in order`: all elements stay in their order, so that items do where the first extent
 * stays. `by axis`: axes are moved each by itself, so that items are where the first extent of the result follows that of the input.
 */
export type ItemOrder = "in order" | "by axis";

export interface OperatorRecord {
  readonly name: string;
  readonly domain: string;
  /** Opset in which this form of the operator came (at most the pinned one). */
  readonly since: number;
  readonly minInputs: number;
  /** Infinity for variadic operators. */
  readonly maxInputs: number;
  readonly attributes: Readonly<Record<string, AttributeSpec>>;
  /** Inputs that say what to do (axes, shapes, ...) and are no data: a lowering needs them constant, of any dtype. None by default. */
  readonly parameters?: readonly number[];
  /** Element types of data that the lowering takes (by default every type that the engines hold), and gives beside those. */
  readonly types?: readonly DType[];
  /** Element types of the inputs that take others than `types`, by index. */
  readonly inputTypes?: Readonly<Record<number, readonly DType[]>>;
  /** The result follows from constants and types alone, so that nothing is left to run. */
  readonly isConstant?: true;
  /** One line for the tables: what it computes. */
  readonly summary: string;
  /** Types of the outputs (fewer: the others are unknown). Open extents stay open where they can't be known. Throws UserError for inputs that don't fit each other. */
  infer(use: OperatorUse): readonly TensorType[];
  /** Absent: the operator runs on the CPU, or is decomposed before the check. */
  readonly lowering?: Lowering;
  /** Why this use can't run on a NeuronCore; undefined if it can. Called after the rules that hold for all operators (dtypes, static shapes). */
  refuse?(use: OperatorUse): Reason | undefined;
  /** Floating-point operations of one run, a multiply-add as two. Static shapes only. Absent: those of what it is decomposed into, 0 where it is not. */
  flops?(use: OperatorUse): number;
  readonly exactness: Exactness;
}
