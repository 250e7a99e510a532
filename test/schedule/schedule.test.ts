import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { hardware } from "../../src/hardware/hardware.js";
import type { LoweredProgram } from "../../src/lower/lowered.js";
import { checkProgram } from "../../src/program/check.js";
import type { Program } from "../../src/program/program.js";
import { printProgram } from "../../src/program/text.js";
import { type ScheduleOptions, schedule } from "../../src/schedule/index.js";
import { simulateTime } from "../../src/simulator/time.js";
import { type SampleOptions, sampleNetwork, small } from "../program/samples.js";

function scheduled(lowered: LoweredProgram, options: ScheduleOptions = {}) {
  const result = schedule(lowered, options);
  if (!result.fits) throw new Error(`${result.memory} does not fit`);
  return result;
}

const middle: SampleOptions = { layers: 6, channels: 2, height: 14, width: 14, rows: 7, residentLayers: 1, spillEvery: 3 };

function count(program: Program): number {
  return program.infer.reduce((sum, { instructions }) => sum + instructions.length, 0);
}

describe("schedule", () => {
  it("makes programs in which the checker finds nothing, whatever the network and the memory", () => {
    const options = fc.record({
      layers: fc.integer({ min: 1, max: 4 }),
      channels: fc.integer({ min: 1, max: 3 }),
      height: fc.integer({ min: 2, max: 9 }),
      width: fc.integer({ min: 2, max: 9 }),
      rows: fc.integer({ min: 1, max: 5 }),
      residentLayers: fc.nat(4),
      spillEvery: fc.nat(3),
    });
    fc.assert(
      fc.property(options, fc.integer({ min: 4, max: 96 }), fc.integer({ min: 1, max: 6 }), (sample, kilobytes, dmaQueues) => {
        const machine = { ...hardware, sbufBytesPerPartition: kilobytes * 1024, dmaQueues };
        const lowered = sampleNetwork(sample);
        const result = schedule(lowered, { hardware: machine });
        if (!result.fits) {
          expect(result.memory).toBe("sbuf");
          expect(result.neededBytes).toBeGreaterThan(result.capacityBytes);
          return;
        }
        expect(checkProgram(result.program, machine)).toEqual([]);
        expect(count(result.program)).toBe(lowered.infer.length);
        expect(result.report.sbufBoundBytes).toBeLessThanOrEqual(result.report.sbufPeakBytes);
      }),
      { seed: 4, numRuns: 60 },
    );
  });

  it("keeps the order of each buffer's own uses and drops nothing", () => {
    const lowered = sampleNetwork(middle);
    const { program } = scheduled(lowered);
    const operations = new Set(program.infer.flatMap(({ instructions }) => instructions.map(({ operation }) => operation)));
    expect(operations).toEqual(new Set(lowered.infer.map(({ operation }) => operation)));
  });

  it("places residents first, side by side, and says how much memory is used", () => {
    const { program, report } = scheduled(sampleNetwork(middle));
    const resident = program.buffers.filter(({ name, space }) => space === "sbuf" && /^[wb]1\./.test(name));
    expect(resident.map(({ address }) => address)).toEqual([0, 2304, 2308, 4612]);
    expect(report.residentBytes).toBe(4616);
    expect(report.dramScratchBytes).toBe(128 * 14 * 14 * 2);
    expect(report.instructions.tensor).toBe(6 * 2 * 2 * 18);
  });

  it("moves loads ahead, which shortens the run", () => {
    const lowered = sampleNetwork(middle);
    const { program, report } = scheduled(lowered);
    expect(report.prefetched).toBeGreaterThan(10);
    const tight = scheduled(lowered, { hardware: { ...hardware, sbufBytesPerPartition: 9 * 1024 } });
    expect(tight.report.prefetched).toBeLessThan(report.prefetched);
    expect(simulateTime([[program]]).latencySeconds).toBeLessThan(simulateTime([[tight.program]]).latencySeconds);
  });

  it("keeps loads and stores on different queues", () => {
    const { program } = scheduled(sampleNetwork(middle));
    const spaces = new Map(program.buffers.map(({ name, space }) => [name, space]));
    for (const { engine, instructions } of program.infer) {
      if (!engine.startsWith("dma")) continue;
      const kinds = new Set(instructions.map(({ operation }) => spaces.get(operation.out.buffer)));
      expect(kinds.size, engine).toBe(1);
    }
  });

  it("signals only what is waited for, with a semaphore for each stream", () => {
    const { program } = scheduled(sampleNetwork(middle));
    for (const [number, { instructions }] of program.infer.entries()) {
      const signals = instructions.filter(({ signal }) => signal !== undefined);
      expect(signals.every(({ signal }) => signal === number)).toBe(true);
      const waited = program.infer.flatMap((stream) =>
        stream.instructions.flatMap(({ waits }) => waits.filter((wait) => wait.semaphore === number)),
      );
      expect(new Set(waited.map(({ value }) => value)).size).toBe(signals.length);
    }
  });

  it("does not make two disjoint parts of a buffer wait for each other", () => {
    const { program } = scheduled(sampleNetwork({ ...small, layers: 1, residentLayers: 1 }));
    const loads = program.infer.filter(({ engine }) => engine.startsWith("dma")).flatMap(({ instructions }) => instructions);
    const inputs = loads.filter(({ operation }) => operation.kind === "dma" && operation.in.buffer === "x");
    // Each waits for the clearing of the border only.
    expect(inputs.map(({ waits }) => waits.length)).toEqual([1, 1]);
  });

  it("gives the same program for the same input", () => {
    expect(printProgram(scheduled(sampleNetwork(middle)).program)).toBe(printProgram(scheduled(sampleNetwork(middle)).program));
  });

  it("says which memory is too small", () => {
    const lowered = sampleNetwork(middle);
    expect(schedule(lowered, { hardware: { ...hardware, sbufBytesPerPartition: 2048 } })).toMatchObject({
      fits: false,
      memory: "sbuf",
      capacityBytes: 2048,
    });
    expect(schedule(lowered, { hardware: { ...hardware, psumBytesPerBank: 128 } })).toMatchObject({ fits: false, memory: "psum" });
    expect(schedule(lowered, { hardware: { ...hardware, dramBytesPerChip: 1000 } })).toMatchObject({
      fits: false,
      memory: "dram",
      capacityBytes: 1000,
    });
  });
});
