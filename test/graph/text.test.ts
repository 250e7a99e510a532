import fc from "fast-check";
import { describe, expect, it } from "vitest";
import type { Attribute, Dim, Graph, Node, TensorType } from "../../src/graph/graph.js";
import { allocateData, type DType, dtypes, elementCount, floatTensor, type Tensor } from "../../src/graph/tensor.js";
import { parseGraph, printGraph } from "../../src/graph/text.js";

const golden = `graph "main" {
  input %x: float32[N, 3, 224, "batch size"]
  input %y: float16[*]
  const %w: float32[1, 3, 1, 1] = [0.1, -0, nan]
  const %axes: int64[2] = [-1, 9223372036854775807]
  const %"odd name:0": string[1] = ["a\\"b"]
  const %h: float16[2] = [0.099975586, -inf]
  const %flag: bool[2] = [true, false]
  %c: float32[N, 1, 112, 112] = Conv(%x, %w, _, %r) {strides = [2, 2], alpha = 0.1f, beta = 1.0, mode = "SAME"} @conv1 then Relu(_) from ["relu1"] then Add(_, #3) {k = 0.1}
  %a: int64[], _ = com.microsoft::Split(%"odd name:0") {empty = floats[], names = ["a", "b"], value = int64[1] [7]} @"node 2" from ["n2", "n3"]
  () = Sink(%a) @sink
  %i = If(%flag) {then_branch = graph "then" {
    const %one: float32[] = [1]
    %t: float32[] = Neg(%one) @neg
    output %t
  }} @if
  output %c
  output %i
  type %r: float32[]
}
`;

describe("the text of a graph", () => {
  it("prints what it parses", () => {
    expect(printGraph(parseGraph(golden))).toBe(golden);
  });

  it("reads the parts", () => {
    const graph = parseGraph(golden);
    const [conv, split] = graph.nodes;
    expect(graph.types.get("x")).toEqual({ dtype: "float32", shape: ["N", 3, 224, "batch size"] });
    expect(graph.types.get("y")).toEqual({ dtype: "float16" });
    expect(conv.inputs).toEqual(["x", "w", "", "r"]);
    expect(conv.attributes.alpha).toEqual({ type: "float", value: Math.fround(0.1) });
    expect(conv.epilogue?.[1]).toEqual({ op: "Add", attributes: { k: { type: "float", value: 0.1 } }, operands: [null, 3], origins: [] });
    expect(conv.origins).toEqual(["conv1"]);
    expect([split.domain, split.outputs, split.origins]).toEqual(["com.microsoft", ["a", ""], ["n2", "n3"]]);
    expect(graph.constants.get("axes")?.data).toEqual(BigInt64Array.of(-1n, 2n ** 63n - 1n));
  });

  it("elides large constants only when asked, and says so when that is parsed", () => {
    const w = floatTensor([100], new Float32Array(100).fill(0.5));
    const graph: Graph = {
      ...parseGraph('graph "g" {}'),
      constants: new Map([["w", w]]),
      types: new Map([["w", { dtype: "float32", shape: [100] }]]),
    };
    const elided = printGraph(graph, { elideConstants: true });
    expect(elided).toContain("const %w: float32[100] = <100 elements>");
    expect(() => parseGraph(elided)).toThrow(/line 2: .*elided/);
    expect(parseGraph(printGraph(graph))).toEqual(graph);
  });

  it("keeps the bits of every NaN", () => {
    const data = new Float32Array(new Uint32Array([0x7fc00001, 0xffc00000, 0x7fc00000]).buffer);
    const graph: Graph = { ...parseGraph('graph "g" {}'), constants: new Map([["w", { dtype: "float32", shape: [3], data }]]) };
    const back = parseGraph(printGraph(graph)).constants.get("w")?.data;
    expect(back instanceof Float32Array && [...new Uint32Array(back.buffer)]).toEqual([0x7fc00001, 0xffc00000, 0x7fc00000]);
  });

  it.each([
    ['graph "g" {\n  %y = Relu(x) @r\n}', "line 2: expected %"],
    ['graph "g" {\n  const %w: float32[2] = [1]\n}', "line 2: 1 values do not fill"],
    ['graph "g" {\n  input %x: float33[2]\n}', "float33 is no element type"],
    ['graph "g" {', "line 1: expected"],
  ])("says where a fault is: %j", (text, message) => {
    expect(() => parseGraph(text)).toThrow(message);
  });

  it("round trips any graph", () => {
    fc.assert(
      fc.property(anyGraph(2), (graph) => {
        const text = printGraph(graph);
        const parsed = parseGraph(text);
        expect(parsed).toEqual(graph);
        expect(printGraph(parsed)).toBe(text);
      }),
      { numRuns: 150, seed: 7 },
    );
  });
});

