import { describe, expect, it } from "vitest";
import { seeded } from "../../src/graph/random.js";
import type { TensorData } from "../../src/graph/tensor.js";
import {
  type Access,
  type AluOp,
  activationFunctions,
  aluOps,
  type Buffer,
  type DeviceType,
  type LoadedProgram,
  type Operation,
} from "../../src/program/program.js";
import { createCore } from "../../src/simulator/index.js";
import { bytesOf, chip, dram, planes, program, randomData, rows } from "./programs.js";
import { interpret } from "./reference.js";

type Inputs = ReadonlyMap<string, TensorData>;

function simulate(loaded: LoadedProgram, inputs: Inputs, threads: number): Map<string, TensorData> {
  const core = createCore(loaded, { threads });
  try {
    core.run(inputs);
    return core.run(inputs);
  } finally {
    core.dispose();
  }
}

function expectSameBits(actual: Map<string, TensorData>, expected: Map<string, TensorData>): void {
  for (const [name, data] of expected) {
    const other = actual.get(name) ?? [];
    if (rawBytes(bytesOf(data)).equals(rawBytes(bytesOf(other)))) continue;
    const first = Array.from({ length: data.length }, (_, index) => index).find((index) => !Object.is(data[index], other[index]));
    expect.fail(`${name}[${first}]: ${other[first ?? 0]}, not ${data[first ?? 0]}`);
  }
}
const rawBytes = (bytes: Uint8Array) => globalThis.Buffer.from(bytes);

/** Inputs a, b, c of `dtypes` go to SBUF, `operations` run, buffer `o` of the chip comes out. Every chip buffer has `elements` elements. */
interface Setting {
  readonly inputs: readonly DeviceType[];
  readonly out: DeviceType;
  readonly elements: number;
  readonly lanes?: number;
}

function around(setting: Setting, operations: readonly Operation[], seed: number, size?: number): [LoadedProgram, Inputs] {
  const random = seeded(seed);
  const { elements, lanes = 128 } = setting;
  const buffers: Buffer[] = [];
  const before: Operation[] = [];
  const inputs = new Map<string, TensorData>();
  let address = 0;
  for (const [index, dtype] of setting.inputs.entries()) {
    const name = "abc"[index];
    buffers.push(dram(`${name}In`, "input", dtype, [lanes, elements]), chip(name, "sbuf", dtype, elements, address));
    address += 4 * elements;
    before.push({ kind: "dma", out: rows(name, 0, lanes, [elements]), in: planes(`${name}In`, lanes, elements) });
    inputs.set(`${name}In`, randomData(random, dtype, lanes * elements, size));
  }
  buffers.push(dram("out", "output", setting.out, [lanes, elements]), chip("o", "sbuf", setting.out, elements, address));
  before.push({ kind: "memset", out: rows("o", 0, lanes, [elements]), value: 3 });
  const after: Operation = { kind: "dma", out: planes("out", lanes, elements), in: rows("o", 0, lanes, [elements]) };
  return [program(buffers, [...before, ...operations, after]), inputs];
}

function check(setting: Setting, operations: readonly Operation[], seed: number, threads: readonly number[] = [1]): void {
  const [loaded, inputs] = around(setting, operations, seed);
  const expected = interpret(loaded, inputs);
  for (const count of threads) expectSameBits(simulate(loaded, inputs, count), expected);
}

const types: readonly DeviceType[] = ["float32", "float16", "bfloat16", "int32", "uint32", "int16", "uint16", "int8", "uint8", "bool"];
const integers = types.slice(3);
const floatOps = aluOps.filter((op) => !op.startsWith("bitwise") && !op.startsWith("shift") && op !== "power");

describe("copy", () => {
  it.each(types)("from %s to every type", (from) => {
    for (const [index, to] of types.entries()) {
      check({ inputs: [from], out: to, elements: 9 }, [{ kind: "copy", out: rows("o", 0, 128, [9]), in: rows("a", 0, 128, [9]) }], index);
    }
  });

  it("rounds every class of FP32 number to 16 bits", () => {
    const random = seeded(7);
    const values = Float32Array.from(
      Int32Array.from({ length: 128 * 32 }, () => Math.floor(random() * 2 ** 32)),
      () => 0,
    );
    const bits = new Int32Array(values.buffer);
    for (let index = 0; index < bits.length; index++) bits[index] = Math.floor(random() * 2 ** 32);
    [0x7f800000, 0x7fc00000, 0x477fefff, 0x477ff000, 0x33000000, 0x33000001, 0x387fffff, 1, 0].forEach((word, index) => {
      bits[index] = word;
    });
    for (const to of ["float16", "bfloat16", "float32", "int32", "uint32", "int8", "bool"] as const) {
      const [loaded, inputs] = around(
        { inputs: ["float32"], out: to, elements: 32 },
        [{ kind: "copy", out: rows("o", 0, 128, [32]), in: rows("a", 0, 128, [32]) }],
        1,
      );
      const bound = new Map([...inputs, ["aIn", values]]);
      const expected = interpret(loaded, bound).get("out") ?? [];
      const actual = simulate(loaded, bound, 1).get("out") ?? [];
      for (let index = 0; index < values.length; index++) expect(actual[index]).toBe(expected[index]);
    }
  });
});

