/** An artifact made by hand: y = copy of x + nothing, one Neuron subgraph, one constant output. */

import { fromNumbers } from "../../src/graph/tensor.js";
import type { Artifact } from "../../src/neff/artifact.js";
import { constantIndex } from "../../src/neff/neff.js";
import { type Access, bufferBytes, type LoadedProgram, type Program } from "../../src/program/program.js";

const row = (buffer: string, count: number): Access => ({
  buffer,
  partitionStart: 0,
  partitionCount: 1,
  partitionStride: 0,
  offset: 0,
  sizes: [count],
  strides: [1],
});

/** Reads its constant `w`, then copies `x` to `y` through SBUF. */
export function copyProgram(): LoadedProgram {
  const instruction = (out: string, source: string, count: number, wait: boolean, signal: boolean) => ({
    operation: { kind: "dma" as const, out: row(out, count), in: row(source, count) },
    origin: "copy",
    waits: wait ? [{ semaphore: 0, value: 1 }] : [],
    ...(signal ? { signal: 0 } : {}),
  });
  const program: Program = {
    name: "sg00",
    buffers: [
      { name: "x", space: "dram", kind: "input", dtype: "float32", shape: [2, 4], address: 0 },
      { name: "w", space: "dram", kind: "constant", dtype: "bfloat16", shape: [3], address: 0 },
      { name: "v", space: "dram", kind: "constant", dtype: "float32", shape: [2], address: 0 },
      { name: "y", space: "dram", kind: "output", dtype: "float32", shape: [2, 4], address: 0 },
      { name: "t", space: "sbuf", dtype: "float32", partitions: 1, elements: 8, address: 0 },
      { name: "r", space: "sbuf", dtype: "bfloat16", partitions: 1, elements: 3, address: 32 },
    ],
    load: [{ engine: "dma0", instructions: [instruction("r", "w", 3, false, false)] }],
    infer: [{ engine: "dma0", instructions: [instruction("t", "x", 8, false, true), instruction("y", "t", 8, true, false)] }],
  };
  const constants = program.buffers
    .filter((buffer) => buffer.space === "dram" && buffer.kind === "constant")
    .map((buffer) => [buffer.name, new Uint8Array(bufferBytes(buffer)).map((_, index) => index + 1)] as const);
  return { program, constants: new Map(constants) };
}

export function sampleArtifact(uncompressed = false): Artifact {
  const loaded = copyProgram();
  const x = { name: "x", dtype: "float32" as const, shape: [2, 4] };
  const y = { ...x, name: "y" };
  return {
    manifest: {
      format: 1,
      compiler: "neuronc 0.0.0",
      name: "copy",
      source: { framework: "ONNX", sha256: "0".repeat(64), bytes: 0 },
      options: {
        inputShapes: {},
        fastMath: ["all"],
        neuroncorePipelineCores: 1,
        noFuseOps: [],
        forceFuseOps: [],
        dynamicBatchSize: false,
        enableSaturateInfinity: false,
        enableFastContextSwitch: false,
        enableFastLoadingNeuronBinaries: uncompressed,
      },
      signature: { inputs: [x], outputs: [y, { name: "k", dtype: "int64", shape: [2] }] },
      operators: [
        { name: "copy", type: "Relu", device: "neuron", subgraph: "sg00" },
        { name: "shape", type: "Shape", device: "neuron", reason: "folded at compile time" },
      ],
      subgraphs: [
        {
          id: "sg00",
          device: "neuron",
          inputs: [x],
          outputs: [y],
          nodes: [{ name: "copy", type: "Relu" }],
          operators: 1,
          flops: 8,
          ms: 0.1,
          throughputPerSecond: 10000,
          firstCore: 0,
          stages: [
            {
              core: 0,
              operators: 1,
              weightBytes: 14,
              residentWeightBytes: 6,
              sbufPeakBytes: 38,
              sbufBoundBytes: 38,
              psumPeakBytes: 20,
              psumBoundBytes: 18,
              ms: 0.01,
              busyMs: { dma0: 0.01 },
              flops: 8,
              traffic: { weights: 0, inputs: 32, outputs: 32, spills: 0 },
              dramBytes: 64,
              passedBytes: 0,
              utilisation: 1,
              constants: constantIndex(loaded.program),
            },
          ],
        },
      ],
      constants: ["k"],
      neuronCores: 1,
      flopsOnNeuron: 1,
      predicted: { latencyMs: 0.1, throughputPerSecond: 10000 },
    },
    programs: new Map([["sg00", [loaded]]]),
    models: new Map(),
    inputValues: new Map(),
    constants: new Map([["k", fromNumbers("int64", [2], [2, 4])]]),
  };
}
