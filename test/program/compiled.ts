/** Small networks with one or several of each kind of lowering, compiled as any model is. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { writeOnnx } from "../../src/frontend/onnx/write.js";
import { seeded } from "../../src/graph/random.js";
import { compileModel } from "../../src/index.js";
import { inferTypes } from "../../src/operators/index.js";
import type { Program } from "../../src/program/program.js";
import { GraphBuilder, randomTensor } from "../lower/build.js";

type Build = (builder: GraphBuilder, constant: (...shape: number[]) => string) => string;

/** A stem with stride and pool, a residual block of more channels than a tile has, and a classifier. */
const residual: Build = (builder, constant) => {
  const convolution = (x: string, from: number, to: number, size: number, strides: number) => {
    const pads = Array(4).fill((size - 1) / 2);
    const [y] = builder.node("Conv", [x, constant(to, from, size, size), constant(to)], { pads, strides: [strides, strides] });
    return y;
  };
  const relu = (x: string) => builder.node("Relu", [x])[0];
  const x = builder.input("x", [1, 3, 12, 12]);
  const [pooled] = builder.node("MaxPool", [relu(convolution(x, 3, 16, 3, 2))], { kernel_shape: [3, 3], pads: [1, 1, 1, 1] });
  const block = convolution(relu(convolution(pooled, 16, 72, 1, 1)), 72, 16, 3, 1);
  const [mean] = builder.node("GlobalAveragePool", [relu(builder.node("Add", [block, pooled])[0])]);
  const [flat] = builder.node("Flatten", [mean]);
  return builder.node("Softmax", [builder.node("Gemm", [flat, constant(16, 10), constant(10)])[0]])[0];
};

/** A depthwise convolution between two pointwise ones, and a resized sum. */
const separable: Build = (builder, constant) => {
  const x = builder.input("x", [1, 8, 8, 8]);
  const [wide] = builder.node("Conv", [x, constant(24, 8, 1, 1), constant(24)]);
  const [activated] = builder.node("Sigmoid", [wide]);
  const [deep] = builder.node("Conv", [activated, constant(24, 1, 3, 3), constant(24)], { group: 24, pads: [1, 1, 1, 1] });
  const [narrow] = builder.node("Conv", [deep, constant(8, 24, 1, 1), constant(8)]);
  const [averaged] = builder.node("AveragePool", [builder.node("Mul", [narrow, x])[0]], { kernel_shape: [2, 2], strides: [2, 2] });
  return builder.node("Concat", [averaged, builder.node("Relu", [averaged])[0]], { axis: 1 })[0];
};

/** One head of attention with its normalisation. */
const attention: Build = (builder, constant) => {
  const x = builder.input("x", [1, 9, 16]);
  const project = () => builder.node("MatMul", [x, constant(16, 16)])[0];
  const [keys] = builder.node("Transpose", [project()], { perm: [0, 2, 1] });
  const [weights] = builder.node("Softmax", [builder.node("MatMul", [project(), keys])[0]], { axis: -1 });
  const [mixed] = builder.node("Add", [x, builder.node("MatMul", [weights, project()])[0]]);
  const [centred] = builder.node("Sub", [mixed, builder.node("ReduceMean", [mixed], { axes: [-1], keepdims: 1 })[0]]);
  return builder.node("Tanh", [centred])[0];
};

const networks = { residual, separable, attention };

/** The programs of each network, all of whose operators run on the NeuronCore. */
export async function compiledNetworks(): Promise<ReadonlyMap<string, Program>> {
  const folder = mkdtempSync(join(tmpdir(), "neuronc-compiled-"));
  const programs = new Map<string, Program>();
  for (const [name, build] of Object.entries(networks)) {
    const random = seeded(5);
    const builder = new GraphBuilder();
    const output = build(builder, (...shape) => builder.constant(randomTensor(shape, random)));
    const file = join(folder, `${name}.onnx`);
    const graph = inferTypes(builder.finish([output]));
    writeFileSync(file, writeOnnx(graph));
    const { artifact } = await compileModel(file, { forceFuseOps: graph.nodes.map((node) => node.name) });
    const [stages, ...others] = [...artifact.programs.values()];
    if (others.length > 0 || stages.length !== 1 || artifact.models.size > 0) throw new Error(`${name} is not one program`);
    programs.set(name, stages[0].program);
  }
  rmSync(folder, { recursive: true });
  return programs;
}
