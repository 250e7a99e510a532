import { expect, it } from "vitest";
import { UserError } from "../../../src/diagnostics/diagnostic.js";
import { convertTensorFlow } from "../../../src/frontend/tensorflow/convert/convert.js";
import type { FlatAttribute, FlatGraph, FlatNode, FlatValue } from "../../../src/frontend/tensorflow/flat.js";
import { type DType, fromNumbers, type Tensor, toNumbers } from "../../../src/graph/tensor.js";
import { verifyGraph } from "../../../src/graph/verify.js";
import { runGraph } from "../../../src/host/index.js";
import { constant, flatNode } from "./flat-build.js";

type Kind = DType | "variant";

/** A graph of these inputs (name to type) and nodes; an output is `node` or `node:1`. */
function graph(inputs: Readonly<Record<string, Kind>>, nodes: readonly FlatNode[], outputs: readonly string[]): FlatGraph {
  const value = (name: string, dtype: Kind): FlatValue => {
    const [node, output = "0"] = name.split(":");
    return { key: name, name: `${node}:${output}`, value: { node, output: Number(output) }, dtype, shape: dtype === "int32" ? [] : [2] };
  };
  return {
    name: "g",
    inputs: Object.entries(inputs).map(([name, dtype]) => value(name, dtype)),
    outputs: outputs.map((name) => value(name, "float32")),
    nodes: [...Object.keys(inputs).map((name) => flatNode(name, "Placeholder", [])), ...nodes],
  };
}

const body = (value: FlatGraph): FlatAttribute => ({ type: "function", value });
const floats: FlatAttribute = { type: "dtype", value: "float32" };

async function run(flat: FlatGraph, feeds: Readonly<Record<string, Tensor>>) {
  const converted = convertTensorFlow(flat).graph;
  expect(verifyGraph(converted)).toEqual([]);
  const results = await runGraph(converted, new Map(Object.entries(feeds).map(([name, tensor]) => [`${name}:0`, tensor])));
  return {
    ops: converted.nodes.map(({ op }) => op),
    values: converted.outputs.map((name) => toNumbers(results.get(name) ?? fromNumbers("float32", [0], []))),
  };
}

const x = fromNumbers("float32", [2], [1, 2]);
const count = (value: number) => fromNumbers("int32", [], [value]);

/** Doubles the state and puts it in a list, `steps` times: variables i, steps, state, list. */
function doubling(limit: readonly FlatNode[]): FlatGraph {
  const variables = { i: "int32", n: "int32", s: "float32", l: "variant" } as const;
  const cond = graph({ ci: "int32", cn: "int32", cs: "float32", cl: "variant" }, [flatNode("less", "Less", ["ci", "cn"])], ["less"]);
  const step = [
    constant("one", [], [1], "int32"),
    flatNode("next", "AddV2", ["i", "one"], { T: { type: "dtype", value: "int32" } }),
    flatNode("double", "AddV2", ["s", "s"]),
    flatNode("put", "TensorListSetItem", ["l", "i", "double"]),
    flatNode("same", "Identity", ["n"]),
  ];
  return graph(
    limit.length > 0 ? { x: "float32" } : { x: "float32", limit: "int32" },
    [
      ...limit,
      constant("zero", [], [0], "int32"),
      constant("any", [], [-1], "int32"),
      flatNode("list", "TensorListReserve", ["any", "limit"], { element_dtype: floats }),
      flatNode("loop", "While", ["zero", "limit", "x", "list"], {
        cond: body(cond),
        body: body(graph(variables, step, ["next", "same", "double", "put"])),
      }),
      flatNode("stack", "TensorListStack", ["loop:3", "any"], { element_dtype: floats }),
    ],
    ["loop:2", "stack"],
  );
}

it("unrolls a loop whose end is known; its list costs nothing", async () => {
  const { ops, values } = await run(doubling([constant("limit", [], [3], "int32")]), { x });
  expect(values).toEqual([
    [8, 16],
    [2, 4, 4, 8, 8, 16],
  ]);
  expect(ops).not.toContain("Loop");
  expect(ops.filter((op) => op === "Concat")).toHaveLength(1);
});

