import { describe, expect, test } from "vitest";
import { userError } from "../../src/diagnostics/diagnostic.js";
import type { Graph } from "../../src/graph/graph.js";
import { toNumbers } from "../../src/graph/tensor.js";
import { parseGraph } from "../../src/graph/text.js";
import { fold } from "../../src/passes/fold.js";
import type { NormaliseOptions } from "../../src/passes/index.js";
import { options } from "./support.js";

const graphOf = (body: string) => parseGraph(`graph "main" { ${body} }`);
const names = (graph: Graph) => graph.nodes.map((node) => node.name);

describe("fold", () => {
  const chain = graphOf(`input %x: float32[2]
    const %a: float32[2] = [1, 2]
    %b: float32[2] = Add(%a, %a) @b
    %c: float32[2] = RandomNormalLike(%b) @c
    %d: float32[2] = Exp(%b) @d
    %e: float32[2] = Add(%c, %x) @e
    %f: float32[2] = Add(%d, %e) @f
    output %f`);
  test("one run for everything that is constant; random operators stay", async () => {
    let runs = 0;
    const counting: NormaliseOptions = {
      ...options(),
      evaluate: (graph, inputs) => {
        runs++;
        return options().evaluate(graph, inputs);
      },
    };
    const folded = await fold(chain, counting);
    expect(names(folded)).toEqual(["c", "e", "f"]);
    expect([...folded.constants.keys()].sort()).toEqual(["b", "d"]);
    expect(runs).toBe(1);
  });
  test("kept operators stay", async () => {
    expect(names(await fold(chain, options({}, ["d"])))).toEqual(["c", "d", "e", "f"]);
  });
  test("what ONNX Runtime refuses stays, the rest folds", async () => {
    const graph = graphOf(`const %a: float32[1] = [4]
      %b: float32[1] = Sqrt(%a) @b
      %c: float32[*] = Frobnicate(%b) @c
      %d: float32[*] = Relu(%c) @d
      output %d`);
    const folded = await fold(graph, options());
    expect(names(folded)).toEqual(["c", "d"]);
    expect(toNumbers(folded.constants.get("b")!)).toEqual([2]);
  });
  test("a fault of ours is not taken for a refusal", async () => {
    const broken: NormaliseOptions = { ...options(), evaluate: () => Promise.reject(new Error("a bug")) };
    await expect(fold(chain, broken)).rejects.toThrow("a bug");
    const refusing: NormaliseOptions = { ...options(), evaluate: () => Promise.reject(userError("NCC0553", { name: "x", detail: "no" })) };
    expect((await fold(chain, refusing)).nodes.length).toBe(5);
  });
  test("a constant output is a constant of that name; one used output of two is enough", async () => {
    const graph = graphOf(`const %a: float32[2] = [1, 2]
      %b: float32[1], %c: float32[1] = Split(%a) {num_outputs = 2} @split
      output %c`);
    const folded = await fold(graph, options());
    expect(folded.nodes).toEqual([]);
    expect(toNumbers(folded.constants.get("c")!)).toEqual([2]);
    expect(folded.constants.size).toBe(1);
  });
  test("nested Ifs with known conditions go, also within each other", async () => {
    const graph = graphOf(`input %x: float32[2]
      const %yes: bool[] = [true]
      %y: float32[2] = If(%yes) {then_branch = graph "t" {
          %inner: float32[2] = If(%yes) {then_branch = graph "tt" {
              %r: float32[2] = Relu(%x) @r
              output %r
            }, else_branch = graph "te" {
              %s: float32[2] = Abs(%x) @s
              output %s
            }} @inner_if
          output %inner
        }, else_branch = graph "e" {
          %z: float32[2] = Neg(%x) @z
          output %z
        }} @outer_if
      output %y`);
    expect((await fold(graph, options())).nodes.map((node) => node.op)).toEqual(["Relu", "Identity", "Identity"]);
  });
  test("conditions that follow from shapes are known inside bodies too", async () => {
    const graph = graphOf(`input %x: float32[2, 3]
      input %flag: bool[]
      %y: float32[*] = If(%flag) {then_branch = graph "t" {
          const %two: int64[] = [2]
          %shape: int64[2] = Shape(%x) @shape
          %rank: int64[] = Size(%shape) @rank
          %isMatrix: bool[] = Equal(%rank, %two) @compare
          %inner: float32[*] = If(%isMatrix) {then_branch = graph "tt" {
              %r: float32[2, 3] = Relu(%x) @r
              output %r
            }, else_branch = graph "te" {
              %s: float32[3] = Abs(%x) @s
              output %s
            }} @inner_if
          output %inner
        }, else_branch = graph "e" {
          %z: float32[2, 3] = Neg(%x) @z
          output %z
        }} @outer_if
      output %y`);
    const [outer] = (await fold(options().operators.inferTypes(graph), options())).nodes;
    const branch = outer.attributes.then_branch;
    expect(branch?.type === "graph" ? branch.value.nodes.map((node) => node.op) : []).toEqual(["Shape", "Size", "Relu", "Identity"]);
  });
  test("a giant weight is refused rather than made", async () => {
    const graph = graphOf(`input %x: float32[1, 100000]
      const %shape: int64[2] = [100000, 100000]
      %w: float32[100000, 100000] = ConstantOfShape(%shape) @fill
      %y: float32[1, 100000] = MatMul(%x, %w) @product
      output %y`);
    expect(names(await fold(graph, options()))).toEqual(["fill", "product"]);
  });
});
