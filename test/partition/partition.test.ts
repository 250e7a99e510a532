import { describe, expect, it } from "vitest";
import { UserError } from "../../src/diagnostics/diagnostic.js";
import { floatTensor, int64Tensor } from "../../src/graph/tensor.js";
import { checkPartition, type Partition, type PartitionOptions, partition, priceModel } from "../../src/partition/index.js";
import { graphOf, node, refused, verdictsOf } from "./graphs.js";

const none: PartitionOptions = { noFuse: new Set(), forceFuse: new Set() };
const chain = graphOf([node("A", ["x"]), node("B", ["a"]), node("C", ["b"]), node("D", ["c"]), node("E", ["d"])]);

/** `device:nodes` of each subgraph. */
function summary({ subgraphs }: Partition): string[] {
  return subgraphs.map(({ device, graph }) => `${device}:${graph.nodes.map((each) => each.name).join("")}`);
}

function ids(run: () => unknown): string[] {
  try {
    run();
  } catch (error) {
    if (error instanceof UserError) return error.diagnostics.map(({ id, message }) => `${id}: ${message}`);
    throw error;
  }
  return [];
}

describe("subgraphs", () => {
  it("cross at the values that go between them", () => {
    const result = partition(chain, verdictsOf(chain, ["C"]), none);
    expect(summary(result)).toEqual(["neuron:AB", "cpu:C", "neuron:DE"]);
    expect(result.subgraphs.map(({ id, graph }) => [id, graph.inputs, graph.outputs])).toEqual([
      ["sg00", ["x"], ["b"]],
      ["sg01", ["b"], ["c"]],
      ["sg02", ["c"], ["e"]],
    ]);
    expect(result.placements.get("C")).toEqual({ device: "cpu", subgraph: "sg01", reason: refused });
  });

  it("hold their constants, those that bodies capture too, and name the source operators of fused nodes", () => {
    const body = graphOf([node("Inner", ["captured", "table"])]);
    const fused = node("A", ["x", "w"], {
      origins: ["conv", "norm"],
      epilogue: [{ op: "Relu", attributes: {}, operands: [null], origins: ["relu"] }],
    });
    const branch = node("B", ["a"], { op: "If", attributes: { then_branch: { type: "graph", value: { ...body, inputs: [] } } } });
    const graph = graphOf(
      [node("P", ["x"], { outputs: ["captured"] }), fused, branch],
      [4],
      new Map([
        ["w", floatTensor([1], [1])],
        ["table", floatTensor([1], [2])],
      ]),
    );
    const verdicts = verdictsOf(graph, ["B"]);
    const result = partition(graph, verdicts, none);
    expect(summary(result)).toEqual(["neuron:PA", "cpu:B"]);
    expect(result.subgraphs[0].operators).toEqual(["P", "conv", "norm", "relu"]);
    expect([...result.subgraphs[0].graph.constants.keys()]).toEqual(["w"]);
    expect(result.subgraphs[1].graph.inputs).toEqual(["a", "captured"]);
    expect([...result.subgraphs[1].graph.constants.keys()]).toEqual(["table"]);
    expect(checkPartition(graph, verdicts, none.noFuse, result)).toEqual([]);
  });

  it("take nodes with a choice of group where the fewest bytes cross", () => {
    const nodes = [node("A", ["x"]), node("B", ["a"]), node("C", ["b"]), node("D", ["c"]), node("R", ["x"]), node("S", ["d", "r"])];
    const graph = graphOf(nodes);
    const types = new Map(graph.types).set("r", { dtype: "float32", shape: [1000] });
    expect(summary(partition({ ...graph, types }, verdictsOf(graph, ["B"]), { ...none, minimumSegmentSize: 1 }))).toEqual([
      "neuron:A",
      "cpu:B",
      "neuron:CDRS",
    ]);
  });

  it("there are none for a graph without nodes", () => {
    expect(partition(graphOf([]), new Map(), none).subgraphs).toEqual([]);
  });
});

