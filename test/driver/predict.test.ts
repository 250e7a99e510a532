import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { neuronc } from "../../src/cli/neuronc.js";
import { predictService, type ServiceOptions } from "../../src/driver/predict.js";
import { hardware as inf1 } from "../../src/hardware/hardware.js";
import type { Artifact } from "../../src/neff/artifact.js";
import { writeNeff } from "../../src/neff/neff.js";
import { command } from "../cli/command.js";
import { sampleArtifact } from "../neff/sample.js";

/** Round figures: a request is two DMAs of 1 ms setup each, and a gap of 2 ms; the host needs 1 ms. */
const hardware = {
  ...inf1,
  dmaSetupSeconds: 1e-3,
  requestGapSeconds: 2e-3,
  hostRequestSeconds: 1e-3,
  hostBandwidth: 1e15,
  hostCopyBandwidth: 1e15,
};

const predict = (options: Partial<ServiceOptions> = {}, artifact = sampleArtifact()) =>
  predictService(artifact, { instance: "inf1.xlarge", hardware, ...options });

/** The sample with its program on so many cores a copy, one behind the other in a subgraph or each in one of its own. */
function onCores(neuronCores: number, together = true): Artifact {
  const { manifest, programs, ...artifact } = sampleArtifact();
  const [subgraph] = manifest.subgraphs;
  const [stage] = subgraph.stages ?? [];
  const [program] = programs.get(subgraph.id) ?? [];
  const sizes = together ? (neuronCores > 0 ? [neuronCores] : []) : Array<number>(neuronCores).fill(1);
  const subgraphs = sizes.map((size, index) => ({
    ...subgraph,
    id: `sg${index}`,
    firstCore: index,
    stages: Array.from({ length: size }, (_, core) => ({ ...stage, core })),
  }));
  return {
    ...artifact,
    manifest: { ...manifest, neuronCores, subgraphs },
    programs: new Map(subgraphs.map(({ id, stages }) => [id, stages.map(() => program)])),
  };
}

describe("predictService", () => {
  it("serves one request at a time where one is in flight", () => {
    const service = predict({ inFlight: 1 });
    expect(service).toMatchObject({ compiledBatch: 2, userBatch: 2, replicas: 4, cores: 4, inFlightLimited: true });
    // 2 ms of DMA, 2 ms gap, 1 ms host; two items.
    expect(service.latencyMs).toBeCloseTo(5, 3);
    expect(service.throughputPerSecond).toBeCloseTo(2 * 200, 0);
  });

  it("keeps every copy busy with two in flight for each", () => {
    const service = predict();
    expect(service).toMatchObject({ inFlight: 8, inFlightLimited: false, bound: "host" });
    expect(service.throughputPerSecond).toBeCloseTo(4 * 2 * 250, 0);
    expect(service.latencyMs).toBeCloseTo(8, 3);
    expect(predict({ replicas: 1 }).throughputPerSecond).toBeCloseTo(2 * 250, 0);
    expect(predict({ instance: "inf1.24xlarge" })).toMatchObject({ replicas: 64, inFlight: 128 });
  });

  it("splits larger user batches, and fills up the last part", () => {
    const service = predict({ userBatch: 5, inFlight: 1, replicas: 1 });
    // Three requests to the device, circulating in one copy: 4 ms each.
    expect(service.throughputPerSecond).toBeCloseTo(5 / 12e-3, 0);
    expect(service.latencyMs).toBeCloseTo(12, 3);
  });

  it("is bound by the host's processors where they are few", () => {
    const slow = { ...hardware, hostRequestSeconds: 20e-3 };
    const service = predict({ hardware: slow, inFlight: 100 });
    expect(service.bound).toBe("host");
    expect(service.throughputPerSecond).toBeCloseTo((2 * 4) / 20e-3, 0);
  });

  it("gives a CPU subgraph one vCPU for each request", () => {
    const { manifest, ...artifact } = sampleArtifact();
    const cpu = { id: "sg01", device: "cpu" as const, inputs: [], outputs: [], nodes: [], operators: 1, flops: 0 };
    const subgraphs = [...manifest.subgraphs, { ...cpu, ms: 39, throughputPerSecond: 1 / 39e-3 }];
    const mixed = { ...artifact, manifest: { ...manifest, subgraphs } };
    // 39 ms and 1 ms around the device's part, on 4 and on 96 vCPUs.
    expect(predict({ inFlight: 1000 }, mixed).throughputPerSecond).toBeCloseTo((2 * 4) / 40e-3, 0);
    expect(predict({ inFlight: 1000, instance: "inf1.24xlarge" }, mixed).throughputPerSecond).toBeCloseTo((2 * 96) / 40e-3, 0);
  });

  it("takes subgraphs one after the other, on cores one behind the other", () => {
    const service = predict({ inFlight: 1 }, onCores(2, false));
    expect(service).toMatchObject({ replicas: 2, cores: 4 });
    expect(service.latencyMs).toBeCloseTo(2 * 5, 2);
    expect(predict({}, onCores(2, false)).throughputPerSecond).toBeCloseTo(2 * 2 * 250, 0);
  });

  it("runs as many copies as the chips' memory holds", () => {
    // Of 64 bytes of inputs and outputs and 14 of constants a copy, two fit; on each chip.
    const small = { ...hardware, dramBytesPerChip: 2 * 78 };
    expect(predict({ hardware: small })).toMatchObject({ replicas: 2 });
    expect(predict({ hardware: small, instance: "inf1.6xlarge" })).toMatchObject({ replicas: 8 });
    expect(predict({ hardware: small, instance: "inf1.6xlarge" }).throughputPerSecond).toBeCloseTo(8 * 2 * 250, 0);
    expect(() => predict({ hardware: small, replicas: 3 })).toThrow(
      /^NCC0414: --replicas 3: .* take 78 bytes, .* has 156; at most 2 copies fit$/,
    );
  });
});