describe("two-operand functions", () => {
  it.each(floatOps)("%s in FP32, all forms, exact", (op) => {
    check(
      { inputs: ["float32", "bfloat16"], out: "float16", elements: 24 },
      [
        { kind: "tensor_tensor", out: rows("o", 0, 100, [6]), in0: rows("a", 0, 100, [6]), in1: rows("b", 0, 100, [6], 6), op },
        {
          kind: "tensor_scalar",
          out: rows("o", 32, 17, [6], 6),
          in: rows("b", 32, 17, [6]),
          op0: op,
          scalar0: rows("a", 64, 17, []),
          reverse0: true,
          op1: "add",
          scalar1: 0.3,
        },
        {
          kind: "scalar_tensor_tensor",
          out: rows("o", 64, 3, [6], 12),
          in0: rows("a", 64, 3, [6]),
          in1: rows("b", 0, 3, [6]),
          op0: "multiply",
          scalar: 1.7,
          op1: op,
        },
      ],
      floatOps.indexOf(op),
    );
  });

  it.each(aluOps)("%s in int32 and uint32, exact", (op) => {
    for (const [index, type] of (["int32", "uint32", "int8", "uint16", "bool"] as const).entries()) {
      const out = type === "bool" ? "int32" : type;
      check(
        { inputs: [type, type], out, elements: 16 },
        [
          { kind: "tensor_tensor", out: rows("o", 0, 128, [8]), in0: rows("a", 0, 128, [8]), in1: rows("b", 0, 128, [8]), op },
          {
            kind: "tensor_scalar",
            out: rows("o", 0, 128, [8], 8),
            in: rows("a", 0, 128, [8], 8),
            op0: op,
            scalar0: 3,
            reverse0: false,
            op1: "subtract",
            scalar1: 1,
          },
        ],
        index,
      );
    }
  });

  it("handles the integers' corner cases", () => {
    const corners = [0, 1, -1, 2, -2, 31, 32, 33, -(2 ** 31), 2 ** 31 - 1, 7, -7];
    for (const op of aluOps) {
      const [loaded, inputs] = around(
        { inputs: ["int32", "int32"], out: "int32", elements: 3 },
        [{ kind: "tensor_tensor", out: rows("o", 0, 128, [3]), in0: rows("a", 0, 128, [3]), in1: rows("b", 0, 128, [3]), op }],
        1,
      );
      const [left, right] = [new Int32Array(384), new Int32Array(384)];
      for (let index = 0; index < 144; index++) [left[index], right[index]] = [corners[index % 12], corners[Math.floor(index / 12)]];
      const bound = new Map<string, TensorData>([...inputs, ["aIn", left], ["bIn", right]]);
      expectSameBits(simulate(loaded, bound, 1), interpret(loaded, bound));
    }
  });

  it("gives NaN, infinities and signed zeros as IEEE has them", () => {
    const corners = [0, -0, 1, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-45, 3e38, -2.5, 3, 0.5];
    for (const op of [...floatOps, "power"] as AluOp[]) {
      const [loaded, inputs] = around(
        { inputs: ["float32", "float32"], out: "float32", elements: 3 },
        [{ kind: "tensor_tensor", out: rows("o", 0, 128, [3]), in0: rows("a", 0, 128, [3]), in1: rows("b", 0, 128, [3]), op }],
        1,
      );
      const [left, right] = [new Float32Array(384).fill(1), new Float32Array(384).fill(1)];
      for (let index = 0; index < 144; index++) [left[index], right[index]] = [corners[index % 12], corners[Math.floor(index / 12)]];
      const bound = new Map<string, TensorData>([...inputs, ["aIn", left], ["bIn", right]]);
      const [actual, expected] = [simulate(loaded, bound, 1).get("out") ?? [], interpret(loaded, bound).get("out") ?? []];
      for (let index = 0; index < 144; index++) {
        const message = `${left[index]} ${op} ${right[index]}`;
        if (op === "power") expectClose(Number(actual[index]), Number(expected[index]), message);
        else expect(actual[index], message).toBe(expected[index]);
      }
    }
  });
});

