import { describe, expect, test } from "vitest";
import { parseGraph } from "../../src/graph/text.js";
import { recordOf } from "../../src/operators/index.js";
import { applyPrecision, parsePrecision } from "../../src/passes/index.js";

const bf16 = "bfloat16";
const fp16 = "float16";

describe("--fast-math and --fp32-cast", () => {
  test.each([
    [undefined, undefined, bf16, bf16, "exact", bf16],
    [["all"], undefined, bf16, bf16, "exact", bf16],
    [["none"], undefined, "float32", bf16, "exact", bf16],
    [["fp32-cast-all"], undefined, bf16, bf16, "exact", bf16],
    [["fp32-cast-all-fp16"], undefined, fp16, fp16, "exact", fp16],
    [["fp32-cast-matmult"], undefined, "float32", bf16, "exact", fp16],
    [["fp32-cast-matmult", "no-fast-relayout"], undefined, "float32", bf16, "exact", fp16],
    [["none", "fast-relayout"], undefined, "float32", bf16, "fast", bf16],
    [["none", "fp32-cast-matmult-fp16"], undefined, "float32", fp16, "exact", fp16],
    [["all", "no-fast-relayout"], undefined, bf16, bf16, "exact", bf16],
    [["no-fast-relayout"], undefined, bf16, bf16, "exact", bf16],
    [undefined, "matmult-bf16", "float32", bf16, "exact", bf16],
    [["all", "fast-relayout"], undefined, bf16, bf16, "fast", bf16],
    [["none"], "all", bf16, bf16, "exact", bf16],
    [["fp32-cast-all"], "matmult-fp16", "float32", fp16, "exact", fp16],
  ] as const)("%j %s", (words, cast, tensors, matmult, relayout, transposeType) => {
    expect(parsePrecision(words, cast)).toEqual({ tensors, matmult, relayout, transposeType });
  });
  test.each([
    [["al"], undefined, /NCC0451.*did you mean all\?/],
    [["all", "none"], undefined, /NCC0452.*all none/],
    [["fp32-cast-all", "fp32-cast-matmult"], undefined, /NCC0452/],
    [["fast-relayout", "no-fast-relayout"], undefined, /NCC0452/],
    [undefined, "matmul", /NCC0453.*did you mean matmult\?/],
    [[], undefined, /NCC0454/],
  ] as const)("%j %s is refused", (words, cast, message) => {
    expect(() => parsePrecision(words, cast)).toThrow(message);
  });
});

test("what becomes integers is not rounded to 16 bits on the way", () => {
  const graph = parseGraph(`graph "count" { input %x: float32[2, 4]
    %sum: float32[2, 4] = Add(%x, %x) @add
    %turned: float32[4, 2] = Transpose(%sum) @turn
    %whole: int32[4, 2] = Cast(%turned) {to = 6} @cast
    %other: float32[2, 4] = Neg(%sum) @neg
    %y: float32[2, 4] = Abs(%other) @abs
    output %whole
    output %y }`);
  const { types } = applyPrecision(graph, parsePrecision(["all"], undefined), recordOf);
  expect(["sum", "turned", "other"].map((value) => types.get(value)?.dtype)).toEqual(["float32", "float32", "bfloat16"]);
});