describe("neuronc predict", () => {
  const folder = mkdtempSync(join(tmpdir(), "predict-"));
  const write = async (artifact: Artifact, name: string) => {
    const path = join(folder, name);
    writeFileSync(path, await writeNeff(artifact));
    return path;
  };

  it("prints throughput, latency and the bound", async () => {
    const path = await write(sampleArtifact(), "copy.neff");
    const { code, out } = await command(neuronc, "predict", path, "--instance", "inf1.6xlarge", "--replicas", "3", "--json");
    expect(code).toBe(0);
    expect(JSON.parse(out)).toMatchObject({
      throughputPerSecond: expect.any(Number),
      latencyMs: expect.any(Number),
      bound: expect.stringMatching(/^(tensor|vector|scalar|dram|link|host)$/),
      replicas: 3,
    });
    expect((await command(neuronc, "predict", path, "--instance", "INF1.xlarge")).out).toContain("4 copies on 4 NeuronCores");
  });

  it.each([
    ["NCC0403", 1, ["--instance", "inf1.3xlarge"]],
    ["NCC0412", 1, ["--instance", "inf1.xlarge", "--replicas", "5"]],
    ["at most 2 copies", 2, ["--instance", "inf1.2xlarge", "--replicas", "3"]],
    ["NCC0411", 5, ["--instance", "inf1.xlarge"]],
    ["inf1.6xlarge has as many", 5, ["--instance", "inf1.xlarge"]],
    ["no instance has as many", 65, ["--instance", "inf1.24xlarge"]],
    ["NCC0413", 0, ["--instance", "inf1.xlarge"]],
    ["NCC0402", 1, ["--instance", "inf1.xlarge", "--in-flight", "0"]],
    ["NCC0402", 1, ["--instance", "inf1.xlarge", "--user-batch", "x"]],
    ["NCC0401", 1, []],
  ])("%s with %i cores for %j, exit 1", async (id, cores, words) => {
    const path = await write(onCores(cores), "cores.neff");
    const { code, err } = await command(neuronc, "predict", path, ...words);
    expect([code, err]).toEqual([1, expect.stringContaining(id)]);
  });
});
