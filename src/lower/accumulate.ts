/** Sums of products in one PSUM bank. */
import type { Context } from "./context.js";
import { accessOf, type Box, jointly, subView, type View, withSizes } from "./view.js";

/** One matmul: `moving` has the dimensions of `window`, a box of the PSUM tile. */
export interface Product {
  readonly stationary: View;
  readonly moving: View;
  readonly window: Box;
}

/** A PSUM tile of `partitions` x `sizes` FP32 elements: at most one bank. */
export function psumTile(context: Context, partitions: number, sizes: readonly number[]): View {
  const count = sizes.reduce((product, size) => product * size, 1);
  const whole = context.emitter.chip("psum", "psum", "float32", partitions, count);
  return withSizes(whole, sizes);
}

/** Sums the products into a PSUM tile, in their order. The first starts the sum if it covers the whole tile; else the tile starts at 0. */
export function accumulate(context: Context, out: View, products: readonly Product[]): void {
  const starts = products[0]?.window.every((range, axis) => range.size === out.dims[axis].size) ?? false;
  if (!starts) jointly([out], ([target]) => context.emitter.step("vector", { kind: "memset", out: target, value: 0 }));
  for (const [index, product] of products.entries()) {
    const stationary = accessOf(product.stationary);
    jointly([subView(out, product.window), product.moving], ([target, moving]) =>
      context.emitter.step("tensor", { kind: "matmul", out: target, stationary, moving, accumulate: !starts || index > 0 }),
    );
  }
}