describe("minimum segment size", () => {
  it("is 2 by default, and 1 for a model of one operator", () => {
    expect(summary(partition(chain, verdictsOf(chain, ["B"]), none))).toEqual(["cpu:AB", "neuron:CDE"]);
    expect(partition(chain, verdictsOf(chain, ["B"]), none).placements.get("A")?.reason?.rule).toBe("minimum-segment-size");
    const single = graphOf([node("A", ["x"])]);
    expect(summary(partition(single, verdictsOf(single, []), none))).toEqual(["neuron:A"]);
  });

  it("counts source operators, Identity not", () => {
    const fused = graphOf([node("A", ["x"], { origins: ["conv", "relu"] }), node("B", ["a"])]);
    expect(summary(partition(fused, verdictsOf(fused, ["B"]), none))).toEqual(["neuron:A", "cpu:B"]);
    const padded = graphOf([node("A", ["x"]), node("I", ["a"], { op: "Identity" }), node("B", ["i"])]);
    expect(summary(partition(padded, verdictsOf(padded, ["B"]), none))).toEqual(["cpu:AIB"]);
  });

  it("applies to a graph that is one Neuron group when given", () => {
    expect(summary(partition(chain, verdictsOf(chain, []), { ...none, minimumSegmentSize: 6 }))).toEqual(["cpu:ABCDE"]);
  });
});

describe("the user's lists", () => {
  it("no-fuse sends an operator to the CPU, found among those that a node stands for", () => {
    const graph = graphOf([node("A", ["x"]), node("B", ["a"]), node("C", ["b"], { origins: ["conv", "relu"] })]);
    const result = partition(graph, verdictsOf(graph, []), { ...none, noFuse: new Set(["relu"]) });
    expect(summary(result)).toEqual(["neuron:AB", "cpu:C"]);
    expect(result.placements.get("C")?.reason).toMatchObject({ rule: "no-fuse", value: "relu" });
  });

  it("force-fuse keeps a small or costly group on the NeuronCore", () => {
    const options = { ...none, forceFuse: new Set(["A"]), price: priceModel(chain, () => 0) };
    expect(summary(partition(chain, verdictsOf(chain, ["B"]), options))).toEqual(["neuron:A", "cpu:BCDE"]);
  });

  it("names that the model has not are errors with a suggestion; those folded away are not", () => {
    const run = (sourceNames?: ReadonlySet<string>) =>
      ids(() => partition(chain, verdictsOf(chain, []), { ...none, noFuse: new Set(["conv1"]), sourceNames }));
    expect(run(new Set(["conv_1", "A"]))).toEqual([
      "NCC0560: --no-fuse-ops conv1: the model has no operator of this name (did you mean conv_1?)",
    ]);
    expect(run(new Set(["conv1"]))).toEqual([]);
  });

  it("contradictions and impossible wishes are errors, all at once", () => {
    const lists = { ...none, noFuse: new Set(["A"]), forceFuse: new Set(["A", "B", "nowhere"]) };
    expect(ids(() => partition(chain, verdictsOf(chain, ["B"]), lists)).map((text) => text.slice(0, 7))).toEqual([
      "NCC0560",
      "NCC0561",
      "NCC0562",
    ]);
    const forced = { ...none, forceFuse: new Set(["B"]) };
    expect(ids(() => partition(chain, verdictsOf(chain, ["B"]), forced))[0]).toContain("no-lowering");
  });
});

