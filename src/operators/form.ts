/** Operators without a lowering of their own as rows of tables: their forms, and shape inference where it is cheap. Without `infer`, types are unknown. */
import { type Dim, intAttribute, type TensorType } from "../graph/graph.js";
import type { DType } from "../graph/tensor.js";
import type { Exactness } from "./exactness.js";
import { elementTypes } from "./pointwise.js";
import type { AttributeSpec, OperatorRecord, OperatorUse } from "./record.js";
import { dtypeFromCode, dtypeOf, OPEN, type Shape, shapeOf } from "./shapes.js";

export interface Form {
  /** ONNX's default domain if absent. */
  readonly domain?: string;
  readonly since: number;
  readonly inputs: readonly [number, number];
  readonly attributes?: Readonly<Record<string, AttributeSpec>>;
  /** As in the operator's record. */
  readonly parameters?: readonly number[];
  infer?(use: OperatorUse): TensorType[];
  /** As in the operator's record. */
  flops?(use: OperatorUse): number;
  /** `fp32` if absent. */
  readonly exactness?: Exactness;
  /** As in the operator's record: for those that are decomposed. */
  readonly types?: readonly DType[];
  readonly inputTypes?: OperatorRecord["inputTypes"];
  readonly isConstant?: true;
  readonly summary?: string;
}

/** Types of indices; int64 ones, which name elements of a tensor, have exact 32-bit forms. */
export const indexTypes: readonly DType[] = ["int32", "int64"];
/** Types that int32 or FP32 holds exactly. */
export const selectedTypes: readonly DType[] = elementTypes.filter((type) => type !== "uint32");

export const one = (dtype: DType, shape?: Shape): TensorType[] => [{ dtype, shape }];

/** The type of input `index`. */
export const as = (index: number) => (use: OperatorUse) => one(dtypeOf(use, index), shapeOf(use, index));

export const openOf = (rank: number): Dim[] => new Array<Dim>(rank).fill(OPEN);

export const codeOf = (use: OperatorUse, name: string, fallback: number): DType =>
  dtypeFromCode(use, name, intAttribute(use.attributes, name, fallback));

/** `dtype` attribute, or by default input 0's type. */
export const ownOr = (use: OperatorUse): TensorType[] =>
  one(use.attributes.dtype ? codeOf(use, "dtype", 1) : dtypeOf(use, 0), shapeOf(use, 0));

/** The records of a table. */
export function formRecords(table: Readonly<Record<string, Form>>): OperatorRecord[] {
  return Object.entries(table).map(([name, form]) => ({
    name,
    domain: form.domain ?? "",
    since: form.since,
    minInputs: form.inputs[0],
    maxInputs: form.inputs[1],
    attributes: form.attributes ?? {},
    ...(form.parameters ? { parameters: form.parameters } : {}),
    ...(form.types ? { types: form.types } : {}),
    ...(form.inputTypes ? { inputTypes: form.inputTypes } : {}),
    ...(form.isConstant ? { isConstant: true as const } : {}),
    summary: form.summary ?? "",
    infer: form.infer ?? (() => []),
    ...(form.flops ? { flops: form.flops } : {}),
    exactness: form.exactness ?? "fp32",
  }));
}
