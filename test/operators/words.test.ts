import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Tensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { compileModel, loadModel } from "../../src/index.js";
import { inferTypes } from "../../src/operators/index.js";

/** Values at which carries, signs and halves of words meet. */
const edges = [
  0n,
  1n,
  2n,
  7n,
  0xffffn,
  0x10000n,
  0x7fffffffn,
  0x80000000n,
  0xffffffffn,
  0x100000000n,
  0x123456789abcdefn,
  (1n << 63n) - 1n,
];
const signed = BigInt64Array.from([...edges, ...edges.map((value) => -value), -(1n << 63n)]);
const unsigned = BigUint64Array.from([...edges, (1n << 63n) + 5n, (1n << 64n) - 1n]);

type Wide = "int64" | "uint64";
const wrap: Record<Wide, (value: bigint) => bigint> = {
  int64: (value) => BigInt.asIntN(64, value),
  uint64: (value) => BigInt.asUintN(64, value),
};
const truth = (value: boolean): bigint => (value ? 1n : 0n);
const magnitude = (value: bigint): bigint => (value < 0n ? -value : value);

const binaries: Readonly<Record<string, (a: bigint, b: bigint) => bigint>> = {
  Add: (a, b) => a + b,
  Sub: (a, b) => a - b,
  Mul: (a, b) => a * b,
  Min: (a, b) => (b - a > 0n ? a : b),
  Max: (a, b) => (a - b > 0n ? a : b),
  BitwiseAnd: (a, b) => a & b,
  BitwiseOr: (a, b) => a | b,
  BitwiseXor: (a, b) => a ^ b,
  Equal: (a, b) => truth(a === b),
  Less: (a, b) => truth(a < b),
  LessOrEqual: (a, b) => truth(a <= b),
  Greater: (a, b) => truth(a > b),
  GreaterOrEqual: (a, b) => truth(a >= b),
};
const comparisons = ["Equal", "Less", "LessOrEqual", "Greater", "GreaterOrEqual"];

/** Runs a graph in the text form with everything on the NeuronCore. */
async function onNeuron(text: string, inputs: Readonly<Record<string, Tensor>>): Promise<Map<string, Tensor>> {
  const graph = inferTypes(parseGraph(`graph "g" { ${text} }`));
  const folder = mkdtempSync(join(tmpdir(), "neuronc-words-"));
  try {
    const path = join(folder, "model.onnx");
    writeFileSync(path, writeOnnx(graph));
    const forceFuseOps = graph.nodes.map(({ name }) => name);
    const { artifact, report } = await compileModel(path, { fastMath: ["none"], forceFuseOps, minimumSegmentSize: 1, verifyEach: true });
    expect(report.subgraphs.map(({ device }) => device)).toEqual(["neuron"]);
    const model = await loadModel(artifact, { threads: 1 });
    try {
      return await model.run(new Map(Object.entries(inputs)));
    } finally {
      await model.dispose();
    }
  } finally {
    rmSync(folder, { recursive: true });
  }
}

const bigints = (tensor: Tensor | undefined): bigint[] => [...(tensor?.data ?? [])].map((value) => BigInt(value));

describe.each(["int64", "uint64"] as const)("%s as pairs of words", (dtype) => {
  const data = dtype === "int64" ? signed : unsigned;
  const size = data.length;
  const column = { dtype, shape: [size, 1], data } satisfies Tensor;
  const row = { dtype, shape: [size], data } satisfies Tensor;

  it("binary operators, with broadcasting", async () => {
    const names = Object.keys(binaries);
    const nodes = names.map((op) => `%${op} = ${op}(%a, %b) @${op}`);
    const shown = names.map((name) => `output %${name}`);
    const text = [`input %a: ${dtype}[${size}, 1] input %b: ${dtype}[${size}]`, ...nodes, ...shown].join(" ");
    const outputs = await onNeuron(text, { a: column, b: row });
    for (const op of names) {
      const kept = comparisons.includes(op) ? (value: bigint) => value : wrap[dtype];
      const expected = [...data].flatMap((a) => [...data].map((b) => kept(binaries[op](a, b))));
      expect(bigints(outputs.get(op)), op).toEqual(expected);
    }
  });

  it("unary operators, bounds, casts", async () => {
    const text = `input %a: ${dtype}[${size}] const %low: ${dtype}[] = [3] const %high: ${dtype}[] = [4294967297]
      %abs = Abs(%a) @abs %not = BitwiseNot(%a) @not %clip = Clip(%a, %low, %high) @clip
      %narrow = Cast(%a) {to = 6} @narrow %bool = Cast(%a) {to = 9} @bool %byte = Cast(%a) {to = 2} @byte
      output %abs output %not output %clip output %narrow output %bool output %byte`;
    const outputs = await onNeuron(text, { a: row });
    const each = (f: (value: bigint) => bigint) => [...data].map((value) => f(value));
    expect(bigints(outputs.get("abs"))).toEqual(each((value) => wrap[dtype](magnitude(value))));
    expect(bigints(outputs.get("not"))).toEqual(each((value) => wrap[dtype](~value)));
    expect(bigints(outputs.get("clip"))).toEqual(each((value) => (value < 3n ? 3n : value > 4294967297n ? 4294967297n : value)));
    expect(bigints(outputs.get("narrow"))).toEqual(each((value) => BigInt.asIntN(32, value)));
    expect(bigints(outputs.get("bool"))).toEqual(each((value) => truth(value !== 0n)));
    expect(bigints(outputs.get("byte"))).toEqual(each((value) => BigInt.asUintN(8, value)));
  });
});

