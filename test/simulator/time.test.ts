import { describe, expect, it } from "vitest";
import { hardware as inf1 } from "../../src/hardware/hardware.js";
import type { Buffer, Engine, Instruction, Operation, Program } from "../../src/program/program.js";
import { EventQueue, SharedBandwidth } from "../../src/simulator/events.js";
import { simulateTime, type TimeReport } from "../../src/simulator/time.js";
import { access, dramAccess } from "../program/samples.js";

/** Round figures: 1 GHz, DMA of 1000 bytes in 1 us and 1 us setup, the chip's DRAM twice a queue. */
const hardware = {
  ...inf1,
  clockHz: 1e9,
  dmaSetupSeconds: 1e-6,
  dmaBandwidthPerQueue: 1e9,
  dramBandwidthPerChip: 2e9,
  sbufDmaBandwidth: 4e9,
  instructionOverheadCycles: 30,
  stationaryLoadCycles: 64,
};

const buffers: Buffer[] = [
  { name: "x", space: "dram", kind: "input", dtype: "float32", shape: [64, 250], address: 0 },
  { name: "a", space: "sbuf", dtype: "float32", partitions: 128, elements: 1000, address: 0 },
  { name: "b", space: "sbuf", dtype: "float32", partitions: 128, elements: 1000, address: 4000 },
  { name: "w", space: "sbuf", dtype: "bfloat16", partitions: 128, elements: 1000, address: 8000 },
  { name: "p", space: "psum", dtype: "float32", partitions: 64, elements: 512, address: 0 },
];

/** `kilobytes` * 1000 bytes from DRAM, in runs of 1000. */
const load = (kilobytes: number): Operation => ({
  kind: "dma",
  out: access("a", kilobytes, 0, [[250, 1]]),
  in: dramAccess("x", kilobytes, 250, 0, [[250, 1]]),
});
/** `cycles` less the overhead of 30. */
const clear = (cycles: number): Operation => ({ kind: "memset", out: access("b", 64, 0, [[cycles - 30, 1]]), value: 0 });
const matmul = (weights: number, columns: number): Operation => ({
  kind: "matmul",
  out: access("p", 64, 0, [[columns, 1]]),
  stationary: access("w", 128, weights, [[64, 1]]),
  moving: access("w", 128, 0, [[columns, 1]]),
  accumulate: false,
});

function program(...streams: [Engine, ...(Operation | (Partial<Instruction> & { operation: Operation }))[]][]): Program {
  const infer = streams.map(([engine, ...list]) => ({
    engine,
    instructions: list.map((each) => ({ origin: "n", waits: [], ...("operation" in each ? each : { operation: each }) })),
  }));
  return { name: "p", buffers, load: [], infer };
}

/** Of a model that is one subgraph. */
const flat = (report: TimeReport) => ({ ...report, stages: report.subgraphs[0].stages });
/** Copies side by side. */
const copiesOf = (cores: number, count: number) => Array.from({ length: count }, (_, index) => index * cores);
const micro = (report: { latencySeconds: number }) => report.latencySeconds * 1e6;
const time = (...programs: Program[]) => flat(simulateTime([programs], { hardware }));

