/** Operators that take every value, on infinities, NaN, zeros of either sign and the ends of integer types. */
import { elementTypeCodes } from "../../../src/frontend/onnx/tensor.js";
import { type DType, isFloat } from "../../../src/graph/tensor.js";
import { floatTypes, type Grower, int } from "../grower.js";
import { movement } from "./movement.js";
import { pointwise } from "./pointwise.js";
import { rare } from "./rare.js";
import type { Recipe } from "./recipe.js";
import { reduction } from "./reduce.js";

const integerTypes: readonly DType[] = ["int8", "uint8", "int16", "uint16", "int32", "uint32", "int64", "uint64"];

const anyType: Readonly<Record<string, Recipe>> = {
  ...pick(movement, ["Transpose", "Concat", "Split", "Slice", "Pad", "Expand", "Tile", "Gather", "GatherElements", "Reshape", "Trilu"]),
  ...pick(movement, ["DepthToSpace", "SpaceToDepth", "ReverseSequence", "ScatterElements"]),
  ...pick(rare, ["GatherND", "ScatterND", "Compress"]),
  ...pick(pointwise, ["Abs", "Neg", "Relu", "Identity", "Max", "Min", "Where"]),
  ...pick(pointwise, ["Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"]),
  Cast: cast,
};

const ofFloats: Readonly<Record<string, Recipe>> = pick(pointwise, ["IsNaN", "IsInf", "Floor", "Ceil", "Round"]);

/** Integers wrap at their width; what ONNX Runtime makes of a sum that does not fit is up to its compiler. */
const ofIntegers: Readonly<Record<string, Recipe>> = {
  ...pick(pointwise, ["Add", "Sub", "Mul", "BitwiseAnd", "BitwiseOr", "BitwiseXor", "BitwiseNot", "BitShift", "Mod", "Clip"]),
  ...pick(reduction, ["ReduceMax", "ReduceMin", "ArgMax", "ArgMin", "TopK", "CumSum"]),
};

function pick(recipes: Readonly<Record<string, Recipe>>, names: readonly string[]): Record<string, Recipe> {
  return Object.fromEntries(names.map((name) => [name, recipes[name]]));
}

/** Between floats, and between integers: what is no number has no integer. */
function cast(grower: Grower): unknown {
  const x = grower.find(({ dtype }) => [...floatTypes, ...integerTypes].includes(dtype));
  if (x === undefined) return undefined;
  const to = grower.draw.pick([...(isFloat(x.dtype) ? floatTypes : integerTypes), "bool"] as const);
  return grower.node("Cast", [x], { to: int(elementTypeCodes[to]) }, { low: 0, high: 4, exact: true });
}

/** A new input of a type, and operators of the kind on it. */
function among(types: readonly DType[], recipes: Readonly<Record<string, Recipe>>): Recipe {
  return (grower) =>
    grower.beyond(() => {
      if (grower.values.length === 0 || grower.draw.chance(0.2)) grower.input(grower.draw.pick(types));
      const plain = grower.values;
      grower.values = plain.filter(({ dtype }) => types.includes(dtype) || dtype === "bool");
      const known = new Set(grower.values);
      const made = grower.draw.pick(Object.values(recipes))(grower);
      grower.values = [...plain, ...grower.values.filter((value) => !known.has(value))];
      return made;
    });
}

export const wild: Readonly<Record<string, Recipe>> = {
  "floats beyond bounds": among(floatTypes, { ...anyType, ...ofFloats }),
  "integers beyond bounds": among(integerTypes, { ...anyType, ...ofIntegers }),
};
