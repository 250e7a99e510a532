import { describe, expect, it } from "vitest";
import { parseGraph } from "../../src/graph/text.js";
import { comparedValues } from "../../src/lower/comparable.js";

describe("values that are compared", () => {
  it("are found behind movements and maxima, not behind arithmetic", () => {
    const graph = parseGraph(`graph "main" {
  input %x: float32[4, 3]
  input %w: float32[3, 4]
  const %axes: int64[1] = [1]
  %t: float32[3, 4] = Transpose(%x) {perm = [1, 0]} @t
  %m: float32[3, 1] = ReduceMax(%t, %axes) {keepdims = 1} @m
  %p: float32[3, 3] = MatMul(%w, %x) @p
  %n: float32[3, 3] = Neg(%p) @n
  %e: bool[3, 4] = Equal(%t, %m) @e
  %l: bool[3, 3] = Less(%n, %p) @l
  output %e
  output %l
}
`);
    expect([...comparedValues(graph)].sort()).toEqual(["axes", "m", "n", "p", "t", "x"]);
  });
});
