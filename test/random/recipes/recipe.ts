/** What the recipes share: how a second operand is found or made. */
import { type DType, isFloat } from "../../../src/graph/tensor.js";
import type { Bounds, Grower, Value } from "../grower.js";

/** Adds an operator to the graph; undefined where the graph has nothing that suits it. */
export type Recipe = (grower: Grower) => unknown;

export type Range = readonly [low: number, high: number];

export function broadcastShape(a: readonly number[], b: readonly number[]): number[] | undefined {
  const rank = Math.max(a.length, b.length);
  const at = (shape: readonly number[], axis: number) => shape[axis - rank + shape.length] ?? 1;
  const shape = Array.from({ length: rank }, (_, axis) => (at(a, axis) === 1 ? at(b, axis) : at(a, axis)));
  return shape.every((extent, axis) => [1, extent].includes(at(a, axis)) && [1, extent].includes(at(b, axis))) ? shape : undefined;
}

/** What values broadcast to; undefined if they don't. */
export function jointShape(values: readonly Value[]): readonly number[] | undefined {
  return values.reduce<readonly number[] | undefined>((shape, value) => shape && broadcastShape(shape, value.shape), []);
}

/** A shape that broadcasts with `shape`; without the batch if it is a constant's. */
function operandShape({ draw, firstAxis }: Grower, shape: readonly number[], constant: boolean): number[] {
  const keepsBatch = firstAxis === 1;
  const result = shape.map((size, axis) => {
    if (keepsBatch && axis === 0) return constant ? 1 : size;
    if (size === 1) return draw.chance(0.15) ? draw.integer(2, 5) : 1;
    return draw.chance(0.4) ? 1 : size;
  });
  if (!constant && keepsBatch) return result;
  const start = draw.chance(0.5) ? draw.integer(0, result.length) : 0;
  return result.slice(start);
}

/** Another operand that broadcasts with `value`: of the graph, a constant or a new input. */
export function operandFor(
  grower: Grower,
  value: Value,
  { exact = false, dtype = value.dtype }: { exact?: boolean; dtype?: DType } = {},
): Value {
  const suits = (other: Value): boolean => {
    if (other.dtype !== dtype || (exact && !other.exact)) return false;
    if (grower.firstAxis === 1 && other.shape.length !== value.shape.length) return false;
    return broadcastShape(value.shape, other.shape) !== undefined;
  };
  const known = grower.draw.chance(0.5) ? grower.find((other) => other !== value && suits(other)) : undefined;
  if (known !== undefined) return known;
  const wanted = exact || !isFloat(dtype) || grower.draw.chance(0.3);
  if (grower.draw.chance(0.12)) return grower.input(dtype, operandShape(grower, value.shape, false), wanted);
  return grower.constant(dtype, operandShape(grower, value.shape, true), wanted);
}

/** Bounds of a product of values within two ranges. */
export function productBounds(a: Bounds, b: Bounds): Range {
  const corners = [a.low * b.low, a.low * b.high, a.high * b.low, a.high * b.high];
  return [Math.min(...corners), Math.max(...corners)];
}

export function union(values: readonly Bounds[]): Bounds {
  return {
    low: Math.min(...values.map(({ low }) => low)),
    high: Math.max(...values.map(({ high }) => high)),
    exact: values.every(({ exact }) => exact),
  };
}