it("makes a Loop of one whose end the run tells, with the list as one tensor", async () => {
  const { ops, values } = await run(doubling([]), { x, limit: count(2) });
  expect(values).toEqual([
    [4, 8],
    [2, 4, 4, 8],
  ]);
  expect(ops).toContain("Loop");
});

it("runs the branch that a condition chooses, and takes in the one that a constant does", async () => {
  const branch = (name: string, op: string) => graph({ [name]: "float32" }, [flatNode(`${name}/out`, op, [name])], [`${name}/out`]);
  const branches = { then_branch: body(branch("a", "Neg")), else_branch: body(branch("b", "Square")) };
  const open = graph({ flag: "int32", x: "float32" }, [flatNode("if", "If", ["flag", "x"], branches)], ["if"]);
  expect((await run(open, { flag: count(1), x })).values).toEqual([[-1, -2]]);
  expect((await run(open, { flag: count(0), x })).values).toEqual([[1, 4]]);
  const fixed = graph({ x: "float32" }, [constant("flag", [], [1], "int32"), flatNode("if", "If", ["flag", "x"], branches)], ["if"]);
  expect((await run(fixed, { x })).ops).toEqual(["Neg", "Identity"]);
});

it("takes the last branch of a Case for an index without one", async () => {
  const branch = (name: string, op: string) => graph({ [name]: "float32" }, [flatNode(`${name}/out`, op, [name])], [`${name}/out`]);
  const branches: FlatAttribute = { type: "functions", value: [branch("a", "Neg"), branch("b", "Square"), branch("c", "Relu")] };
  const flat = graph({ at: "int32", x: "float32" }, [flatNode("case", "Case", ["at", "x"], { branches })], ["case"]);
  for (const [at, wanted] of [
    [0, [-1, -2]],
    [1, [1, 4]],
    [7, [1, 2]],
  ] as const) {
    expect((await run(flat, { at: count(at), x })).values).toEqual([wanted]);
  }
});

it("puts three operators of a dilated convolution into one", async () => {
  const nodes = [
    constant("blocks", [2], [2, 2], "int32"),
    constant("pads", [2, 2], [2, 2, 2, 3], "int32"),
    constant("crops", [2, 2], [0, 0, 0, 1], "int32"),
    constant("w", [3, 3, 1, 1], [1, 2, 3, 4, 5, 6, 7, 8, 9]),
    flatNode("batches", "SpaceToBatchND", ["x", "blocks", "pads"]),
    flatNode("conv", "Conv2D", ["batches", "w"], {
      strides: { type: "list", value: [1, 1, 1, 1] },
      padding: { type: "string", value: "VALID" },
    }),
    flatNode("y", "BatchToSpaceND", ["conv", "blocks", "crops"]),
  ];
  const image = { key: "x", name: "x:0", value: { node: "x", output: 0 }, dtype: "float32" as const, shape: [1, 4, 5, 1] };
  const flat = { ...graph({ x: "float32" }, nodes, ["y"]), inputs: [image] };
  const { graph: converted } = convertTensorFlow(flat);
  const convolutions = converted.nodes.filter(({ op }) => op === "Conv");
  expect(convolutions.at(-1)?.attributes.dilations).toEqual({ type: "ints", value: [2, 2] });
  const { values } = await run(flat, {
    x: fromNumbers(
      "float32",
      [1, 4, 5, 1],
      Array.from({ length: 20 }, (_, index) => index),
    ),
  });
  expect(values[0]).toHaveLength(20);
  // The middle of the kernel on the first element, and what lies two rows and columns on.
  expect(values[0][0]).toBe(5 * 0 + 6 * 2 + 8 * 10 + 9 * 12);
});

it("refuses all that has no conversion, in bodies too, with the reason where there is one", () => {
  const inner = graph({ a: "float32" }, [flatNode("a/text", "StringJoin", ["a"])], ["a/text"]);
  const flat = graph(
    { x: "float32", flag: "int32" },
    [flatNode("if", "If", ["flag", "x"], { then_branch: body(inner), else_branch: body(inner) }), flatNode("odd", "Mystery", ["if"])],
    ["odd"],
  );
  try {
    convertTensorFlow(flat);
    throw new Error("was converted");
  } catch (error) {
    if (!(error instanceof UserError)) throw error;
    expect(error.message).toContain("StringJoin (a/text: it works on strings or files");
    expect(error.message).toContain("Mystery (odd)");
  }
});
