import { expect, test } from "vitest";
import { parseGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { parameterInputs } from "../../src/operators/index.js";
import { asWords } from "../../src/passes/index.js";

test("64-bit integers are pairs of words at the border; casts take them apart and make them", () => {
  const graph = parseGraph(`graph "main" { input %x: int64[3]
    %a: int32[3] = Cast(%x) {to = 6} @narrow
    %b: int32[3] = Add(%a, %a) @double
    %y: int64[3] = Cast(%b) {to = 7} @widen
    output %y }`);
  const words = asWords(graph);
  expect(verifyGraph(words)).toEqual([]);
  expect(words.types.get("x")).toEqual({ dtype: "int32", shape: [3, 2] });
  expect(words.types.get("y")).toEqual({ dtype: "int32", shape: [3, 2] });
  expect(words.nodes.map(({ op }) => op)).toEqual(["Gather", "Add", "Max", "Min", "Reshape", "Reshape", "Concat"]);
});

test("a word that is a node's result is still there for other readers", () => {
  const graph = parseGraph(`graph "main" { input %x: int64[3]
    %a: int32[3] = Cast(%x) {to = 6} @narrow
    %y: int64[3] = Neg(%x) @negate
    output %a
    output %y }`);
  expect(verifyGraph(asWords(graph))).toEqual([]);
});

test("a graph without them stays", () => {
  const graph = parseGraph(`graph "main" { input %x: int32[3]
    %y: float32[3] = Cast(%x) {to = 1} @cast
    output %y }`);
  expect(asWords(graph)).toBe(graph);
});

test("inputs that only parameters come from say what to do; an output or a datum is data", () => {
  const graph = parseGraph(`graph "main" { input %x: float32[2, 3] input %axes: int64[1] input %shape: int64[2] input %both: int64[1]
    %one: float32[*] = ReduceSum(%x, %axes) @sum
    %twice: int64[2] = Identity(%shape) @same
    %y: float32[*] = Reshape(%x, %twice) @reshape
    %z: float32[*] = ReduceMax(%x, %both) @most
    output %one output %y output %z output %both }`);
  expect(parameterInputs(graph)).toEqual(["axes", "shape"]);
});