function expectClose(actual: number, expected: number, message: string): void {
  if (Object.is(actual, expected) || (actual === 0 && expected === 0)) return;
  expect(Math.abs(actual - expected) <= 1e-6 * Math.abs(expected) + 1e-45, `${message}: ${actual}, not ${expected}`).toBe(true);
}

describe("activation", () => {
  const special = [
    0,
    -0,
    1,
    -1,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    1e-45,
    -1e-40,
    3e38,
    -3e38,
    0.5,
    -0.5,
    1e-4,
    88.5,
    -104,
  ];
  it.each(activationFunctions)("%s is within 1e-6", (name) => {
    const [loaded] = around(
      { inputs: ["float32"], out: "float32", elements: 16 },
      [{ kind: "activation", out: rows("o", 0, 128, [16]), in: rows("a", 0, 128, [16]), function: name, scale: 1, bias: 0, alpha: 0.01 }],
      3,
    );
    const random = seeded(11);
    const values = Float32Array.from(
      { length: 2048 },
      (_, index) => special[index] ?? (random() - 0.5) * 10 ** (Math.floor(random() * 6) - 3),
    );
    const bound = new Map([["aIn", values]]);
    const [actual, expected] = [simulate(loaded, bound, 1).get("out") ?? [], interpret(loaded, bound).get("out") ?? []];
    const skipped = (x: number) => ["sin", "cos", "tan"].includes(name) && Math.abs(x) > 1e8 && Number.isFinite(x);
    values.forEach((x, index) => {
      if (!skipped(x)) expectClose(Number(actual[index]), Number(expected[index]), `${name}(${x})`);
    });
  });

  it.each(["gelu", "gelu_tanh", "sigmoid", "silu", "tanh", "exp"] as const)("%s rounds to 16 bits as its FP32 result does", (name) => {
    const elements = 160;
    const random = seeded(12);
    const values = Float32Array.from(
      { length: 128 * elements },
      // Half of them all over the range in which the approximation stands, and a little further.
      (_, index) => special[index] ?? (random() - 0.5) * (index % 2 === 0 ? 34 : 10 ** (Math.floor(random() * 5) - 3)),
    );
    const bound = new Map<string, TensorData>([
      ["aIn", values],
      ["bIn", values],
    ]);
    const whole = (buffer: string) => rows(buffer, 0, 128, [elements]);
    const activation = (out: string): Operation => {
      return { kind: "activation", out: whole(out), in: whole("a"), function: name, scale: 1, bias: 0, alpha: 0 };
    };
    for (const out of ["bfloat16", "float16"] as const) {
      const setting: Setting = { inputs: ["float32", "float32"], out, elements };
      const [quick] = around(setting, [activation("o")], 1);
      const [slow] = around(setting, [activation("b"), { kind: "copy", out: whole("o"), in: whole("b") }], 1);
      expectSameBits(simulate(quick, bound, 1), simulate(slow, bound, 1));
    }
  });

  it("scales and shifts by immediates and by lane, exactly", () => {
    const base = { kind: "activation", function: "relu", alpha: 0 } as const;
    check(
      { inputs: ["bfloat16", "float32"], out: "bfloat16", elements: 30 },
      [
        { ...base, out: rows("o", 0, 77, [10]), in: rows("a", 0, 77, [10]), scale: rows("b", 0, 77, []), bias: rows("b", 0, 77, [], 1) },
        { ...base, out: rows("o", 64, 33, [10], 10), in: rows("a", 32, 33, [10]), scale: 0.7, bias: rows("b", 64, 33, [], 2) },
        { ...base, function: "leaky_relu", alpha: 0.1, out: rows("o", 0, 128, [10], 20), in: rows("a", 0, 128, [10]), scale: 1, bias: 0 },
      ],
      5,
      [1, 2, 3],
    );
  });
});

