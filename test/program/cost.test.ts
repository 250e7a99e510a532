import { describe, expect, it } from "vitest";
import { hardware } from "../../src/hardware/hardware.js";
import { computeCycles, dmaCost } from "../../src/program/cost.js";
import type { Buffer, Dma, Operation, Program } from "../../src/program/program.js";
import { dramTraffic } from "../../src/program/traffic.js";
import { simulateTime } from "../../src/simulator/time.js";
import { access, dramAccess } from "./samples.js";

const buffers: Buffer[] = [
  { name: "x", space: "dram", kind: "input", dtype: "float32", shape: [64, 256], address: 0 },
  { name: "s", space: "dram", kind: "scratch", dtype: "float32", shape: [64, 256], address: 0 },
  { name: "a", space: "sbuf", dtype: "float32", partitions: 64, elements: 256, address: 0 },
  { name: "b", space: "sbuf", dtype: "float32", partitions: 64, elements: 256, address: 1024 },
];
const inDram = (name: string) => dramAccess(name, 64, 256, 0, [[256, 1]]);
const onChip = (name: string) => access(name, 64, 0, [[256, 1]]);
const bytes = 64 * 256 * 4;

describe("the cost of a DMA", () => {
  const moves: [string, Dma, number, boolean][] = [
    ["to the chip", { kind: "dma", out: onChip("a"), in: inDram("x") }, bytes, false],
    ["from the chip", { kind: "dma", out: inDram("s"), in: onChip("a") }, bytes, false],
    ["within DRAM, both ends", { kind: "dma", out: inDram("s"), in: inDram("x") }, 2 * bytes, false],
    ["within SBUF", { kind: "dma", out: onChip("b"), in: onChip("a") }, bytes, true],
  ];

  it.each(moves)("%s", (_, move, chargedBytes, stays) => {
    const typeOf = (name: string) => buffers.find((buffer) => buffer.name === name)!;
    expect(dmaCost(move, typeOf(move.out.buffer), typeOf(move.in.buffer), hardware)).toEqual({ chargedBytes, onChip: stays });
  });

  it("is what the report counts and what the time model charges DRAM for", () => {
    const instructions = moves.map(([, operation]) => ({ operation, origin: "n", waits: [] }));
    const program: Program = { name: "p", buffers, load: [], infer: [{ engine: "dma0", instructions }] };
    const { weights, inputs, outputs, spills } = dramTraffic(program);
    expect([weights, inputs, outputs, spills]).toEqual([0, 2 * bytes, 0, 2 * bytes]);
    expect(simulateTime([[program]]).subgraphs[0].stages[0].dramBytes).toBe(4 * bytes);
  });
});

describe("the cycles of an instruction", () => {
  const { instructionOverheadCycles: overhead } = hardware;
  const cycles = (operation: Operation, engine: "scalar" | "vector", figures = hardware) =>
    computeCycles(operation, undefined, engine, figures) - overhead;
  const [out, source] = [onChip("b"), onChip("a")];
  const activation: Operation = { kind: "activation", out, in: source, function: "exp", scale: 2, bias: 1, alpha: 0 };
  const twice: Operation = { kind: "scalar_tensor_tensor", out, in0: source, in1: source, op0: "multiply", scalar: 3, op1: "add" };
  const divide: Operation = { kind: "tensor_tensor", out, in0: source, in1: source, op: "divide" };
  const divideAdd: Operation = {
    kind: "tensor_scalar",
    out,
    in: source,
    op0: "divide",
    scalar0: 3,
    reverse0: false,
    op1: "add",
    scalar1: 1,
  };
  const power: Operation = { kind: "tensor_tensor", out, in0: source, in1: source, op: "power" };

  it("are one for each element of a lane, as far as the stated FLOP per cycle reach", () => {
    expect([activation].map((operation) => cycles(operation, "scalar"))).toEqual([256]);
    // 4 FLOP a lane and cycle: a division and a sum are 5, a power 13.
    expect([twice, divide, divideAdd, power].map((operation) => cycles(operation, "vector"))).toEqual([256, 256, 320, 832]);
  });

  it("never go beyond the stated FLOP per cycle", () => {
    const slow = { ...hardware, vectorFlopPerCycle: 32, scalarFlopPerCycle: 64 };
    // Scale, bias and a cubic on 64 x 256 elements; a product and a sum.
    expect(cycles(activation, "scalar", slow)).toBe((64 * 256 * (2 + 6)) / 64);
    expect(cycles(twice, "vector", slow)).toBe((64 * 256 * 2) / 32);
    expect(cycles({ kind: "copy", out, in: source }, "vector", slow)).toBe(256);
  });
});
