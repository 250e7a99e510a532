import { describe, expect, test } from "vitest";
import type { Graph, Node, TensorType } from "../../src/graph/graph.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { clean } from "../../src/passes/clean.js";
import { simplify } from "../../src/passes/movement.js";
import { type Rule, rewrite } from "../../src/passes/rewrite.js";

const type: TensorType = { dtype: "float32", shape: [2, 3] };

function chain(ops: readonly (readonly [string, Node["attributes"]])[]): Graph {
  const nodes = ops.map(
    ([op, attributes], index): Node => ({
      name: `n${index}`,
      op,
      domain: "",
      inputs: [`v${index}`],
      outputs: [`v${index + 1}`],
      attributes,
      origins: [`n${index}`],
    }),
  );
  const types = new Map<string, TensorType>(Array.from({ length: ops.length + 1 }, (_, index) => [`v${index}`, type]));
  return { name: "chain", inputs: ["v0"], outputs: [`v${ops.length}`], nodes, types, constants: new Map() };
}

describe("the rewrite engine", () => {
  test("100,000 nodes deep: time and stack stay linear", () => {
    const deep = chain(Array.from({ length: 100_000 }, (_, index) => [index % 3 === 0 ? "Relu" : "Identity", {}] as const));
    const cleaned = clean(deep, {});
    expect(cleaned.nodes.length).toBe(33_334);
    expect(cleaned.outputs).toEqual(["v100000"]);
    expect(verifyGraph(cleaned)).toEqual([]);
  });
  test("1,500 transposes merge into none", () => {
    const swap = { perm: { type: "ints", value: [1, 0] } } as const;
    const graph = chain([...Array.from({ length: 1_500 }, () => ["Transpose", swap] as const), ["Relu", {}]]);
    expect(simplify(graph, {}).nodes.map((node) => node.op)).toEqual(["Relu"]);
  });
  test("a constant read by many nodes costs nothing extra", () => {
    const wide = chain(Array.from({ length: 20_000 }, () => ["Add", {}] as const));
    const constants = new Map([["one", { dtype: "float32", shape: [], data: Float32Array.of(1) } as const]]);
    const nodes = wide.nodes.map((node) => ({ ...node, inputs: [...node.inputs, "one"] }));
    expect(clean({ ...wide, nodes, constants }, {}).nodes.length).toBe(20_000);
  });
  test("rules that never end are a fault of ours", () => {
    const flip: Rule = {
      name: "flip",
      pattern: { op: ["Relu", "Abs"] },
      replace: ({ root }) => ({ nodes: [{ ...root, op: root.op === "Relu" ? "Abs" : "Relu" }] }),
    };
    expect(() => rewrite(chain([["Relu", {}]]), [flip], {})).toThrow("rewriting does not end; last rule flip");
  });
});
