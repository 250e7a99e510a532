import { describe, expect, it } from "vitest";
import { parseGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";

const good = `graph "g" {
  input %x: float32[N, 4]
  const %w: float32[4] = [1, 2, 3, 4]
  %y: float32[N, 4] = Add(%x, %w) @add
  %z = If(%y) {then_branch = graph "t" {
    %t = Neg(%y) @neg
    output %t
  }} @if
  output %z
}`;

/** Each case edits the good graph's text in one place. */
const faults: readonly (readonly [string, string, string, string])[] = [
  ["an unknown input", "Add(%x, %w)", "Add(%q, %w)", "node add uses q, which is not defined"],
  ["a late definition", "Add(%x, %w)", "Add(%z, %w)", "comes later: the nodes are not in a topological order"],
  ["a second definition", "%z = If", "%y = If", "value y is defined twice"],
  ["an output that nothing makes", "output %z", "output %q", "output q is not defined"],
  ["an input without a type", "input %x: float32[N, 4]", "input %x", "input x has no type"],
  ["a type of nothing", "output %z", "output %z\n  type %q: float32[]", "type of q, which is not defined"],
  ["a negative extent", "%y: float32[N, 4]", "%y: float32[N, -4]", "value y has extent -4"],
  ["a name used twice", "@if", "@add", "node name add is used twice"],
  ["a subgraph's unknown input", "Neg(%y)", "Neg(%q)", 'graph "t": node neg uses q'],
  ["a subgraph that hides a value", "%t = Neg(%y) @neg", "%w = Neg(%y) @neg\n  %t = Neg(%w) @neg2", "hides one of an outer graph"],
  ["an epilogue operand out of range", "@add", "@add then Mul(_, #2)", "operand that is no input"],
  ["an epilogue that drops its value", "@add", "@add then Mul(#0, #1)", "does not use the running value"],
];

describe("the graph verifier", () => {
  it("finds no fault in a good graph", () => {
    expect(verifyGraph(parseGraph(good))).toEqual([]);
  });

  it.each(faults)("finds %s", (_, from, to, message) => {
    const text = good.replace(from, to);
    expect(text).not.toBe(good);
    expect(verifyGraph(parseGraph(text)).join("\n")).toContain(message);
  });

  it("finds constants that do not hold what their shape says", () => {
    const graph = parseGraph(good);
    const short = { ...graph, constants: new Map([["w", { dtype: "float32" as const, shape: [4], data: new Float32Array(3) }]]) };
    expect(verifyGraph(short).join()).toContain("holds 3 elements, not 4");
    const wrongArray = { ...graph, constants: new Map([["w", { dtype: "float32" as const, shape: [4], data: new Int32Array(4) }]]) };
    expect(verifyGraph(wrongArray).join()).toContain("is held in Int32Array, not Float32Array");
    const otherShape = { ...graph, constants: new Map([["w", { dtype: "float32" as const, shape: [2, 2], data: new Float32Array(4) }]]) };
    expect(verifyGraph(otherShape).join()).toContain("has type float32[4]");
  });
});