/** A random access of `count` = product of `sizes` elements within `elements`. */
function randomAccess(
  random: () => number,
  buffer: string,
  sizes: readonly number[],
  elements: number,
  start: number,
  lanes: number,
): Access {
  for (;;) {
    const strides = sizes.map(() => Math.floor(random() * 5) - 2);
    const low = strides.reduce((sum, stride, axis) => sum + Math.min(0, stride * (sizes[axis] - 1)), 0);
    const high = strides.reduce((sum, stride, axis) => sum + Math.max(0, stride * (sizes[axis] - 1)), 0);
    if (high - low < elements) {
      const offset = -low + Math.floor(random() * (elements - (high - low)));
      return { buffer, partitionStart: start, partitionCount: lanes, partitionStride: 0, offset, sizes, strides };
    }
  }
}

describe("access patterns", () => {
  it("reads with strides, broadcasts and reversals from any partitions, exactly, on 1 to 3 threads", () => {
    const random = seeded(21);
    for (let round = 0; round < 12; round++) {
      const sizes = [1 + Math.floor(random() * 3), 1 + Math.floor(random() * 3), 1 + Math.floor(random() * 4)];
      const lanes = 1 + Math.floor(random() * 64);
      const starts = [0, 0, 0].map(() => 32 * Math.floor(random() * 3));
      const source = (index: number) => randomAccess(random, "ab"[index], sizes, 36, starts[index], lanes);
      const count = sizes.reduce((product, size) => product * size, 1);
      check(
        { inputs: [types[round % 3], "float32"], out: "float32", elements: 36 },
        [
          { kind: "tensor_tensor", out: rows("o", starts[2], lanes, [count]), in0: source(0), in1: source(1), op: "subtract" },
          { kind: "copy", out: rows("o", starts[2], lanes, sizes), in: { ...rows("o", starts[2], lanes, [count]) } },
          { kind: "activation", out: rows("b", 0, lanes, sizes), in: source(0), function: "abs", scale: 2, bias: 0, alpha: 0 },
          { kind: "tensor_tensor", out: rows("o", 0, lanes, [4]), in0: rows("b", 0, lanes, [4]), in1: rows("o", 0, lanes, [4]), op: "add" },
        ],
        round,
        [1, 2, 3],
      );
    }
  });

  it("reads columns that another thread has just written, on 1 to 3 threads", () => {
    const columns = 260;
    for (const shift of [1, 130, 259]) {
      const reversed = { ...rows("b", 0, 20, [columns], columns - 1), strides: [-1] };
      const rest = columns - shift;
      check(
        { inputs: ["float32", "float32"], out: "float32", elements: columns },
        [
          {
            kind: "activation",
            out: rows("b", 0, 20, [columns]),
            in: rows("a", 0, 20, [columns]),
            function: "abs",
            scale: 2,
            bias: 0,
            alpha: 0,
          },
          { kind: "tensor_tensor", out: rows("o", 0, 20, [columns]), in0: reversed, in1: rows("a", 0, 20, [columns]), op: "add" },
          { kind: "copy", out: rows("b", 0, 20, [rest], shift), in: rows("o", 0, 20, [rest]) },
          {
            kind: "tensor_tensor",
            out: rows("o", 0, 20, [rest]),
            in0: rows("b", 0, 20, [rest], shift),
            in1: rows("b", 0, 20, [rest]),
            op: "add",
          },
        ],
        shift,
        [1, 2, 3],
      );
    }
  });

  it("reduces the last free dimensions in order", () => {
    for (const [index, type] of (["float32", "float16", "int32", "uint8"] as const).entries()) {
      for (const op of ["add", "maximum", "minimum", "multiply"] as const) {
        check(
          { inputs: [type], out: type, elements: 40 },
          [
            { kind: "reduce", out: rows("o", 0, 70, [2, 3]), in: rows("a", 0, 70, [2, 3, 5]), op, axes: 1 },
            {
              kind: "reduce",
              out: rows("o", 32, 9, [3], 8),
              in: { ...rows("a", 64, 9, [3, 2, 3]), strides: [2, 7, 1] },
              op,
              axes: 2,
            },
          ],
          index,
          [1, 2],
        );
      }
    }
  });

  it("selects by mask", () => {
    for (const [index, type] of types.entries()) {
      check(
        { inputs: ["bool", type, integers[index % integers.length]], out: type, elements: 8 },
        [
          {
            kind: "select",
            out: rows("o", 0, 50, [8]),
            mask: rows("a", 0, 50, [8]),
            onTrue: rows("b", 0, 50, [8]),
            onFalse: rows("c", 0, 50, [8]),
          },
        ],
        index,
      );
    }
  });

  it("sets every type", () => {
    for (const type of types)
      check({ inputs: [], out: type, elements: 5 }, [{ kind: "memset", out: rows("o", 3, 30, [2, 2]), value: -1.3 }], 1);
  });
});
