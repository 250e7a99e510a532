import { expect, test } from "vitest";
import { parseGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { runGraph } from "../../src/host/index.js";
import { fold } from "../../src/passes/fold.js";
import { options } from "./support.js";

const folded = async (body: string, keep: string[] = []) => {
  const graph = await fold(options().operators.inferTypes(parseGraph(`graph "main" { ${body} }`)), options({}, keep));
  expect(verifyGraph(graph)).toEqual([]);
  return graph;
};

test("what is computed of nothing is known", async () => {
  const graph = await folded(`input %x: float32[2, 0, 3] const %axes: int64[1] = [1]
    %a = Exp(%x) @a
    %b = ReduceSum(%a, %axes) {keepdims = 0} @b
    output %b output %a`);
  expect(graph.nodes).toEqual([]);
  expect(graph.inputs).toEqual(["x"]);
  expect(graph.constants.get("b")).toMatchObject({ shape: [2, 3], data: new Float32Array(6) });
  expect(graph.constants.get("a")?.shape).toEqual([2, 0, 3]);
});

test("empty parts of splits and joins go; an output that is one is a constant", async () => {
  const graph = await folded(`input %x: float32[2, 4] const %sizes: int64[3] = [3, 0, 1]
    %a, %none, %b = Split(%x, %sizes) {axis = -1} @split
    %y = Concat(%b, %none, %a) {axis = 1} @join
    output %y output %none`);
  expect(graph.nodes.map(({ op, inputs, outputs }) => [op, inputs.length, outputs])).toEqual([
    ["Split", 2, ["a", "b"]],
    ["Concat", 2, ["y"]],
  ]);
  expect(graph.constants.get("none")?.shape).toEqual([2, 0]);
});

test("kept operators stay", async () => {
  const graph = await folded("input %x: float32[0] %y = Exp(%x) @y output %y", ["y"]);
  expect(graph.nodes.map(({ name }) => name)).toEqual(["y"]);
});

test("the host: the extremes of no truth values", async () => {
  const graph = options().operators.inferTypes(
    parseGraph(`graph "main" { input %x: bool[2, 0] const %axes: int64[1] = [1]
      %most = ReduceMax(%x, %axes) {keepdims = 0} @most %least = ReduceMin(%x, %axes) {keepdims = 0} @least
      output %most output %least }`),
  );
  const values = await runGraph(graph, new Map([["x", { dtype: "bool", shape: [2, 0], data: new Uint8Array(0) }]]));
  expect([...(values.get("most")?.data ?? [])]).toEqual([0, 0]);
  expect([...(values.get("least")?.data ?? [])]).toEqual([1, 1]);
});