const anyName = fc.oneof(fc.stringMatching(/^[a-z][a-z0-9_./$-]{0,6}$/), fc.string({ minLength: 1, maxLength: 5 }));
const anyDim: fc.Arbitrary<Dim> = fc.oneof(fc.nat(9), fc.string({ minLength: 1, maxLength: 4 }));
const anyType: fc.Arbitrary<TensorType> = fc
  .tuple(fc.constantFrom<DType>(...dtypes), fc.option(fc.array(anyDim, { maxLength: 3 }), { nil: undefined }))
  .map(([dtype, shape]) => (shape === undefined ? { dtype } : { dtype, shape }));

const anyTensor: fc.Arbitrary<Tensor> = fc
  .tuple(fc.constantFrom<DType>(...dtypes), fc.array(fc.nat(4), { maxLength: 3 }), fc.array(fc.double(), { minLength: 8, maxLength: 8 }))
  .map(([dtype, shape, numbers]) => {
    const data = allocateData(dtype, elementCount(shape));
    for (let index = 0; index < data.length; index++) {
      const value = numbers[index % numbers.length];
      const small = Number.isFinite(value) ? Math.trunc(value % 2) : 0;
      if (Array.isArray(data)) data[index] = `${value}`;
      else if (data instanceof BigInt64Array || data instanceof BigUint64Array)
        data[index] = BigInt(Number.isFinite(value) ? Math.trunc(value) % 1e18 : 0);
      else if (data instanceof Float32Array || data instanceof Float64Array) data[index] = value;
      else data[index] = dtype === "bool" ? Math.abs(small) : small + 1;
    }
    return { dtype, shape, data };
  });

function anyAttribute(depth: number): fc.Arbitrary<Attribute> {
  const float = fc.oneof(fc.double(), fc.float());
  const flat: fc.Arbitrary<Attribute>[] = [
    fc.integer().map((value) => ({ type: "int", value })),
    float.map((value) => ({ type: "float", value })),
    fc.string().map((value) => ({ type: "string", value })),
    fc.array(fc.integer(), { maxLength: 3 }).map((value) => ({ type: "ints", value })),
    fc.array(float, { maxLength: 3 }).map((value) => ({ type: "floats", value })),
    fc.array(fc.string(), { maxLength: 3 }).map((value) => ({ type: "strings", value })),
    anyTensor.map((value) => ({ type: "tensor", value })),
  ];
  return depth === 0
    ? fc.oneof(...flat)
    : fc.oneof(
        ...flat,
        anyGraph(depth - 1).map((value): Attribute => ({ type: "graph", value })),
      );
}

function anyNode(depth: number): fc.Arbitrary<Node> {
  const attributes = fc.dictionary(anyName, anyAttribute(depth), { maxKeys: 2, noNullPrototype: true });
  const step = fc.record({
    op: anyName,
    attributes,
    operands: fc.array(fc.option(fc.nat(3)), { maxLength: 3 }),
    origins: fc.array(fc.string(), { maxLength: 2 }),
  });
  const values = fc.array(fc.oneof(anyName, fc.constant("")), { maxLength: 3 });
  const node = fc.record({
    name: anyName,
    op: anyName,
    domain: fc.oneof(fc.constant(""), anyName),
    inputs: values,
    outputs: values,
    attributes,
  });
  return fc
    .tuple(node, fc.option(fc.array(fc.string(), { maxLength: 2 })), fc.option(fc.array(step, { maxLength: 2 })))
    .map(([base, origins, epilogue]) => ({
      ...base,
      origins: origins ?? [base.name],
      ...(epilogue === null ? {} : { epilogue }),
    }));
}

function anyGraph(depth: number): fc.Arbitrary<Graph> {
  return fc
    .record({
      name: fc.string(),
      inputs: fc.array(anyName, { maxLength: 2 }),
      outputs: fc.array(anyName, { maxLength: 2 }),
      nodes: fc.array(anyNode(depth), { maxLength: 3 }),
      types: fc.array(fc.tuple(anyName, anyType), { maxLength: 3 }),
      constants: fc.array(fc.tuple(anyName, anyTensor), { maxLength: 2 }),
    })
    .map(({ types, constants, ...graph }) => ({
      ...graph,
      types: new Map<string, TensorType>([
        ...types,
        ...constants.map(([name, { dtype, shape }]): [string, TensorType] => [name, { dtype, shape }]),
      ]),
      constants: new Map(constants),
    }));
}
