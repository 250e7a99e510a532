import { describe, expect, it } from "vitest";
import { staleTables } from "../../src/cli/tables.js";
import { UserError } from "../../src/diagnostics/diagnostic.js";
import { type Attribute, type Dim, type Graph, isStatic, type Node, type TensorType } from "../../src/graph/graph.js";
import { floatTensor, int64Tensor, type Tensor } from "../../src/graph/tensor.js";
import {
  allRecords,
  checkNode,
  decompose,
  describeReason,
  exactnessOf,
  flopsOf,
  inferTypes,
  supportedOperators,
} from "../../src/operators/index.js";
import { attribute, build, type Case, constant, integers, Random } from "./support.js";

function node(op: string, inputs: string[], outputs: string[], attributes: Readonly<Record<string, Attribute>> = {}): Node {
  return { name: outputs[0], op, domain: "", inputs, outputs, attributes, origins: [outputs[0]] };
}

function graph(inputs: Readonly<Record<string, readonly Dim[]>>, nodes: Node[], constants: Readonly<Record<string, Tensor>> = {}): Graph {
  const types = Object.entries(inputs).map(([name, shape]): [string, TensorType] => [name, { dtype: "float32", shape }]);
  const outputs = nodes.at(-1)?.outputs ?? [];
  return { name: "g", inputs: Object.keys(inputs), outputs, nodes, types: new Map(types), constants: new Map(Object.entries(constants)) };
}

const shapeAfter = (g: Graph, value: string): readonly Dim[] | undefined => inferTypes(g).types.get(value)?.shape;