describe("64-bit elements", () => {
  it("widen with the sign of what has one", async () => {
    const data = Int32Array.of(-5, 0, 7, -(2 ** 31));
    const text = `input %a: int32[4] input %b: uint32[4] input %c: bool[2]
      %x = Cast(%a) {to = 7} @x %y = Cast(%b) {to = 7} @y %z = Cast(%c) {to = 13} @z %w = Neg(%x) @w
      output %x output %y output %z output %w`;
    const outputs = await onNeuron(text, {
      a: { dtype: "int32", shape: [4], data },
      b: { dtype: "uint32", shape: [4], data: new Uint32Array(data) },
      c: { dtype: "bool", shape: [2], data: Uint8Array.of(1, 0) },
    });
    expect(bigints(outputs.get("x"))).toEqual([-5n, 0n, 7n, -(1n << 31n)]);
    expect(bigints(outputs.get("y"))).toEqual([2n ** 32n - 5n, 0n, 7n, 1n << 31n]);
    expect(bigints(outputs.get("z"))).toEqual([1n, 0n]);
    expect(bigints(outputs.get("w"))).toEqual([5n, 0n, -7n, 1n << 31n]);
    expect(outputs.get("z")?.dtype).toBe("uint64");
  });

  it.each(["int64", "uint64", "float64"] as const)("%s is moved and chosen bit by bit", async (dtype) => {
    const wide = BigInt64Array.from(signed.subarray(0, 12));
    const views = { int64: BigInt64Array, uint64: BigUint64Array, float64: Float64Array };
    const a: Tensor = { dtype, shape: [3, 4], data: new views[dtype](wide.buffer) };
    const text = `input %a: ${dtype}[3, 4] input %c: bool[4, 1] const %fill: ${dtype}[] = [3] const %pads: int64[4] = [0, 1, 1, 0]
      const %places: int64[2] = [2, -4] const %parts: int64[2] = [1, 2] const %shape: int64[2] = [2, -1]
      %turned = Transpose(%a) @turned %one, %two = Split(%turned, %parts) {axis = 1} @split
      %again = Transpose(%a) @again %joined = Concat(%two, %one, %again) {axis = 1} @join
      %taken = Gather(%turned, %places) {axis = 0} @take
      %padded = Pad(%taken, %pads, %fill) @pad %other = Concat(%two, %one) {axis = 1} @swap %chosen = Where(%c, %turned, %other) @choose %flat = Reshape(%joined, %shape) @flat
      output %padded output %flat output %chosen`;
    const outputs = await onNeuron(text, { a, c: { dtype: "bool", shape: [4, 1], data: Uint8Array.of(1, 0, 0, 1) } });
    const bits = (tensor: Tensor | undefined) => {
      if (!tensor || !ArrayBuffer.isView(tensor.data)) throw new Error("no bits");
      return [...new BigInt64Array(tensor.data.buffer, tensor.data.byteOffset, tensor.data.byteLength / 8)];
    };
    const at = (row: number, columnIndex: number) => wide[row * 4 + columnIndex];
    const turned = [0, 1, 2, 3].map((y) => [0, 1, 2].map((x) => at(x, y)));
    expect(bits(outputs.get("flat"))).toEqual(turned.flatMap((line) => [line[1], line[2], line[0], ...line]));
    expect(bits(outputs.get("chosen"))).toEqual(turned.flatMap((line, y) => (y % 3 === 0 ? line : [line[1], line[2], line[0]])));
    const fill = bits({ dtype, shape: [], data: views[dtype] === Float64Array ? Float64Array.of(3) : BigInt64Array.of(3n) })[0];
    expect(bits(outputs.get("padded"))).toEqual([fill, ...turned[2], fill, ...turned[0], fill, fill, fill, fill]);
  });
});
