import { describe, expect, it } from "vitest";
import { hardware } from "../../src/hardware/hardware.js";
import { checkProgram, describeFault } from "../../src/program/check.js";
import type { Buffer, Engine, Instruction, Operation, Program } from "../../src/program/program.js";
import { schedule } from "../../src/schedule/index.js";
import { access, dramAccess, sampleNetwork, small } from "./samples.js";

const all = (buffer: string, partitions = 64, elements = 8) => access(buffer, partitions, 0, [[elements, 1]]);

const buffers: Buffer[] = [
  { name: "x", space: "dram", kind: "input", dtype: "bfloat16", shape: [64, 8], address: 0 },
  { name: "y", space: "dram", kind: "output", dtype: "bfloat16", shape: [64, 8], address: 0 },
  { name: "a", space: "sbuf", dtype: "bfloat16", partitions: 64, elements: 8, address: 0 },
  { name: "b", space: "sbuf", dtype: "bfloat16", partitions: 64, elements: 8, address: 16 },
  { name: "f", space: "sbuf", dtype: "float32", partitions: 64, elements: 8, address: 64 },
  { name: "p", space: "psum", dtype: "float32", partitions: 64, elements: 1024, address: 0 },
];

const loadX: Operation = { kind: "dma", out: all("a"), in: dramAccess("x", 64, 8, 0, [[8, 1]]) };
const copy: Operation = { kind: "copy", out: all("b"), in: all("a") };
const storeY: Operation = { kind: "dma", out: dramAccess("y", 64, 8, 0, [[8, 1]]), in: all("b") };

function stream(engine: Engine, ...instructions: (Partial<Instruction> & { operation: Operation })[]) {
  return { engine, instructions: instructions.map((instruction) => ({ origin: "n", waits: [], ...instruction })) };
}

/** x -> a -> b -> y, each step waiting for the one before. */
function chain(change: Partial<Program> = {}): Program {
  const infer = [
    stream("dma0", { operation: loadX, signal: 0 }),
    stream("vector", { operation: copy, waits: [{ semaphore: 0, value: 1 }], signal: 1 }),
    stream("dma1", { operation: storeY, waits: [{ semaphore: 1, value: 1 }] }),
  ];
  return { name: "chain", buffers, load: [], infer, ...change };
}

/** The chain with more operations on the vector engine, after the copy. */
function withVector(...operations: Operation[]): Program {
  const [first, vector, last] = chain().infer;
  return chain({ infer: [first, stream("vector", ...vector.instructions, ...operations.map((operation) => ({ operation }))), last] });
}

function moved(name: string, address: number): readonly Buffer[] {
  return buffers.map((buffer) => (buffer.name === name ? { ...buffer, address } : buffer));
}

function faultsOf(program: Program): string {
  return checkProgram(program).map(describeFault).join("\n");
}