describe("inferTypes", () => {
  it("follows shapes that the model computes", () => {
    const g = graph(
      { x: [2, 3, 8, 8] },
      [
        node("Shape", ["x"], ["shape"]),
        node("Gather", ["shape", "zero"], ["batch"]),
        node("Unsqueeze", ["batch", "axes"], ["batch1"]),
        node("Slice", ["shape", "two", "four"], ["space"]),
        node("ReduceProd", ["space"], ["area"], { keepdims: attribute.int(1) }),
        node("Mul", ["area", "three"], ["row"]),
        node("Concat", ["batch1", "row"], ["target"], { axis: attribute.int(0) }),
        node("Reshape", ["x", "target"], ["y"]),
      ],
      {
        zero: int64Tensor([], [0]),
        axes: int64Tensor([1], [0]),
        two: int64Tensor([1], [2]),
        four: int64Tensor([1], [4]),
        three: int64Tensor([1], [3]),
      },
    );
    expect(shapeAfter(g, "y")).toEqual([2, 192]);
  });

  it("follows float arithmetic on extents, as Resize scales have it", () => {
    const g = graph(
      { x: [1, 3, 8, 8] },
      [
        node("Shape", ["x"], ["shape"], { start: attribute.int(2) }),
        node("Cast", ["shape"], ["floats"], { to: attribute.int(1) }),
        node("Mul", ["floats", "scale"], ["scaled"]),
        node("Floor", ["scaled"], ["floored"]),
        node("Cast", ["floored"], ["sizes"], { to: attribute.int(7) }),
        node("Resize", ["x", "", "", "sizes"], ["y"], { axes: attribute.ints([2, 3]) }),
      ],
      { scale: floatTensor([], [1.6]) },
    );
    expect(shapeAfter(g, "y")).toEqual([1, 3, 12, 12]);
    const inferred = inferTypes(g);
    const resize = inferred.nodes[inferred.nodes.length - 1];
    const linear: Node = { ...resize, attributes: { ...resize.attributes, mode: attribute.string("linear") } };
    // Its sizes are known to inference, but are no constants before folding.
    expect(decompose(inferred, linear)).toBeUndefined();
    expect(checkNode(inferred, resize)?.rule).toBe("not-constant");
  });

  it("keeps open extents by name, and names those that depend on data", () => {
    const g = graph({ x: ["n", 3, 4] }, [
      node("Relu", ["x"], ["a"]),
      node("Flatten", ["a"], ["b"]),
      node("NonZero", ["b"], ["c"]),
      node("NonZero", ["b"], ["d"]),
    ]);
    const { types } = inferTypes(g);
    expect(types.get("b")?.shape).toEqual(["n", 12]);
    expect(types.get("c")?.shape).toEqual([2, "open_1"]);
    expect(types.get("d")?.shape).toEqual([2, "open_2"]);
    expect(inferTypes(inferTypes(g)).types).toEqual(types);
  });

  it("resolves -1 in Reshape around an open extent", () => {
    const reshape = (target: number[]): readonly Dim[] | undefined =>
      shapeAfter(graph({ x: ["n", 6, 4] }, [node("Reshape", ["x", "t"], ["y"])], { t: int64Tensor([target.length], target) }), "y");
    expect(reshape([0, -1])).toEqual(["n", 24]);
    expect(reshape([-1, 24])).toEqual(["n", 24]);
    expect(reshape([-1, 12])).toEqual(["open_1", 12]);
  });

  it("follows the parts of a split list, as exported paddings have it", () => {
    const g = graph(
      { x: [1, 3, 8, 8] },
      [
        node("Split", ["list"], ["a", "b"], { num_outputs: attribute.int(2) }),
        node("Concat", ["b", "a"], ["pads"], { axis: attribute.int(0) }),
        node("Pad", ["x", "pads"], ["y"]),
      ],
      { list: int64Tensor([8], [0, 0, 1, 2, 0, 0, 3, 4]) },
    );
    expect(shapeAfter(g, "y")).toEqual([1, 3, 12, 14]);
  });

  it("lets statistics of a normalisation be whose input is not known", () => {
    const statistics = Object.fromEntries(["s", "b", "m", "v"].map((name) => [name, floatTensor([5], [1, 1, 1, 1, 1])]));
    const nodes = [
      node("Einsum", ["x"], ["inner"], { equation: { type: "string", value: "...j->...j" } }),
      node("BatchNormalization", ["inner", "s", "b", "m", "v"], ["y"]),
    ];
    expect(inferTypes(graph({ x: [2, 5] }, nodes, statistics)).types.get("y")?.dtype).toBe("float32");
  });

  it("writes CastLike as Cast to the type that is known", () => {
    const like = graph({ x: [2] }, [node("CastLike", ["x", "like"], ["y"])], { like: int64Tensor([1], [0]) });
    const typed = inferTypes(like);
    const parts = decompose(typed, typed.nodes[0]);
    expect(parts?.nodes.map(({ op, inputs, attributes }) => [op, inputs, attributes.to?.value])).toEqual([["Cast", ["x"], 7]]);
  });

  it("goes into the branches of If and the body of Loop", () => {
    const branch = (name: string, size: number): Graph => ({
      ...graph({}, [node("Slice", ["x", "s", "e"], [name])], { s: int64Tensor([1], [0]), e: int64Tensor([1], [size]) }),
      outputs: [name],
    });
    const attributes: Record<string, Attribute> = {
      then_branch: { type: "graph", value: branch("t", 2) },
      else_branch: { type: "graph", value: branch("f", 3) },
    };
    const open = graph({ x: [5, 4] }, [node("If", ["c"], ["y"], attributes)]);
    const conditional = { ...open, inputs: ["x", "c"], types: new Map(open.types).set("c", { dtype: "bool", shape: [] }) };
    const known = { ...open, constants: new Map<string, Tensor>([["c", { dtype: "bool", shape: [], data: Uint8Array.of(0) }]]) };
    expect(inferTypes(known).types.get("y")?.shape).toEqual([3, 4]);
    const inferred = inferTypes(conditional);
    expect(inferred.types.get("y")?.shape).toEqual(["open_1", 4]);
    const then = inferred.nodes[0].attributes.then_branch;
    expect(then.type === "graph" && then.value.types.get("t")?.shape).toEqual([2, 4]);

    const body: Graph = {
      ...graph({}, [
        node("Identity", ["c"], ["c2"]),
        node("Concat", ["v", "x"], ["v2"], { axis: attribute.int(0) }),
        node("Relu", ["x"], ["z"]),
      ]),
      inputs: ["i", "c", "v"],
      outputs: ["c2", "v2", "z"],
    };
    const loop = graph({ x: [5, 4] }, [node("Loop", ["", "", "x"], ["last", "all"], { body: { type: "graph", value: body } })]);
    const types = inferTypes(loop).types;
    expect(types.get("last")?.shape?.[1]).toBe(4);
    expect(typeof types.get("last")?.shape?.[0]).toBe("string");
    expect(types.get("all")?.shape?.slice(1)).toEqual([5, 4]);
  });

  it("leaves out an epilogue's inputs and follows its steps", () => {
    const conv = node("Conv", ["x", "w", "", "r"], ["y"]);
    const step = { op: "Add", attributes: {}, operands: [null, 3], origins: ["add"] };
    const g = graph({ x: [1, 2, 4, 4], r: [1, 3, 4, 4] }, [{ ...conv, epilogue: [step] }], {
      w: floatTensor([3, 2, 1, 1], new Float32Array(6)),
    });
    const inferred = inferTypes(g);
    expect(inferred.types.get("y")?.shape).toEqual([1, 3, 4, 4]);
    expect(checkNode(inferred, inferred.nodes[0])).toBeUndefined();
    expect(flopsOf(inferred, inferred.nodes[0])).toBe(2 * 48 * 2 + 48);
    expect(exactnessOf(inferred.nodes[0])).toBe("rounded");
  });
});

