import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { compileModel } from "../../src/driver/compile.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { parseGraph } from "../../src/graph/text.js";
import { lower } from "../../src/lower/index.js";
import type { LoweredProgram } from "../../src/lower/lowered.js";
import { sampleArtifact } from "../neff/sample.js";
import { refusal } from "../refusal.js";

/** The real scheduler, but for programs of more than eight items. */
vi.mock("../../src/schedule/index.js", async (original) => {
  const real = await original<typeof import("../../src/schedule/index.js")>();
  const tooLarge = { fits: false, memory: "dram", neededBytes: 9, capacityBytes: 8, residentBytes: 0 } as const;
  const items = ({ buffers }: LoweredProgram) =>
    buffers.reduce((most, buffer) => Math.max(most, "shape" in buffer ? buffer.shape[0] : 0), 0);
  return { schedule: (program: LoweredProgram) => (items(program) > 8 ? tooLarge : real.schedule(program)) };
});

/** Tiny programs would always find more room. */
vi.mock("../../src/driver/largest_batch.js", () => ({ largestBatch: async () => 7 }));
const { largestBatch } = await vi.importActual<typeof import("../../src/driver/largest_batch.js")>("../../src/driver/largest_batch.js");

const graph = (batch: string) =>
  parseGraph(`graph "small" { input %x: float32[${batch}, 3]
    %y: float32[${batch}, 3] = Relu(%x) @r
    output %y }`);

describe("a batch that is too large", () => {
  it("is refused with the largest one that would work", async () => {
    const path = join(mkdtempSync(join(tmpdir(), "batch-")), "small.onnx");
    writeFileSync(path, writeOnnx(graph("n")));
    const compile = (batchSize: number) => compileModel(path, { batchSize, minimumSegmentSize: 1, forceFuseOps: ["r"] });
    await expect(compile(8)).resolves.toBeDefined();
    await expect(compile(9)).rejects.toThrow(/^NCC0694: --batch-size 9: .* about 7\. NCC0690/);
  });

  it("is found by extending the line through small ones", async () => {
    const artifact = async (batch: number) => {
      const sample = sampleArtifact();
      const stages = (sample.programs.get("sg00") ?? []).map(({ program, constants }) => {
        const [stream] = program.infer;
        const instructions = Array.from({ length: 1000 * batch }, () => stream.instructions[0]);
        return { program: { ...program, infer: [{ ...stream, instructions }] }, constants };
      });
      return { ...sample, programs: new Map([["sg00", stages]]) };
    };
    expect(await largestBatch(artifact)).toBe(Math.floor((0.95 * 2 ** 19) / 1000));
  });
});

it("a program that gets too long names the node with which it does", () => {
  expect(refusal(() => lower(graph("1"), undefined, undefined, 1))).toMatch(/^NCC0693: small: .*more than 1 instructions.* r;/);
});
