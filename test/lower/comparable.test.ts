import { describe, expect, it } from "vitest";
import { parseGraph } from "../../src/graph/text.js";
import { comparedValues, countedValues } from "../../src/lower/comparable.js";

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

describe("values that become integers", () => {
  it("are found behind arithmetic, up to what matmults read", () => {
    const graph = parseGraph(`graph "main" {
  input %x: float32[4, 3]
  input %w: float32[3, 4]
  input %scale: float32[4]
  %p: float32[4, 4] = MatMul(%x, %w) @p
  %t: float32[4, 4] = Transpose(%p) {perm = [1, 0]} @t
  %i: int32[4, 4] = Mul(%t, %scale) @i then Cast(_) {to = 6}
  %n: float32[4, 4] = Neg(%t) @n
  %o: float32[4, 4] = Abs(%n) @o
  output %i
  output %o
}
`);
    expect([...countedValues(graph)].sort()).toEqual(["p", "scale", "t"]);
  });
});
