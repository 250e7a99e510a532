import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { seeded } from "../../src/graph/random.js";
import { type Access, activationFunctions, aluOps, type Operation, type Program, type Scalar } from "../../src/program/program.js";
import { ProgramSyntaxError, parseProgram, printProgram } from "../../src/program/text.js";
import { schedule } from "../../src/schedule/index.js";
import { sampleNetwork, small } from "./samples.js";

const names = fc.oneof(
  fc.constantFrom("a", "w1.2", "NaN", "Infinity", "scale", "then", "/conv/Conv_output_0", "x:0", "", 'é\n"\\ '),
  fc.string(),
);
const accesses: fc.Arbitrary<Access> = fc
  .record({
    buffer: names,
    partitionStart: fc.nat(127),
    partitionCount: fc.nat(128),
    partitionStride: fc.integer({ min: -5, max: 1e7 }),
    offset: fc.integer({ min: -3, max: 1e9 }),
    dims: fc.array(fc.tuple(fc.nat(600), fc.integer({ min: -70, max: 1e6 })), { maxLength: 4 }),
  })
  .map(({ dims, ...rest }) => ({ ...rest, sizes: dims.map(([size]) => size), strides: dims.map(([, stride]) => stride) }));
const numbers = fc.oneof(
  fc.double(),
  fc.constantFrom(0, -0, 1, -1, Number.NaN, Number.POSITIVE_INFINITY, Number.NEGATIVE_INFINITY, 1e-45, 3.4e38),
);
const scalars: fc.Arbitrary<Scalar> = fc.oneof(numbers, accesses);
const alu = fc.constantFrom(...aluOps);
const kind = <K extends Operation["kind"]>(name: K) => fc.constant<K>(name);
const operations: fc.Arbitrary<Operation> = fc.oneof(
  fc.record({ kind: kind("matmul"), out: accesses, stationary: accesses, moving: accesses, accumulate: fc.boolean() }),
  fc.record({ kind: kind("transpose"), out: accesses, in: accesses }),
  fc.record({
    kind: kind("activation"),
    out: accesses,
    in: accesses,
    function: fc.constantFrom(...activationFunctions),
    scale: scalars,
    bias: scalars,
    alpha: numbers,
  }),
  fc.record({ kind: kind("tensor_tensor"), out: accesses, in0: accesses, in1: accesses, op: alu }),
  fc.record({ kind: kind("tensor_scalar"), out: accesses, in: accesses, op0: alu, scalar0: scalars, reverse0: fc.boolean() }),
  fc.record({
    kind: kind("tensor_scalar"),
    out: accesses,
    in: accesses,
    op0: alu,
    scalar0: scalars,
    reverse0: fc.boolean(),
    op1: alu,
    scalar1: scalars,
  }),
  fc.record({ kind: kind("scalar_tensor_tensor"), out: accesses, in0: accesses, in1: accesses, op0: alu, scalar: scalars, op1: alu }),
  fc.record({
    kind: kind("reduce"),
    out: accesses,
    in: accesses,
    op: fc.constantFrom("add", "maximum", "minimum", "multiply"),
    axes: fc.nat(4),
  }),
  fc.record({ kind: kind("select"), out: accesses, mask: accesses, onTrue: accesses, onFalse: accesses }),
  fc.record({ kind: kind("copy"), out: accesses, in: accesses }),
  fc.record({ kind: kind("memset"), out: accesses, value: numbers }),
  fc.record({ kind: kind("dma"), out: accesses, in: accesses }),
);
const waits = fc.array(fc.record({ semaphore: fc.nat(31), value: fc.nat(100_000) }), { maxLength: 3 });
const instructions = fc.oneof(
  fc.record({ operation: operations, origin: names, waits }),
  fc.record({ operation: operations, origin: names, waits, signal: fc.nat(31) }),
);
const streams = fc.array(
  fc.record({
    engine: fc.constantFrom("tensor", "scalar", "vector", "dma0", "dma12"),
    instructions: fc.array(instructions, { maxLength: 4 }),
  }),
  { maxLength: 3 },
);
const dtype = fc.constantFrom("float32", "bfloat16", "float16", "int32", "bool");
const buffers = fc.oneof(
  fc.record({
    name: names,
    space: fc.constant("dram"),
    kind: fc.constantFrom("input", "output", "constant", "scratch"),
    dtype,
    shape: fc.array(fc.nat(2048)),
    address: fc.nat(),
  }),
  fc.record({ name: names, space: fc.constantFrom("sbuf", "psum"), dtype, partitions: fc.nat(128), elements: fc.nat(), address: fc.nat() }),
);
const programs: fc.Arbitrary<Program> = fc.record({
  name: names,
  buffers: fc.array(buffers, { maxLength: 4 }),
  load: streams,
  infer: streams,
});

function sampleText(): string {
  const scheduled = schedule(sampleNetwork({ ...small, layers: 2 }));
  if (!scheduled.fits) throw new Error("the sample fits");
  return printProgram(scheduled.program);
}

describe("assembly", () => {
  it("prints and parses back every program", () => {
    fc.assert(
      fc.property(programs, (program) => {
        expect(parseProgram(printProgram(program))).toEqual(program);
      }),
      { seed: 7, numRuns: 400 },
    );
  });

  it("keeps a scheduled program, and reads as documented", () => {
    const text = sampleText();
    expect(printProgram(parseProgram(text))).toBe(text);
    expect(text).toContain('program "sample"\ndram input x bfloat16 [128,8,6]\nsbuf act0 bfloat16 64x160 @');
    expect(text).toMatch(/\nmatmul acc1\.0\.0\[64:0:24\] = w1\.0\[64:0:64\] act0\[64:0:4x8,6\] wait \d+:1\n/);
    expect(text).toMatch(/\nactivation relu act1\[64:9:4x8,6\] = acc1\.0\.0\[64:0:24\] bias b1\.0\[64:0:1\]/);
  });

  it("says where a text is damaged, and fails in no other way", () => {
    const text = sampleText();
    const random = seeded(3);
    let refused = 0;
    for (let count = 0; count < 300; count++) {
      const at = Math.floor(random() * text.length);
      const damage = ["", " ", "\n", '"', "[", "9", "-", "x", "é", text.slice(at, at + 20), String.fromCharCode(random() * 128)][
        Math.floor(random() * 11)
      ];
      try {
        parseProgram(text.slice(0, at) + damage + text.slice(at + 1));
      } catch (error) {
        expect(error).toBeInstanceOf(ProgramSyntaxError);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(100);
    for (const cut of [0, 1, 20, 200, text.length >> 1, text.length - 1])
      expect(() => parseProgram(text.slice(0, cut))).toThrow(ProgramSyntaxError);
    expect(() => parseProgram('program "p"\nload\ninfer\nstream vector\nmemset a[1:0:4] = 0\nmultiply\n')).toThrow(
      "line 6: multiply is no instruction",
    );
  });
});
