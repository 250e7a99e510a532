import { describe, expect, it } from "vitest";
import { hardware } from "../../src/hardware/hardware.js";
import { dmaCost } from "../../src/program/cost.js";
import type { Buffer, Dma, Program } from "../../src/program/program.js";
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
    expect(simulateTime([program]).stages[0].dramBytes).toBe(4 * bytes);
  });
});
