import { describe, expect, it } from "vitest";
import type { Node } from "../../src/graph/graph.js";
import { orderItems, topologicalOrder } from "../../src/graph/order.js";
import { parseGraph } from "../../src/graph/text.js";

function node(name: string, inputs: string[]): Node {
  return { name, op: "Relu", domain: "", inputs, outputs: [name], attributes: {}, origins: [name] };
}

describe("topological order", () => {
  it("keeps an order that is one, and moves only what must move", () => {
    const nodes = [node("a", ["x"]), node("b", ["d"]), node("c", ["a"]), node("d", ["c"])];
    const ordering = topologicalOrder(nodes);
    expect(ordering.items.map(({ name }) => name)).toEqual(["a", "c", "d", "b"]);
    expect(topologicalOrder(ordering.items).items).toEqual(ordering.items);
  });

  it("names the cycle alone, in the order of its edges", () => {
    const ordering = topologicalOrder([
      node("start", ["x"]),
      node("a", ["start", "c"]),
      node("b", ["a"]),
      node("c", ["b"]),
      node("end", ["c"]),
    ]);
    expect(ordering.kind).toBe("cycle");
    expect(ordering.items.map(({ name }) => name)).toEqual(["b", "c", "a"]);
  });

  it("counts what a subgraph captures as an input", () => {
    const graph = parseGraph(`graph "g" {
      input %c: bool[]
      %y = If(%c) {then_branch = graph "t" {
        %t = Neg(%late) @neg
        output %t
      }} @if
      %late = Relu(%c) @late
      output %y
    }`);
    expect(topologicalOrder(graph.nodes).items.map(({ name }) => name)).toEqual(["late", "if"]);
  });

  it("does not recurse: a chain of 100,000 nodes, given backwards", () => {
    const count = 100_000;
    const items = Array.from({ length: count }, (_, index) => count - index);
    const ordering = orderItems(items, (item) => (item === 1 ? [] : [item - 1]));
    expect(ordering.kind).toBe("ordered");
    expect(ordering.items.every((item, index) => item === index + 1)).toBe(true);
  });
});
