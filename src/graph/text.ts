/**
 * The textual form of a graph. It prints and parses back exactly.
 *
 *     graph "main" {
 *       input %x: float32[N, 3, 224, 224]
 *       const %w: float32[1, 3, 1, 1] = [0.5, -1, nan]
 *       %y: float32[N, 1, 112, 112] = Conv(%x, %w, _) {strides = [2, 2]} @conv1 then Relu(_) from ["relu1"]
 *       output %y
 *     }
 *
 * `_` is an absent input or output; in an epilogue step it is the running value, and `#2` is the node's third input. A node's
 * name follows `@`, and `from` its origins where they are not just that name. `float32[*]` has an unknown shape, `float32[]` is a
 * scalar. Names with other characters than letters, digits and `_./$-` are quoted as in JSON. Attributes: `1` is an int, `1.0` and
 * `0.1f` (rounded to FP32) floats, `ints[]`, `floats[]`, `strings[]` empty lists. `//` starts a comment.
 */
export { parseGraph } from "./text-parse.js";
export { type PrintOptions, printGraph, printNode, printType } from "./text-print.js";