describe("faults name the node, the attribute or input, and what would do", () => {
  const x = floatTensor([1, 4, 5, 5], new Float32Array(100));
  const w = constant(floatTensor([4, 4, 3, 3], new Float32Array(144)));
  const { int, ints, string } = attribute;
  const faults: [string, Case, RegExp][] = [
    ["group 0", { op: "Conv", inputs: [x, w], attributes: { group: int(0) } }, /NCC0250: node \(Conv\): attribute group is 0/],
    ["negative kernel", { op: "MaxPool", inputs: [x], attributes: { kernel_shape: ints([-1, 2]) } }, /kernel_shape/],
    ["huge pads", { op: "Conv", inputs: [x, w], attributes: { pads: ints([1e18, 0, 0, 0]) } }, /pads/],
    ["no kernel", { op: "MaxPool", inputs: [x] }, /NCC0252: node \(MaxPool\): has no attribute kernel_shape/],
    ["channels", { op: "Conv", inputs: [x, w], attributes: { group: int(2) } }, /NCC0390: .*input 0 \(x0\)/],
    ["axis", { op: "Softmax", inputs: [x], attributes: { axis: int(7) } }, /attribute axis is 7; use -4 to 3/],
    ["broadcast", { op: "Add", inputs: [x, floatTensor([3], [1, 2, 3])] }, /NCC0391: .*\[1, 4, 5, 5\] and \[3\]/],
    ["element types", { op: "Add", inputs: [x, int64Tensor([1], [1])] }, /has to be float32/],
    ["elements", { op: "Reshape", inputs: [x, integers([7, -1])] }, /divide/],
    ["overflow", { op: "ConstantOfShape", inputs: [integers([2 ** 31, 2 ** 31])] }, /NCC0392/],
    ["overflow by Expand", { op: "Expand", inputs: [x, integers([2 ** 52, 4, 5, 5])] }, /NCC0392/],
    ["perm", { op: "Transpose", inputs: [x], attributes: { perm: ints([0, 0, 1, 2]) } }, /perm/],
    ["too few inputs", { op: "Conv", inputs: [x] }, /NCC0251: node \(Conv\): has 1 inputs; Conv takes 2 to 3/],
    ["attribute type", { op: "Softmax", inputs: [x], attributes: { axis: string("last") } }, /axis is of type string/],
    ["gather index", { op: "Gather", inputs: [x, integers([9])], attributes: { axis: int(1) } }, /indices from -4 to 3/],
    ["block size", { op: "DepthToSpace", inputs: [x], attributes: { blocksize: int(3) } }, /axis 1/],
  ];
  it.each(faults)("%s", (_, test, message) => {
    expect(() => inferTypes(build(test).graph)).toThrow(message);
    expect(() => inferTypes(build(test).graph)).toThrow(UserError);
  });

  it("random attributes and shapes give a type or a UserError for every operator", () => {
    const random = new Random(42);
    const wild = (): number => random.pick([0, 1, 2, 3, -1, -2, 7, 2 ** 31, -(2 ** 40), 2 ** 62, 1.5]);
    const shape = (): number[] => Array.from({ length: random.int(0, 5) }, () => random.pick([0, 1, 2, 3, 8, 3, 2]));
    let inferred = 0;
    for (const record of allRecords()) {
      for (let round = 0; round < 60; round++) {
        const attributes: Record<string, Attribute> = {};
        for (const [name, spec] of Object.entries(record.attributes)) {
          if (random.chance(0.4) && !spec.required) continue;
          if (spec.type === "int") attributes[name] = attribute.int(wild());
          if (spec.type === "float") attributes[name] = attribute.float(wild());
          if (spec.type === "ints") attributes[name] = attribute.ints(Array.from({ length: random.int(0, 6) }, wild));
          if (spec.type === "string") attributes[name] = attribute.string(random.pick(["linear", "reflect", "SAME_UPPER", "x"]));
        }
        const count = random.int(0, Math.min(record.maxInputs, record.minInputs + 2));
        const inputs = Array.from({ length: count }, (_, index): Case["inputs"][number] => {
          const isParameter = record.parameters?.includes(index) ?? random.chance(0.2);
          if (isParameter) return integers(Array.from({ length: random.int(0, 4) }, () => Math.trunc(wild())));
          return random.chance(0.05) ? null : random.tensor(shape(), random.pick(["float32", "float32", "float32", "int32", "bool"]));
        });
        const built = build({ op: record.name, inputs, attributes, outputs: random.int(1, 3) });
        try {
          const result = inferTypes(built.graph);
          if (isStatic(result.types.get("y0"))) inferred++;
          const reason = checkNode(result, built.node);
          if (reason) expect(describeReason(reason)).not.toBe("");
          expect(flopsOf(result, built.node)).toBeGreaterThanOrEqual(0);
          decompose(result, built.node);
        } catch (error) {
          if (!(error instanceof UserError))
            throw new Error(
              `${record.name} ${JSON.stringify(attributes)} ${built.tensors.map((t) => `${t.dtype}[${t.shape}]`).join(" ")}`,
              { cause: error },
            );
        }
      }
    }
    expect(inferred).toBeGreaterThan(800);
  });
});

