import { describe, expect, test } from "vitest";
import { type DType, fromNumbers, toNumbers } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { runGraph } from "../../src/host/index.js";

const run = async (body: string, dtype: DType, shape: readonly number[], values: readonly number[]) => {
  const outputs = await runGraph(parseGraph(`graph "main" { ${body} output %y }`), new Map([["x", fromNumbers(dtype, shape, values)]]));
  return outputs.get("y")!;
};

describe("what ONNX Runtime lacks, on the host", () => {
  test.each(["float32", "float16", "bfloat16"] as const)("Swish with alpha, %s", async (dtype) => {
    const values = [-2, -0.5, 0, 1, 3];
    const y = await run(`input %x: ${dtype}[5] %y: ${dtype}[5] = Swish(%x) {alpha = 0.5f} @y`, dtype, [5], values);
    expect(y.dtype).toBe(dtype);
    const close = values.map((x) => expect.closeTo(x / (1 + Math.exp(-x / 2)), 2));
    expect(toNumbers(y)).toEqual(close);
  });

  test.each(["int16", "bool", "bfloat16", "float32"] as const)("EyeLike of %s", async (dtype) => {
    const y = await run(`input %x: ${dtype}[2, 3] %y: uint16[2, 3] = EyeLike(%x) {dtype = 4, k = 1} @y`, dtype, [2, 3], [1, 0, 1, 0, 1, 0]);
    expect([y.dtype, ...toNumbers(y)]).toEqual(["uint16", 0, 1, 0, 0, 0, 1]);
    const same = await run(`input %x: ${dtype}[2, 2] %y: ${dtype}[2, 2] = EyeLike(%x) @y`, dtype, [2, 2], [0, 1, 1, 0]);
    expect([same.dtype, ...toNumbers(same)]).toEqual([dtype, 1, 0, 0, 1]);
  });
});