describe("simulateTime", () => {
  it("adds up one engine's instructions", () => {
    const report = time(program(["vector", clear(400), clear(600)]));
    expect(micro(report)).toBeCloseTo(1);
    expect(report.throughputPerSecond).toBeCloseTo(1e6);
    expect(report.stages[0].engines.vector * 1e6).toBeCloseTo(1);
  });

  it("takes a pass for each 64 partitions", () => {
    const both: Operation = { kind: "memset", out: access("b", 128, 0, [[370, 1]]), value: 0 };
    expect(micro(time(program(["vector", both])))).toBeCloseTo(0.77);
  });

  it("lets engines and queues run side by side", () => {
    expect(micro(time(program(["vector", clear(900)], ["scalar", clear(700)], ["dma0", load(2)])))).toBeCloseTo(3);
  });

  it("overlaps a DMA with compute that does not wait for it, and only that", () => {
    const waiting = { operation: clear(800), waits: [{ semaphore: 0, value: 1 }] };
    expect(micro(time(program(["dma0", { operation: load(3), signal: 0 }], ["vector", clear(500), waiting])))).toBeCloseTo(4.8);
  });

  it("shares the chip's DRAM among queues, each at most at its own speed", () => {
    expect(micro(time(program(["dma0", load(4)])))).toBeCloseTo(5);
    expect(micro(time(program(["dma0", load(4)], ["dma1", load(4)])))).toBeCloseTo(5);
    // Four at half their speed.
    expect(micro(time(program(["dma0", load(4)], ["dma1", load(4)], ["dma2", load(4)], ["dma3", load(4)])))).toBeCloseTo(9);
    // Two short ones leave their share: 4 us for 2000 bytes each at a half, then the others' 2000 in 2 us.
    expect(micro(time(program(["dma0", load(4)], ["dma1", load(4)], ["dma2", load(2)], ["dma3", load(2)])))).toBeCloseTo(7);
  });

  it("shares it among the cores of a chip, but not with another chip's", () => {
    const two = program(["dma0", load(4)], ["dma1", load(4)]);
    const replicas = (copies: number) => flat(simulateTime([[two]], { hardware, copies: copiesOf(1, copies) }));
    expect(micro(replicas(1))).toBeCloseTo(5);
    expect(micro(replicas(2))).toBeCloseTo(9);
    expect(micro(replicas(4))).toBeCloseTo(17);
    expect(replicas(1).stages.map((stage) => stage.dramBytes)).toEqual([8000]);
    // Spread over time, the setups of some hide behind the transfers of others; 8000 bytes of DRAM's 2 GB/s are left of each.
    expect(replicas(2).throughputPerSecond).toBeGreaterThan(2 / 9e-6);
    expect(replicas(4).throughputPerSecond * 4e-6).toBeCloseTo(1, 1);
    expect(replicas(8).throughputPerSecond * 4e-6).toBeCloseTo(2, 1);
  });

  it("leaves a gap between requests to a pipeline", () => {
    const gapSeconds = 2e-6;
    const stage = program(["vector", clear(1000)]);
    expect(simulateTime([[stage]], { hardware, gapSeconds }).throughputPerSecond).toBeCloseTo(1 / 3e-6, 0);
    expect(simulateTime([[stage, stage]], { hardware, gapSeconds, copies: copiesOf(2, 3) }).throughputPerSecond).toBeCloseTo(3 / 3e-6, 0);
  });

  it("charges short runs as whole descriptors", () => {
    const scattered: Operation = { kind: "dma", out: access("a", 64, 0, [[10, 1]]), in: dramAccess("x", 64, 250, 0, [[10, 25]]) };
    expect(micro(time(program(["dma0", scattered])))).toBeCloseTo(1 + (640 * 64) / 1000);
  });

  it("keeps transfers within SBUF off the DRAM", () => {
    const inside: Operation = { kind: "dma", out: access("b", 8, 0, [[1000, 1]]), in: access("a", 8, 0, [[1000, 1]]) };
    const { dma0, dma2 } = time(program(["dma0", load(4)], ["dma1", load(4)], ["dma2", inside])).stages[0].engines;
    expect([dma0, dma2].map((seconds) => Math.round(seconds * 1e6))).toEqual([5, 9]);
    expect(micro(time(program(["dma0", inside])))).toBeCloseTo(1 + 8);
  });

  it("hides the loading of new weights behind a longer matmul", () => {
    expect(micro(time(program(["tensor", matmul(0, 512)])))).toBeCloseTo((64 + 512 + 30) / 1000);
    expect(micro(time(program(["tensor", matmul(0, 512), matmul(64, 512)])))).toBeCloseTo((64 + 2 * 542) / 1000);
    expect(micro(time(program(["tensor", matmul(0, 20), matmul(64, 20)])))).toBeCloseTo((64 + 50 + 44 + 50) / 1000);
    expect(micro(time(program(["tensor", matmul(0, 20), matmul(0, 20)])))).toBeCloseTo((64 + 2 * 50) / 1000);
  });

  it("runs a pipeline at the speed of its slowest stage", () => {
    const stages = [program(["vector", clear(300)]), program(["vector", clear(500)]), program(["vector", clear(200)])];
    const report = time(...stages);
    expect(micro(report)).toBeCloseTo(1);
    expect(report.throughputPerSecond).toBeCloseTo(2e6, 0);
  });

  it("gives each stage its own time and the share of time for which it works", () => {
    const { stages } = time(program(["vector", clear(400)]), program(["vector", clear(800)]), program(["scalar", clear(200)]));
    expect(stages.map(({ seconds }) => Math.round(seconds * 1e9))).toEqual([400, 800, 200]);
    expect(stages.map(({ utilisation }) => Number(utilisation.toFixed(6)))).toEqual([0.5, 1, 0.25]);
    expect(stages.map(({ engines }) => Object.keys(engines))).toEqual([["vector"], ["vector"], ["scalar"]]);
  });

  it("lets a pipeline's cores contend for their chip's DRAM, at the pace of its slowest one", () => {
    const streams = program(["dma0", load(4)], ["dma1", load(4)]);
    const computes = program(["vector", clear(20000)]);
    const rate = (...stages: Program[]) => time(...stages).throughputPerSecond * 1e-6;
    expect(1 / rate(streams)).toBeCloseTo(5);
    // Four times 8000 bytes at 2 GB/s, part of each setup hidden.
    expect(1 / rate(streams, streams, streams, streams)).toBeGreaterThan(16);
    // Half of the weights in another chip.
    expect(1 / rate(streams, streams, computes, computes, streams, streams)).toBeCloseTo(20);
  });

  it("takes a model's subgraphs one after the other, each at its own pace where it streams", () => {
    const report = simulateTime([[program(["vector", clear(1000)])], [program(["vector", clear(500)]), program(["vector", clear(250)])]], {
      hardware,
    });
    expect(micro(report)).toBeCloseTo(1.75);
    expect(report.throughputPerSecond).toBeCloseTo(1e6, 0);
    expect(report.subgraphs.map((subgraph) => Math.round(subgraph.latencySeconds * 1e9))).toEqual([1000, 750]);
    expect(report.subgraphs.map((subgraph) => Math.round(subgraph.throughputPerSecond))).toEqual([1e6, 2e6]);
    expect(report.subgraphs[1].stages.map(({ utilisation }) => Number(utilisation.toFixed(6)))).toEqual([0.5, 0.25]);
  });

  it("lets the subgraphs of a chip contend for its DRAM, and not those of two chips", () => {
    const streams = program(["dma0", load(4)], ["dma1", load(4)]);
    const computes = program(["vector", clear(5000)]);
    const rate = (...subgraphs: Program[][]) => simulateTime(subgraphs, { hardware }).throughputPerSecond * 1e-6;
    expect(1 / rate([streams])).toBeCloseTo(5);
    expect(1 / rate([streams], [streams], [streams], [streams])).toBeGreaterThan(16);
    // Three cores lie between them: the second one is on the next chip.
    expect(1 / rate([streams], [computes, computes, computes], [streams])).toBeCloseTo(5);
    // A copy that begins on the next chip is as fast as the first.
    const copies = (second: number) => simulateTime([[streams]], { hardware, copies: [0, second] }).throughputPerSecond * 1e-6;
    expect(copies(4)).toBeCloseTo(2 / 5);
    expect(copies(1)).toBeLessThan(2 / 8);
  });

  it("sends what later stages read over a link where a chip ends", () => {
    const value = (name: string, kind: "input" | "output"): Buffer => ({
      name,
      space: "dram",
      kind,
      dtype: "float32",
      shape: [1000],
      address: 0,
    });
    const stage = (...values: Buffer[]): Program => ({ ...program(["vector", clear(1000)]), buffers: [...buffers, ...values] });
    const figures = { ...hardware, neuronLinkBandwidthPerChip: 4e9, neuronLinkLanesPerChip: 4, neuronLinkHopSeconds: 1e-6 };
    const chain = (cores: number) =>
      Array.from({ length: cores }, (_, core) =>
        core === 0 ? stage(value("v", "output")) : core === cores - 1 ? stage(value("v", "input")) : stage(),
      );
    const micros = (cores: number) => micro(simulateTime([chain(cores)], { hardware: figures }));
    expect(micros(4)).toBeCloseTo(4);
    // 1 us to start and 4000 bytes at 1 GB/s on each of one and two hops.
    expect(micros(5)).toBeCloseTo(5 + 5);
    expect(micros(9)).toBeCloseTo(9 + 10);
    const { stages, throughputPerSecond } = flat(simulateTime([chain(5)], { hardware: figures }));
    expect(stages.map(({ passedBytes }) => passedBytes)).toEqual([4000, 4000, 4000, 4000, 0]);
    expect(throughputPerSecond).toBeCloseTo(1 / 5e-6, 0);
  });

  it("lists when each instruction ran", () => {
    const waiting = { operation: clear(800), waits: [{ semaphore: 3, value: 1 }] };
    const { timeline } = simulateTime([[program(["scalar", waiting], ["vector", clear(100), { operation: clear(100), signal: 3 }])]], {
      hardware,
      timeline: true,
    });
    expect(timeline?.map(({ engine, instruction, startSeconds }) => [engine, instruction, Math.round(startSeconds * 1e9)])).toEqual([
      ["vector", 0, 0],
      ["vector", 1, 100],
      ["scalar", 0, 200],
    ]);
  });

  it("refuses streams that wait for ever", () => {
    expect(() => time(program(["vector", { operation: clear(100), waits: [{ semaphore: 0, value: 1 }] }]))).toThrow("wait for each other");
  });
});

describe("events", () => {
  it("come out by time, equal ones in the order put in", () => {
    const queue = new EventQueue();
    for (const [time, token] of [
      [3, 0],
      [1, 1],
      [2, 2],
      [1, 3],
      [0, 4],
      [3, 5],
    ])
      queue.push(time, token);
    expect(Array.from({ length: 6 }, () => queue.pop())).toEqual([4, 1, 3, 2, 0, 5]);
    expect(queue.time).toBe(Number.POSITIVE_INFINITY);
  });

  it("a transfer that joins slows the others down", () => {
    const shared = new SharedBandwidth(10, 10);
    shared.join(0, 100, 1);
    expect(shared.time).toBe(10);
    shared.join(5, 20, 2);
    expect(shared.time).toBe(9);
    expect(shared.complete()).toBe(2);
    expect(shared.time).toBe(12);
    expect(shared.complete()).toBe(1);
  });
});
