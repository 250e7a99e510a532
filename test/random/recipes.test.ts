import { describe, expect, it } from "vitest";
import { supportedOperators } from "../../src/operators/index.js";
import { randomCase } from "./case.js";
import { recipes } from "./recipes/index.js";
import { wild } from "./recipes/wild.js";

/** Newer than ONNX Runtime, which is the reference. */
const newest = ["CausalConvWithState", "FlexAttention", "LinearAttention", "SwiGLU"];
/** Of constants alone: folded before anything runs. */
const folded = ["BlackmanWindow", "Constant", "ConstantOfShape", "HammingWindow", "HannWindow", "MelWeightMatrix", "Range"];
/** Left to the conformance suite. */
const rare = ["DynamicQuantizeLinear", "QLinearConv"];
const without = [...newest, ...folded, ...rare].sort();

describe("recipes", () => {
  it("make every operator that runs on NeuronCores", () => {
    expect(supportedOperators().filter((name) => recipes[name] === undefined)).toEqual(without);
  });

  it("all come up among the seeds that are tested", () => {
    const seen = new Set<string>();
    for (let seed = 0; seed < 1000; seed++) for (const node of randomCase(seed).graph.nodes) seen.add(node.op);
    expect(Object.keys(recipes).filter((name) => !(name in wild || seen.has(name)))).toEqual([]);
  });

  it("give the same graph for the same seed", () => {
    for (const seed of [1, 2, 3]) expect(randomCase(seed)).toEqual(randomCase(seed));
    expect(randomCase(1).graph.nodes).not.toEqual(randomCase(2).graph.nodes);
  });
});
