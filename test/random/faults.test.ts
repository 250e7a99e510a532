import { describe, expect, it } from "vitest";
import { isStatic } from "../../src/graph/graph.js";
import { parseGraph } from "../../src/graph/text.js";
import { inferTypes } from "../../src/operators/index.js";
import { checkCase } from "./check.js";
import { Grower } from "./grower.js";

interface Fault {
  readonly graph: string;
  readonly fastMath?: readonly string[];
  /** Cores of a pipeline on which it failed. */
  readonly cores?: number;
}

/** Graphs on which random runs once failed, made smaller. All values are exact: any other is a mismatch. */
const faults: Readonly<Record<string, Fault>> = {
  "a number that is no integer in a formula whose result is one": {
    fastMath: ["fp32-cast-all-fp16"],
    graph: `
      graph "g" {
        input %x: float32[1, 1, 2, 8]
        const %size: float32[] = [2.5]
        const %scale: float32[] = [0.125]
        %rest = Mod(%x, %size) {fmod = 1} @rest
        %y = QuantizeLinear(%rest, %scale) @y
        output %y
      }`,
  },
  "an epilogue over every third position of an axis that lies on partitions": {
    fastMath: ["fp32-cast-all-fp16"],
    graph: `
      graph "g" {
        input %x: float32[2, 2, 4]
        input %updates: float32[1, 1, 4]
        const %w: float32[2, 1, 1] = [-1, 0.5]
        const %places: int64[1, 1, 4] = [1, 1, 1, 1]
        %spread = ConvTranspose(%x, %w) {strides = [3]} @spread
        %y = ScatterElements(%spread, %places, %updates) {axis = 0} @y
        output %y
      }`,
  },
  "a split of which one part becomes integers": {
    graph: `
      graph "g" {
        input %x: float32[1, 3]
        %a, %b, %c = Split(%x) {axis = 1, num_outputs = 3} @split
        %whole = Cast(%c) {to = 6} @whole
        output %c output %whole output %a
      }`,
  },
  "sums of integers that change their layout through 16 bits": {
    fastMath: ["fp32-cast-matmult-bf16", "fast-relayout"],
    cores: 16,
    graph: `
      graph "g" {
        input %x: uint8[17, 7, 7, 4]
        const %w: uint8[2, 7, 2, 1] = [${Array.from({ length: 28 }, (_, index) => (index * 37) % 200).join()}]
        %y = ConvInteger(%x, %w) @y
        output %y
      }`,
  },
  "a comparison of two numbers inside a formula": {
    graph: `
      graph "g" {
        input %x: float32[1, 1]
        const %number: float32[1, 1] = [3.75]
        const %yes: bool[] = [true]
        %chosen = Where(%yes, %number, %x) @chosen
        %y = ThresholdedRelu(%chosen) @y
        output %y
      }`,
  },
};

describe("graphs that once failed", () => {
  it.each(Object.entries(faults))("%s", async (_, { graph: text, fastMath = ["all"], cores }) => {
    const graph = inferTypes(parseGraph(text));
    const grower = new Grower(1, {});
    const inputs = graph.inputs.map((name) => {
      const type = graph.types.get(name);
      if (type === undefined || !isStatic(type)) throw new Error(`${name} has no static type`);
      return [name, grower.elements(type.dtype, type.shape, true).tensor] as const;
    });
    const options = { fastMath, forceFuseOps: graph.nodes.map((node) => node.name), minimumSegmentSize: 1, verifyEach: true };
    const failure = await checkCase({
      ...{ graph, inputs: new Map(inputs), rounded: new Set<string>(), far: false, infinite: false, seed: 1 },
      ...{ placement: "forced", options, variant: cores === undefined ? { kind: "none" } : { kind: "cores", cores } },
    });
    expect(failure).toBeUndefined();
  });
});
