/** Hand-made lowered programs: a small network's worth of tiles, with everything that scheduling has to keep in order. */
import type { LoweredBuffer, LoweredProgram, Step } from "../../src/lower/lowered.js";
import type { Access, DeviceType, Operation } from "../../src/program/program.js";

export interface SampleOptions {
  readonly layers: number;
  /** Tiles of 64 channels each. */
  readonly channels: number;
  readonly height: number;
  readonly width: number;
  /** Rows of one matmul's output. */
  readonly rows: number;
  /** Layers below this number keep their weights in SBUF. */
  readonly residentLayers: number;
  /** Every so many layers the activations go through DRAM; 0 is never. */
  readonly spillEvery: number;
}

export const small: SampleOptions = { layers: 4, channels: 2, height: 8, width: 6, rows: 4, residentLayers: 1, spillEvery: 2 };

export function access(
  buffer: string,
  partitionCount: number,
  offset: number,
  dims: readonly (readonly [number, number])[],
  partitionStart = 0,
): Access {
  return {
    buffer,
    partitionStart,
    partitionCount,
    partitionStride: 0,
    offset,
    sizes: dims.map(([size]) => size),
    strides: dims.map(([, stride]) => stride),
  };
}

export function dramAccess(
  buffer: string,
  partitionCount: number,
  partitionStride: number,
  offset: number,
  dims: readonly (readonly [number, number])[],
): Access {
  return { ...access(buffer, partitionCount, offset, dims), partitionStride };
}

/** A network of 3x3 convolutions with residual adds, 64 channels to a tile; its input and output are bfloat16 [channels * 64, height, width]. */
export function sampleNetwork(options: SampleOptions): LoweredProgram {
  const { layers, channels, height, width, rows, residentLayers, spillEvery } = options;
  const buffers: LoweredBuffer[] = [];
  const load: Step[] = [];
  const infer: Step[] = [];
  const constants = new Map<string, Uint8Array>();
  let origin = "";
  const chip = (name: string, space: "sbuf" | "psum", dtype: DeviceType, partitions: number, elements: number) => {
    buffers.push({ name, space, dtype, partitions, elements });
    return name;
  };
  const dram = (name: string, kind: "input" | "output" | "constant" | "scratch", dtype: DeviceType, shape: readonly number[]) => {
    buffers.push({ name, space: "dram", kind, dtype, shape });
    if (kind === "constant") constants.set(name, new Uint8Array(shape.reduce((a, b) => a * b, dtype === "float32" ? 4 : 2)));
    return name;
  };
  const step = (engine: Step["engine"], operation: Operation, to = infer) => to.push({ operation, engine, origin });
  const padded = (height + 2) * (width + 2);
  const plane = height * width;
  const interior = (offset: number, count: number): [number, [number, number][]] => [
    offset + width + 3,
    [
      [count, width + 2],
      [width, 1],
    ],
  ];

  /** A padded activation of all channel tiles, its border cleared. */
  const activation = (name: string) => {
    const made = chip(name, "sbuf", "bfloat16", 64, channels * padded);
    step("vector", { kind: "memset", out: access(made, 64, 0, [[channels * padded, 1]]), value: 0 });
    return made;
  };
  const moveTile = (onChip: string, inDram: string, tile: number, toChip: boolean) => {
    const [offset, dims] = interior(tile * padded, height);
    const a = access(onChip, 64, offset, dims);
    const b = dramAccess(inDram, 64, plane, tile * 64 * plane, [[plane, 1]]);
    step("dma", { kind: "dma", out: toChip ? a : b, in: toChip ? b : a });
  };

  origin = "input";
  const x = dram("x", "input", "bfloat16", [channels * 64, height, width]);
  let current = activation("act0");
  for (let tile = 0; tile < channels; tile++) moveTile(current, x, tile, true);
  for (let layer = 1; layer <= layers; layer++) {
    origin = `conv-${layer}`;
    const section = layer <= residentLayers ? load : infer;
    const next = activation(`act${layer}`);
    for (let m = 0; m < channels; m++) {
      const elements = channels * 9 * 64;
      const source = dram(`w${layer}.${m}.dram`, "constant", "bfloat16", [64, elements]);
      const weights = chip(`w${layer}.${m}`, "sbuf", "bfloat16", 64, elements);
      const load1 = {
        kind: "dma",
        out: access(weights, 64, 0, [[elements, 1]]),
        in: dramAccess(source, 64, elements, 0, [[elements, 1]]),
      } as const;
      step("dma", load1, section);
      const biasSource = dram(`b${layer}.${m}.dram`, "constant", "float32", [64]);
      const bias = chip(`b${layer}.${m}`, "sbuf", "float32", 64, 1);
      step("dma", { kind: "dma", out: access(bias, 64, 0, [[1, 1]]), in: dramAccess(biasSource, 64, 1, 0, [[1, 1]]) }, section);
      for (let row = 0; row < height; row += rows) {
        const count = Math.min(rows, height - row);
        const sums = chip(`acc${layer}.${m}.${row}`, "psum", "float32", 64, count * width);
        const out = access(sums, 64, 0, [[count * width, 1]]);
        for (let k = 0; k < channels; k++) {
          for (let tap = 0; tap < 9; tap++) {
            const offset = k * padded + (row + Math.floor(tap / 3)) * (width + 2) + (tap % 3);
            const moving = access(current, 64, offset, [
              [count, width + 2],
              [width, 1],
            ]);
            const stationary = access(weights, 64, (k * 9 + tap) * 64, [[64, 1]]);
            step("tensor", { kind: "matmul", out, stationary, moving, accumulate: k + tap > 0 });
          }
        }
        const [offset, dims] = interior(m * padded + row * (width + 2), count);
        const place = access(next, 64, offset, dims);
        const biasAccess = access(bias, 64, 0, [[1, 1]]);
        step("scalar", { kind: "activation", out: place, in: out, function: "relu", scale: 1, bias: biasAccess, alpha: 0 });
        const residual = access(current, 64, offset, dims);
        step("vector", { kind: "tensor_tensor", out: place, in0: place, in1: residual, op: "add" });
      }
    }
    current = next;
    if (spillEvery > 0 && layer % spillEvery === 0 && layer < layers) {
      const scratch = dram(`spill${layer}`, "scratch", "bfloat16", [channels * 64, height, width]);
      for (let tile = 0; tile < channels; tile++) moveTile(current, scratch, tile, false);
      current = activation(`act${layer}.back`);
      for (let tile = 0; tile < channels; tile++) moveTile(current, scratch, tile, true);
    }
  }
  origin = "output";
  const y = dram("y", "output", "bfloat16", [channels * 64, height, width]);
  for (let tile = 0; tile < channels; tile++) moveTile(current, y, tile, false);
  return { name: "sample", buffers, load, infer, valueBytes: new Map(), constants };
}
