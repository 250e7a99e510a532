/** Windows that slide: pools, and what works on regions (inference only). */
import { type Dim, intAttribute, intsAttribute } from "../graph/graph.js";
import { padsOf, reachOf, slide, type Window, windowOf } from "./convolution.js";
import { floatTypes } from "./pointwise.js";
import type { AttributeSpec, OperatorRecord, OperatorUse, PoolGeometry, Reason } from "./record.js";
import {
  attributeFault,
  dtypeOf,
  int,
  ints,
  intsOf,
  outputCount,
  reason,
  required,
  requireRank,
  type Shape,
  shapeOf,
  staticShape,
  text,
} from "./shapes.js";

function poolWindow(use: OperatorUse): Window {
  requireRank(use, 0, 3);
  const kernel = intsAttribute(use.attributes, "kernel_shape") ?? [];
  const axes = shapeOf(use, 0)?.length ?? kernel.length + 2;
  const window = windowOf(use, intsOf(use, "kernel_shape", axes - 2, 1, 1), true);
  const wide = kernel.findIndex((_, axis) => Math.max(window.pads[axis], window.pads[kernel.length + axis]) >= reachOf(window, axis));
  if (window.autoPad === "NOTSET" && wide >= 0) {
    throw attributeFault(use, "pads", `[${window.pads.join(", ")}]`, `use less than the window's reach (${reachOf(window, wide)})`);
  }
  return window;
}

const ceilMode = (use: OperatorUse): boolean => intAttribute(use.attributes, "ceil_mode", 0) !== 0;

function poolShape(use: OperatorUse): Shape | undefined {
  const window = poolWindow(use);
  const input = shapeOf(use, 0);
  return input?.map((size, axis): Dim => (axis < 2 ? size : slide(use, window, axis - 2, size, ceilMode(use))));
}

/** `padsEnd` reaches to the end of the last window, so that the output extents follow from it without ceil_mode. */
export function poolGeometry(use: OperatorUse): PoolGeometry {
  const window = poolWindow(use);
  const input = staticShape(use, 0).slice(2);
  const outputs = poolShape(use)?.slice(2) ?? [];
  const pads = input.map((size, axis) => padsOf(window, axis, size));
  return {
    kernel: window.kernel.map(Number),
    strides: window.strides,
    dilations: window.dilations,
    padsBegin: pads.map(([begin]) => begin),
    padsEnd: pads.map(([begin, end], axis) =>
      Math.max(end, (Number(outputs[axis]) - 1) * window.strides[axis] + reachOf(window, axis) - input[axis] - begin),
    ),
    countIncludePad: intAttribute(use.attributes, "count_include_pad", 0) !== 0,
    padsGiven: pads.map(([, end]) => end),
  };
}

/** Whether a last window reaches beyond the border that is given: it has fewer elements than others. */
export function overhangs(use: OperatorUse): boolean {
  const { padsEnd, padsGiven } = poolGeometry(use);
  return padsEnd.some((pad, axis) => pad > padsGiven[axis]);
}

function refusePool(use: OperatorUse): Reason | undefined {
  if (use.outputCount > 1) return reason("outputs", "Indices", "used", "the first output only");
  const axes = staticShape(use, 0).length - 2;
  if (axes > 3) return reason("rank", "input 0", `${axes} spatial axes`, "1 to 3 spatial axes");
  const geometry = poolGeometry(use);
  if (geometry.padsBegin.some((pad) => pad < 0)) {
    return reason("attribute", "auto_pad", `${poolWindow(use).autoPad} with strides beyond the kernel`, "explicit pads");
  }
  return undefined;
}

const windowAttributes: Readonly<Record<string, AttributeSpec>> = {
  auto_pad: text("NOTSET"),
  ceil_mode: int(0),
  dilations: ints,
  kernel_shape: required(ints),
  pads: ints,
  strides: ints,
};

function inferPool(use: OperatorUse) {
  const shape = poolShape(use);
  const first = { dtype: dtypeOf(use, 0), shape };
  return use.outputCount > 1 ? [first, { dtype: "int64" as const, shape }] : [first];
}

function inferGlobal(use: OperatorUse) {
  requireRank(use, 0, 3);
  return [{ dtype: dtypeOf(use, 0), shape: shapeOf(use, 0)?.map((dim, axis) => (axis < 2 ? dim : 1)) }];
}

function pool(name: string, extra: Readonly<Record<string, AttributeSpec>>, op: "maximum" | "average" | undefined): OperatorRecord {
  return {
    name,
    domain: "",
    since: 22,
    minInputs: 1,
    maxInputs: 1,
    attributes: { ...windowAttributes, ...extra },
    types: floatTypes,
    summary: `${op ?? "p-norm"} over sliding windows`,
    infer: inferPool,
    ...(op ? { lowering: { kind: "pool" as const, op, geometry: poolGeometry }, refuse: refusePool } : {}),
    flops: (use) => outputCount(inferPool(use)) * poolWindow(use).kernel.reduce<number>((count, size) => count * Number(size), 1),
    exactness: op === "maximum" ? "exact" : "fp32",
  };
}

function globalPool(
  name: string,
  summary: string,
  exact: boolean,
  attributes: Readonly<Record<string, AttributeSpec>> = {},
): OperatorRecord {
  return {
    name,
    domain: "",
    since: 22,
    minInputs: 1,
    maxInputs: 1,
    attributes,
    types: floatTypes,
    summary,
    infer: inferGlobal,
    flops: (use) => staticShape(use, 0).reduce((count, size) => count * size, 1),
    exactness: exact ? "exact" : "fp32",
  };
}

export const poolRecords: readonly OperatorRecord[] = [
  pool("MaxPool", { storage_order: int(0) }, "maximum"),
  pool("AveragePool", { count_include_pad: int(0) }, "average"),
  pool("LpPool", { p: int(2) }, undefined),
  globalPool("GlobalAveragePool", "mean over the spatial axes", false),
  globalPool("GlobalMaxPool", "maximum over the spatial axes", true),
  globalPool("GlobalLpPool", "p-norm over the spatial axes", false, { p: int(2) }),
];