describe("checkProgram", () => {
  it("finds nothing in sound programs", () => {
    expect(faultsOf(chain())).toBe("");
    for (const options of [small, { ...small, spillEvery: 1 }, { ...small, residentLayers: 4 }]) {
      const scheduled = schedule(sampleNetwork(options));
      expect(scheduled.fits && faultsOf(scheduled.program)).toBe("");
    }
  });

  const [first, vector, last] = chain().infer;
  const psumOut = (elements: number, offset = 0) => access("p", 64, offset, [[elements, 1]]);
  const matmul = (change: object = {}): Operation => ({
    kind: "matmul",
    out: access("p", 8, 0, [[8, 1]]),
    stationary: all("a"),
    moving: all("b"),
    accumulate: false,
    ...change,
  });
  const onTensor = (operation: Operation): Program =>
    chain({ infer: [...chain().infer, stream("tensor", { operation, waits: [{ semaphore: 1, value: 1 }] })] });

  const cases: Record<string, [Program, RegExp]> = {
    "a wait that is missing": [
      chain({ infer: [first, stream("vector", { operation: copy, signal: 1 }), last] }),
      /does not wait for|never written/,
    ],
    "a deadlock": [
      chain({ infer: [stream("dma0", { operation: loadX }), vector, last] }),
      /vector\[0\]: waits for ever for semaphore 0 to reach 1/,
    ],
    "an output that is not written": [chain({ infer: [first, vector] }), /output y is not written/],
    "an output that is written in part": [
      chain({
        infer: [
          first,
          vector,
          stream("dma1", {
            operation: { kind: "dma", out: dramAccess("y", 64, 8, 0, [[7, 1]]), in: access("b", 64, 0, [[7, 1]]) },
            waits: [{ semaphore: 1, value: 1 }],
          }),
        ],
      }),
      /output y is not written completely/,
    ],
    "a read of what was never written": [withVector({ kind: "copy", out: all("b"), in: all("f") }), /reads what was never written \(f\)/],
    "a write over what is read": [
      chain({ infer: [first, stream("vector", ...vector.instructions, { operation: { kind: "memset", out: all("b"), value: 0 } }), last] }),
      /does not wait for (vector\[1\]|dma1\[0\])/,
    ],
    "buffers that overlap": [chain({ buffers: moved("b", 8) }), /buffer b overlaps a, which is still in use/],
    "a buffer outside its memory": [chain({ buffers: moved("b", hardware.sbufBytesPerPartition - 14) }), /ends at byte/],
    "a buffer at an odd address": [chain({ buffers: moved("f", 66) }), /not aligned/],
    "two buffers of one name": [chain({ buffers: [...buffers, buffers[2]] }), /two buffers are named a/],
    "an unknown buffer": [withVector({ kind: "memset", out: all("nobody"), value: 0 }), /no buffer nobody/],
    "an access outside its buffer": [withVector({ kind: "memset", out: access("b", 64, 1, [[8, 1]]), value: 0 }), /leaves the 8 elements/],
    "too many partitions": [withVector({ kind: "memset", out: all("b", 65), value: 0 }), /leaves the 64 partitions/],
    "five free dimensions": [
      withVector({
        kind: "memset",
        out: access("b", 64, 0, [
          [1, 1],
          [1, 1],
          [1, 1],
          [1, 1],
          [8, 1],
        ]),
        value: 0,
      }),
      /more than 4/,
    ],
    "an element written twice": [
      withVector({
        kind: "memset",
        out: access("b", 64, 0, [
          [4, 1],
          [3, 2],
        ]),
        value: 0,
      }),
      /writes an element twice/,
    ],
    "operands of different extents": [
      withVector({ kind: "copy", out: all("b"), in: access("a", 64, 0, [[7, 1]]) }),
      /elements of the operands differ/,
    ],
    "partitions that differ": [withVector({ kind: "copy", out: all("b"), in: all("a", 32) }), /partitions of the operands differ/],
    "an operation on the wrong engine": [withVector(matmul()), /vector engine has no matmul/],
    "a matmul into SBUF": [onTensor(matmul({ out: all("f", 8) })), /goes to sbuf, not to PSUM/],
    "a matmul of float32": [onTensor(matmul({ moving: all("f") })), /takes 16-bit floats/],
    "a matmul whose K differ": [onTensor(matmul({ moving: all("b", 32) })), /contracted extents \(K\) differ/],
    "a matmul whose M differ": [onTensor(matmul({ out: access("p", 7, 0, [[8, 1]]) })), /rows \(M\)/],
    "a matmul with too many columns": [
      onTensor(
        matmul({
          out: psumOut(640),
          moving: access("b", 64, 0, [
            [80, 0],
            [8, 1],
          ]),
        }),
      ),
      /N is 640, at most 512/,
    ],
    "a result across banks": [onTensor(matmul({ out: access("p", 8, 508, [[8, 1]]) })), /crosses a PSUM bank/],
    "an engine that starts within a quadrant": [
      withVector({ kind: "copy", out: access("b", 16, 0, [[8, 1]], 16), in: access("a", 16, 0, [[8, 1]]) }),
      /an engine starts at a multiple of 32 partitions/,
    ],
    "an engine in DRAM": [withVector({ kind: "copy", out: all("b"), in: dramAccess("x", 64, 8, 0, [[8, 1]]) }), /does not reach x in DRAM/],
    "a DMA to PSUM": [
      chain({
        infer: [...chain().infer, stream("dma2", { operation: { kind: "dma", out: psumOut(8), in: dramAccess("x", 64, 8, 0, [[8, 1]]) } })],
      }),
      /does not reach PSUM/,
    ],
    "a DMA of two types": [
      chain({
        infer: [...chain().infer, stream("dma2", { operation: { kind: "dma", out: all("f"), in: dramAccess("x", 64, 8, 0, [[8, 1]]) } })],
      }),
      /DMA keeps the type/,
    ],
    "a DMA of two sizes": [
      chain({
        infer: [...chain().infer, stream("dma2", { operation: { kind: "dma", out: all("a"), in: dramAccess("x", 63, 8, 0, [[8, 1]]) } })],
      }),
      /element counts/,
    ],
    "a write to an input": [
      chain({
        infer: [...chain().infer, stream("dma2", { operation: { kind: "dma", out: dramAccess("x", 64, 8, 0, [[8, 1]]), in: all("b") } })],
      }),
      /writes input DRAM/,
    ],
    "bits of floats": [
      withVector({ kind: "tensor_tensor", out: all("b"), in0: all("a"), in1: all("a"), op: "bitwise_and" }),
      /takes integers/,
    ],
    "a scalar operand of 16 bits": [
      withVector({ kind: "tensor_scalar", out: all("b"), in: all("a"), op0: "add", scalar0: all("a", 64, 1), reverse0: false }),
      /scalar operand is float32/,
    ],
    "a reduction of too many axes": [
      withVector({ kind: "reduce", out: all("b", 64, 1), in: all("a"), op: "add", axes: 2 }),
      /reduces 2 of 1/,
    ],
    "a semaphore too many": [chain({ infer: [stream("dma0", { operation: loadX, signal: 32 }), vector, last] }), /no semaphore 32/],
    "a queue too many": [chain({ infer: [stream("dma6", { operation: loadX, signal: 0 }), vector, last] }), /no queue dma6/],
    "two streams for one engine": [chain({ infer: [...chain().infer, stream("dma1")] }), /two streams for dma1/],
    "a resident that infer writes": [chain({ load: [stream("dma0", { operation: loadX })] }), /which the load section fills, is written/],
    "a resident that infer overlaps": [
      chain({ buffers: moved("f", 16), load: [stream("vector", { operation: { kind: "memset", out: all("f"), value: 0 } })] }),
      /overlaps f, which stays loaded/,
    ],
  };
  for (const [name, [program, expected]] of Object.entries(cases)) {
    it(`finds ${name}`, () => expect(faultsOf(program)).toMatch(expected));
  }

  it("lets buffers share bytes one after the other, and parts of one buffer be written unordered", () => {
    const half = (buffer: string, offset: number) => access(buffer, 64, offset, [[4, 1]]);
    const infer = [
      stream("dma0", { operation: { kind: "dma", out: half("a", 0), in: dramAccess("x", 64, 8, 0, [[4, 1]]) }, signal: 0 }),
      stream("dma2", { operation: { kind: "dma", out: half("a", 4), in: dramAccess("x", 64, 8, 4, [[4, 1]]) }, signal: 2 }),
      stream(
        "vector",
        {
          operation: copy,
          waits: [
            { semaphore: 0, value: 1 },
            { semaphore: 2, value: 1 },
          ],
        },
        { operation: { kind: "memset", out: all("f"), value: 1 }, signal: 1 },
      ),
      last,
    ];
    expect(faultsOf(chain({ infer, buffers: moved("f", 0) }))).toMatch(/overlaps b/);
    const apart = moved("f", 0).map((buffer) => (buffer.name === "b" ? { ...buffer, address: 32 } : buffer));
    expect(faultsOf(chain({ infer, buffers: apart }))).toBe("");
  });

  it("trusts of a semaphore that two streams signal only what is certain", () => {
    const both = [
      stream("dma0", { operation: loadX, signal: 0 }),
      stream("scalar", { operation: { kind: "memset", out: all("f"), value: 1 }, signal: 0 }),
      vector,
      last,
    ];
    expect(faultsOf(chain({ infer: both }))).toMatch(/does not wait for dma0\[0\], whose result it reads/);
    const certain = [both[0], both[1], stream("vector", { operation: copy, waits: [{ semaphore: 0, value: 2 }], signal: 1 }), last];
    expect(faultsOf(chain({ infer: certain }))).toBe("");
  });
});