describe("price", () => {
  const cheap = priceModel(chain, () => 1000);
  const heavy = priceModel(chain, () => 1e9);

  it("refuses groups that cost more than they save, with the figures", () => {
    const result = partition(chain, verdictsOf(chain, ["C"]), { ...none, price: cheap });
    expect(summary(result)).toEqual(["cpu:ABCDE"]);
    expect(result.placements.get("A")?.reason).toMatchObject({ rule: "not-worth-it", subject: "segment of 2 operators" });
    expect(result.placements.get("A")?.reason?.value).toMatch(/^0\.000 ms on the host against .* 0\.815 ms launch$/);
    expect(result.placements.get("C")?.reason).toBe(refused);
  });

  it("keeps those that pay, and a graph that is one Neuron group whatever it costs", () => {
    expect(summary(partition(chain, verdictsOf(chain, ["C"]), { ...none, price: heavy }))).toEqual(["neuron:AB", "cpu:C", "neuron:DE"]);
    expect(summary(partition(chain, verdictsOf(chain, []), { ...none, price: cheap }))).toEqual(["neuron:ABCDE"]);
  });

  it("takes an unconnected part that doesn't pay out of a group that does", () => {
    const graph = graphOf([node("A", ["x"]), node("B", ["a"]), node("P", ["y"]), node("C", ["b", "p"])], [100_000]);
    const price = priceModel(graph, ({ name }) => ("AB".includes(name) ? 1e9 : 1));
    expect(summary(partition(graph, verdictsOf(graph, ["C"]), { ...none, price }))).toEqual(["neuron:AB", "cpu:PC"]);
  });
});

describe("embedding lookups", () => {
  const nodes = [node("L", ["table", "ids"], { op: "Gather" }), node("A", ["l"]), node("B", ["a"])];
  const graph = graphOf(nodes, [4], new Map([["table", floatTensor([8, 4], new Float32Array(32))]]));

  it("stay on the host at the start of a graph that has other work for the host", () => {
    const mixed = graphOf([...nodes, node("C", ["b"])], [4], graph.constants);
    const result = partition(mixed, verdictsOf(mixed, ["C"]), none);
    expect(summary(result)).toEqual(["cpu:L", "neuron:AB", "cpu:C"]);
    expect(result.placements.get("L")?.reason?.rule).toBe("lookup-at-start");
  });

  it("go to the NeuronCore where everything does, or where their indices come from there", () => {
    expect(summary(partition(graph, verdictsOf(graph, []), none))).toEqual(["neuron:LAB"]);
    const late = graphOf([node("A", ["x"]), node("L", ["table", "a"], { op: "Gather" }), node("C", ["l"])], [4], graph.constants);
    expect(summary(partition(late, verdictsOf(late, ["C"]), none))).toEqual(["neuron:AL", "cpu:C"]);
  });
});

describe("the checker", () => {
  const verdicts = verdictsOf(chain, ["C"]);
  const good = partition(chain, verdicts, none);
  const [first, second, third] = good.subgraphs;
  const faults = (subgraphs: Partition["subgraphs"], names = new Set<string>()) =>
    checkPartition(chain, verdicts, names, { ...good, subgraphs });

  it.each([
    ["a wrong order", [second, first, third], "reads b, which nothing before it gives"],
    ["a missing subgraph", [first, second], "node D is in no subgraph"],
    ["a subgraph twice", [first, first, second, third], "two subgraphs have this id"],
    ["a lost output", [{ ...first, graph: { ...first.graph, outputs: [] } }, second, third], "reads b, which nothing before it gives"],
    ["a lost input", [first, { ...second, graph: { ...second.graph, inputs: [] } }, third], "node C reads b, which is not there yet"],
    ["an unsupported node on a NeuronCore", [first, { ...second, device: "neuron" as const }, third], "node C can't run on a NeuronCore"],
    [
      "a foreign constant",
      [{ ...first, graph: { ...first.graph, constants: new Map([["k", int64Tensor([], [1])]]) } }, second, third],
      "constant k",
    ],
  ])("sees %s", (_, subgraphs, message) => {
    expect(faults(subgraphs).join("\n")).toContain(message);
  });

  it("sees an operator that was to stay on the CPU, and nothing wrong with a right partition", () => {
    expect(faults(good.subgraphs, new Set(["A"]))).toEqual(["sg00: A was to stay on the CPU"]);
    expect(faults(good.subgraphs)).toEqual([]);
  });
});
