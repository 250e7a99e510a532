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

  test("borders that repeat the input more than once, and what is cut off first", async () => {
    const padded = (pads: string) =>
      run(
        `input %x: int32[2, 3] const %p: int64[4] = [${pads}] %y: int32[rows, columns] = Pad(%x, %p) {mode = "wrap"} @y`,
        "int32",
        [2, 3],
        [0, 1, 2, 3, 4, 5],
      );
    const long = await padded("0, 4, 1, 7");
    expect(long.shape).toEqual([3, 14]);
    const row = Array.from({ length: 14 }, (_, place) => (place + 2) % 3);
    expect(toNumbers(long)).toEqual([...row, ...row.map((value) => value + 3), ...row]);
    expect(toNumbers(await padded("0, -1, -1, 3"))).toEqual([1, 2, 1, 2, 1]);
  });

  const ends: Partial<Record<DType, readonly number[]>> = {
    int64: [5, 2 ** 31, -5, -(2 ** 31) - 7, 2 ** 40, 2 ** 40 + 2 ** 31, -(2 ** 62), 2 ** 62],
    uint64: [5, 2 ** 31, 2 ** 63, 2 ** 63 + 2 ** 31, 2 ** 40, 2 ** 40 + 2 ** 31, 0, 2 ** 62],
    uint32: [5, 2 ** 31, 2 ** 32 - 1, 2 ** 31 - 1, 0, 1, 2 ** 31 + 7, 2 ** 31 + 9],
  };
  test.each(["int64", "uint64", "uint32"] as const)("least and greatest of %s whose words have a first bit", async (dtype) => {
    const values = ends[dtype]!;
    const type = (...shape: number[]) => `${dtype}[${shape.join(", ")}]`;
    for (const [word, best] of [
      ["Min", Math.min],
      ["Max", Math.max],
    ] as const) {
      const others = values.toReversed();
      const pairs = `input %x: ${type(8)} const %k: ${type(8)} = [${others.join(", ")}] %y: ${type(8)} = ${word}(%x, %k) @y`;
      expect(toNumbers(await run(pairs, dtype, [8], values))).toEqual(values.map((value, index) => best(value, others[index])));
      for (const axis of [0, 1]) {
        const columns = `input %x: ${type(2, 4)} const %a: int64[1] = [${axis}] %y: ${type(axis === 0 ? 4 : 2)} = Reduce${word}(%x, %a) {keepdims = 0} @y`;
        const groups = Array.from({ length: axis === 0 ? 4 : 2 }, (_, place) =>
          values.filter((_, index) => (axis === 0 ? index % 4 : Math.floor(index / 4)) === place),
        );
        expect(toNumbers(await run(columns, dtype, [2, 4], values))).toEqual(groups.map((group) => best(...group)));
      }
    }
    const [low, high] = [5, 2 ** 31 + 5];
    const clip = `input %x: ${type(8)} const %l: ${dtype}[] = [${low}] const %h: ${dtype}[] = [${high}] %y: ${type(8)} = Clip(%x, %l, %h) @y`;
    expect(toNumbers(await run(clip, dtype, [8], values))).toEqual(values.map((value) => Math.min(high, Math.max(low, value))));
  });

  test.each(["DCR", "CRD"])("DepthToSpace of integers, %s, is undone by its opposite", async (mode) => {
    const values = Array.from({ length: 48 }, (_, index) => 2 ** 40 + index);
    const spread = await run(
      `input %x: int64[1, 12, 2, 2] %y: int64[1, 3, 4, 4] = DepthToSpace(%x) {blocksize = 2, mode = "${mode}"} @y`,
      "int64",
      [1, 12, 2, 2],
      values,
    );
    const plain = await run(
      `input %x: float32[1, 12, 2, 2] %y: float32[1, 3, 4, 4] = DepthToSpace(%x) {blocksize = 2, mode = "${mode}"} @y`,
      "float32",
      [1, 12, 2, 2],
      values.map((value) => value - 2 ** 40),
    );
    expect(toNumbers(spread).map((value) => value - 2 ** 40)).toEqual(toNumbers(plain));
  });
});
