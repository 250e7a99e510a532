/** Sums of products in one PSUM bank. */
import type { Context } from "./context.js";
import { accessOf, type Box, jointly, type View, withSizes } from "./view.js";

/** One matmul: `moving` has the dimensions of `window`, a box of the PSUM tile. */
export interface Product {
  readonly stationary: View;
  readonly moving: View;
  readonly window: Box;
}

/** The part of a view that a box of its free dimensions names. */
export function subView(view: View, box: Box): View {
  return {
    ...view,
    offset: view.offset + box.reduce((sum, range, axis) => sum + range.start * view.dims[axis].stride, 0),
    dims: box.map((range, axis) => ({ size: range.size, stride: range.step * view.dims[axis].stride })),
  };
}

/** A PSUM tile of `partitions` x `sizes` FP32 elements: at most one bank. */
export function psumTile(context: Context, partitions: number, sizes: readonly number[]): View {
  const count = sizes.reduce((product, size) => product * size, 1);
  const whole = context.emitter.chip("psum", "psum", "float32", partitions, count);
  return withSizes(whole, sizes);
}

/**
 * Sums the products into a PSUM tile, in their order, save that the first product that covers the whole tile goes first
 * (it starts the sum; the others add to what is there). Without one, the tile starts at 0.
 */
export function accumulate(context: Context, out: View, products: readonly Product[]): void {
  const covers = (product: Product) => product.window.every((range, axis) => range.size === out.dims[axis].size);
  const first = products.findIndex(covers);
  if (first < 0) jointly([out], ([target]) => context.emitter.step("vector", { kind: "memset", out: target, value: 0 }));
  const ordered = first > 0 ? [products[first], ...products.slice(0, first), ...products.slice(first + 1)] : products;
  for (const [index, product] of ordered.entries()) {
    const stationary = accessOf(product.stationary);
    jointly([subView(out, product.window), product.moving], ([target, moving]) =>
      context.emitter.step("tensor", { kind: "matmul", out: target, stationary, moving, accumulate: first < 0 || index > 0 }),
    );
  }
}