describe("verdicts", () => {
  const verdict = (test: Case) => {
    const built = build(test);
    return checkNode(inferTypes(built.graph), built.node);
  };
  const random = new Random(1);

  it("give rule, subject, value and the nearest supported form", () => {
    expect(verdict({ op: "Div", inputs: [random.tensor([2], "int64"), random.tensor([2], "int64")] })).toEqual({
      rule: "dtype",
      subject: "input 0 (x0)",
      value: "int64",
      nearest: "int32",
    });
    expect(verdict({ op: "Conv", inputs: [random.tensor([1, 1, 4, 4]), random.tensor([1, 1, 3, 3])] })?.rule).toBe("not-constant");
    expect(
      verdict({ op: "MaxPool", inputs: [random.tensor([1, 1, 4])], outputs: 2, attributes: { kernel_shape: attribute.ints([2]) } })?.rule,
    ).toBe("outputs");
    expect(verdict({ op: "Det", inputs: [random.tensor([4, 4])] })?.rule).toBe("no-lowering");
    expect(verdict({ op: "Einsum", inputs: [random.tensor([2, 2])], attributes: { equation: attribute.string("ii->i") } })?.subject).toBe(
      "equation",
    );
    expect(verdict({ op: "Relu", inputs: [random.tensor([0, 3])] })?.rule).toBe("empty");
    const reason = verdict({ op: "Reshape", inputs: [random.tensor([4]), int64Tensor([2], [2, 2])] });
    expect(reason && describeReason(reason)).toBe("input 1 (x1) is computed at run time; supported: a constant");
  });

  it("take index inputs of any integer type as parameters", () => {
    expect(verdict({ op: "Reshape", inputs: [random.tensor([4]), integers([2, 2])] })).toBeUndefined();
  });
});

describe("tables", () => {
  it("list what has a lowering or a decomposition", () => {
    const names = supportedOperators();
    for (const name of ["Conv", "Gemm", "BatchNormalization", "Resize", "LRN", "Softmax", "Reshape"]) expect(names).toContain(name);
    for (const name of ["Det", "GridSample", "If"]) expect(names).not.toContain(name);
    expect([...names].sort()).toEqual(names);
  });

  it("in ops/ are those that the records give (npm run tables writes them)", () => {
    expect(staleTables()).toEqual([]);
  });
});
