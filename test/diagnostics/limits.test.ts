import { mkdtempSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { compileModel } from "../../src/driver/compile.js";
import { fewestCores, largestBelow } from "../../src/driver/limits.js";
import type { CompileOptions } from "../../src/driver/options.js";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import type { Graph } from "../../src/graph/graph.js";
import { floatTensor } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { MOST_CORES } from "../../src/hardware/hardware.js";
import { lower } from "../../src/lower/index.js";
import { chipDramBytes, dramBytes } from "../../src/program/dram.js";
import { refusal } from "../refusal.js";

/** Chips with 4 MiB of memory. */
vi.mock("../../src/hardware/hardware.js", async (original) => {
  const real = await original<typeof import("../../src/hardware/hardware.js")>();
  return { ...real, hardware: { ...real.hardware, dramBytesPerChip: 2 ** 22 } };
});

/** Operators that don't become one, each with a value of 64 KiB an item, and a batch that is open or given. */
const chain = (count: number, batch: string) => {
  const value = (index: number) => (index === 0 ? "x" : index === count ? "y" : `v${index}`);
  const lines = Array.from(
    { length: count },
    (_, index) => `%${value(index + 1)}: float32[${batch}, 128, 128] = Softmax(%${value(index)}) {axis = ${1 + (index % 2)}} @s${index}`,
  );
  return parseGraph(`graph "chain" { input %x: float32[${batch}, 128, 128]\n${lines.join("\n")}\noutput %y }`);
};

/** Products one after the other, each with weights of 512 KiB in 16 bits. */
const products = (count: number) => {
  const { nodes, ...graph } = chain(count, "1");
  const weights = (index: number) => floatTensor([512, 512], new Float32Array(512 * 512).fill(0.01 + index));
  const names = nodes.map(({ name }) => `${name}.weight`);
  return {
    ...graph,
    types: new Map([...graph.types.keys()].map((name) => [name, { dtype: "float32", shape: [8, 512] } as const])),
    constants: new Map(names.map((name, index) => [name, weights(index)])),
    nodes: nodes.map((node, index) => ({ ...node, op: "MatMul", attributes: {}, inputs: [node.inputs[0], names[index]] })),
  };
};

function compiler(graph: Graph) {
  const path = join(mkdtempSync(join(tmpdir(), "limits-")), "model.onnx");
  writeFileSync(path, writeOnnx(graph));
  return (options: CompileOptions) => compileModel(path, { ...options, forceFuseOps: graph.nodes.map(({ name }) => name) });
}

function refusalOf(compiled: Promise<unknown>): Promise<string> {
  return compiled.then(
    () => "compiled",
    (error) => String(error?.message),
  );
}

describe("a batch that is too large", () => {
  const compile = compiler(chain(2, "n"));

  it("is refused with the largest one that works", async () => {
    const refused = await refusalOf(compile({ batchSize: 50 }));
    expect(refused).toMatch(/^NCC0694: --batch-size 50: .* batch that would work is \d+\n/);
    expect(refused).not.toMatch(/NCC0696/);
    const largest = Number(/work is (\d+)/.exec(refused)?.[1]);
    await expect(compile({ batchSize: largest })).resolves.toBeDefined();
    await expect(compile({ batchSize: largest + 1 })).rejects.toThrow(`work is ${largest}\n`);
  });
});

describe("too few cores", () => {
  it("are refused with the fewest that work", async () => {
    const compile = compiler(products(12));
    const refused = await refusalOf(compile({ neuroncorePipelineCores: 1 }));
    expect(refused).toMatch(/NCC0696: 1 NeuronCore.* --neuroncore-pipeline-cores \d+\n.*NCC069/);
    const fewest = Number(/--neuroncore-pipeline-cores (\d+)/.exec(refused)?.[1]);
    expect(fewest).toBeGreaterThan(4);
    await expect(compile({ neuroncorePipelineCores: fewest })).resolves.toBeDefined();
    await expect(compile({ neuroncorePipelineCores: fewest - 1 })).rejects.toThrow(/NCC0695/);
  });
});

describe("a chip's memory", () => {
  it("is shared by its cores", () => {
    const figures = { coresPerChip: 4 };
    expect(chipDramBytes([1, 2, 3, 4, 5], figures)).toEqual([10, 5]);
  });

  it("holds inputs, outputs and constants beside each other, and scratch where it lies", () => {
    const value = { name: "v", space: "dram", dtype: "float32", shape: [2, 3], address: 0 } as const;
    const buffers = [
      { ...value, kind: "input" },
      { ...value, kind: "constant", dtype: "bfloat16" },
      { ...value, kind: "scratch", address: 100 },
      { ...value, kind: "scratch", address: 50 },
      { space: "sbuf" },
    ] as const;
    expect(dramBytes(buffers)).toBe(24 + 12 + 124);
  });
});

describe("the search", () => {
  const limits = [1, 2, 3, 7, 100, 243, 5000];

  it.each(limits)("finds a batch of %i", async (largest) => {
    for (const share of [
      (n: number) => n / largest,
      (n: number) => 0.3 + (0.7 * n) / largest,
      (n: number) => (n / largest) ** 2,
      () => 1,
    ]) {
      for (const failing of [largest + 1, 3 * largest, 40 * largest]) {
        let trials = 0;
        const found = await largestBelow(failing, async (n) => {
          trials++;
          return n <= largest ? share(n) : undefined;
        });
        expect(found).toBe(largest);
        expect(trials).toBeLessThan(60);
      }
    }
  });

  it("finds no batch where none works", async () => {
    expect(await largestBelow(100, async () => undefined)).toBeUndefined();
  });

  it("finds cores", async () => {
    for (let fewest = 2; fewest <= MOST_CORES; fewest++)
      for (const failing of [1, fewest - 1]) expect(await fewestCores(failing, async (n) => (n >= fewest ? 0.5 : undefined))).toBe(fewest);
    expect(await fewestCores(3, async (n) => (n === 1 ? 1 : undefined))).toBe(1);
    expect(await fewestCores(3, async () => undefined)).toBeUndefined();
    expect(await fewestCores(MOST_CORES, async () => undefined)).toBeUndefined();
  });
});

it("a program that gets too long names the node with which it does", () => {
  expect(refusal(() => lower(chain(1, "1"), undefined, undefined, 1))).toMatch(/^NCC0693: chain: .*more than 1 instructions.* s0;/);
});
