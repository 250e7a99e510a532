/** The figures of `--report` against each other, and against counts that are made here from the programs. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { networks } from "../../models/networks.js";
import { compileModel } from "../../src/driver/compile.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { hardware } from "../../src/hardware/hardware.js";
import type { Access, Program } from "../../src/program/program.js";

const folder = mkdtempSync(join(tmpdir(), "report-"));
afterAll(() => rmSync(folder, { recursive: true }));

const product = (sizes: readonly number[]) => sizes.reduce((total, size) => total * size, 1);
const sum = (values: readonly number[]) => values.reduce((total, value) => total + value, 0);
const elements = ({ partitionCount, sizes }: Access) => partitionCount * product(sizes);
const widths: Readonly<Record<string, number>> = { float32: 4, int32: 4, float16: 2, bfloat16: 2, int8: 1, uint8: 1, int64: 8 };

/** Bytes that DMAs of a request read or write in DRAM, by the kind of buffer. */
function countedTraffic({ buffers, infer }: Program): Record<string, number> {
  const counted: Record<string, number> = {};
  const inDram = new Map(buffers.flatMap((buffer) => (buffer.space === "dram" ? [[buffer.name, buffer] as const] : [])));
  for (const { operation } of infer.flatMap((stream) => stream.instructions)) {
    if (operation.kind !== "dma") continue;
    for (const access of [operation.in, operation.out]) {
      const buffer = inDram.get(access.buffer);
      if (buffer) counted[buffer.kind] = (counted[buffer.kind] ?? 0) + elements(access) * widths[buffer.dtype];
    }
  }
  return counted;
}

async function compiled(name: string, batchSize: number, cores: number) {
  const path = join(folder, `${name}.onnx`);
  writeFileSync(path, writeOnnx(networks[name]({})));
  const { artifact, report } = await compileModel(path, { batchSize, neuroncorePipelineCores: cores });
  return report.subgraphs.flatMap(({ id, stages, flops }) =>
    stages ? [{ flops, stages: stages.map((stage, core) => ({ ...stage, program: artifact.programs.get(id)?.[core].program })) }] : [],
  );
}

describe.each([
  ["resnet50", 1, 1],
  ["resnet50", 4, 4],
  ["minilm", 1, 1],
])("the report on %s, batch %i, on %i core(s)", (name, batch, cores) => {
  it("adds up", { timeout: 120_000 }, async () => {
    const subgraphs = await compiled(name, batch, cores);
    expect(subgraphs.length).toBeGreaterThan(0);
    for (const { flops, stages } of subgraphs) {
      expect(sum(stages.map((stage) => stage.flops))).toBe(flops);
      for (const { program, ms, busyMs, dramBytes, traffic, weightBytes, residentWeightBytes, ...stage } of stages) {
        if (!program) throw new Error("a stage has no program");
        const { constant = 0, input = 0, output = 0, scratch = 0 } = countedTraffic(program);
        const expected = { weights: constant, inputs: input, outputs: output, spills: scratch };
        expect(traffic).toEqual(expected);
        // What is charged is what moves, and what descriptors of short runs waste.
        expect(dramBytes).toBeGreaterThanOrEqual(sum(Object.values(expected)));
        // Every weight comes in with the request, or stays.
        expect(traffic.weights + residentWeightBytes).toBeGreaterThanOrEqual(weightBytes);
        // No engine is busy for longer than the request takes, and no roof is exceeded.
        const seconds = ms / 1000;
        for (const busy of Object.values(busyMs)) expect(busy).toBeLessThanOrEqual(ms * 1.000001);
        expect(stage.flops).toBeLessThanOrEqual(hardware.peakFlopsPerCore * seconds);
        expect(dramBytes).toBeLessThanOrEqual(hardware.dramBandwidthPerChip * seconds * 1.000001);
        const queues = Object.entries(busyMs).flatMap(([engine, busy]) => (engine.startsWith("dma") ? [busy / 1000] : []));
        expect(sum(queues) * hardware.dmaBandwidthPerQueue * 1.000001).toBeGreaterThanOrEqual(dramBytes);
        // Both memories hold what lives at once, and no more than there is.
        expect(stage.sbufBoundBytes).toBeLessThanOrEqual(stage.sbufPeakBytes);
        expect(stage.sbufPeakBytes).toBeLessThanOrEqual(hardware.sbufPartitions * hardware.sbufBytesPerPartition);
        expect(stage.psumBoundBytes).toBeLessThanOrEqual(stage.psumPeakBytes);
        expect(stage.psumPeakBytes).toBeLessThanOrEqual(hardware.psumPartitions * hardware.psumBanks * hardware.psumBytesPerBank);
        expect(residentWeightBytes).toBeLessThanOrEqual(stage.sbufPeakBytes);
      }
    }
  });
});
