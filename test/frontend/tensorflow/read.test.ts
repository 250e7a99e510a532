import { readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterAll, describe, expect, it } from "vitest";
import { detectFramework } from "../../../src/frontend/detect.js";
import type { FlatGraph } from "../../../src/frontend/tensorflow/flat.js";
import { boxOfText, copyOverlap, sliceKey, wholeBox } from "../../../src/frontend/tensorflow/read/partitions.js";
import { type ReadOptions, readTensorFlow } from "../../../src/frontend/tensorflow/read/read.js";
import { floatTensor, type Tensor } from "../../../src/graph/tensor.js";
import { asyncRefusal } from "../../refusal.js";
import {
  type BundleOptions,
  binary,
  float,
  folder,
  functionNode,
  metaGraph,
  newFolder,
  node,
  placeholder,
  read,
  savedModel,
  variable,
  writeBundle,
} from "./saved-model.js";

afterAll(() => rmSync(folder, { recursive: true }));

const refused = (path: string, options?: ReadOptions) => asyncRefusal(() => readTensorFlow(path, options));

function summary(graph: FlatGraph): string[] {
  return graph.nodes.map(({ name, op, inputs }) => `${name}: ${op}(${inputs.map((input) => `${input.node}:${input.output}`).join(", ")})`);
}

function constantOf(graph: FlatGraph, name: string): number[] {
  const value = graph.nodes.find((item) => item.name === name)?.attributes.get("value");
  if (value?.type !== "tensor") throw new Error(`${name} is no constant`);
  return Array.from(value.value.data, Number);
}

const weights = floatTensor([2], [3, 4]);
const scale = placeholder("x") + variable("w") + read("w/read", "w") + node("y", "Mul", ["x", "w/read"], float);
const scaled = (more = "") => metaGraph(scale, ["x=x:0"], ["y=y:0"], ["serve"], more);

/** A model that multiplies its input by a variable that is kept under this key. */
function scaling(tensors: Readonly<Record<string, Tensor>> = { w: weights }, options?: BundleOptions, more?: string): string {
  const path = savedModel([scaled(more)]);
  writeBundle(join(path, "variables", "variables"), tensors, options);
  return path;
}

describe("variables", () => {
  it.each<readonly [string, BundleOptions]>([
    ["plain", {}],
    ["in several shards", { shards: 3 }],
    ["with a Snappy index", { snappy: true }],
    ["big-endian", { bigEndian: true }],
  ])("%s become constants", async (_, options) => {
    const { graph, files, signatures } = await readTensorFlow(
      scaling({ a: weights, "w/Adam": weights, w: floatTensor([2], [5, 6]) }, options),
    );
    expect(summary(graph)).toEqual(["x: Placeholder()", "w: Const()", "y: Mul(x:0, w:0)"]);
    expect(constantOf(graph, "w")).toEqual([5, 6]);
    expect(signatures).toEqual(["serving_default"]);
    expect(files.map((file) => file.split("/").at(-1))).toContain("variables.index");
  });

  it("are found by the restore function, whatever their keys", async () => {
    const strings = (...values: string[]) =>
      `tensor { dtype: DT_STRING tensor_shape { dim { size: 2 } } ${values.map((v) => `string_val: "${v}"`).join(" ")} }`;
    const restore =
      node("save/names", "Const", [], { value: strings("b", "a"), dtype: "type: DT_STRING" }) +
      node("save/slices", "Const", [], { value: strings("", ""), dtype: "type: DT_STRING" }) +
      node("save/prefix", "Const", [], {
        value: `tensor { dtype: DT_STRING tensor_shape { } string_val: "p" }`,
        dtype: "type: DT_STRING",
      }) +
      node("save/restore", "RestoreV2", ["save/prefix", "save/names", "save/slices"]) +
      node("save/assign", "AssignVariableOp", ["w", "save/restore:1"]) +
      node("save/all", "NoOp", ["^save/assign"]);
    const path = savedModel([metaGraph(scale + restore, ["x=x:0"], ["y=y:0"], ["serve"], `saver_def { restore_op_name: "save/all" }`)]);
    writeBundle(join(path, "variables", "variables"), {
      a: floatTensor([2], [1, 1]),
      b: floatTensor([2], [2, 2]),
      w: floatTensor([2], [7, 7]),
    });
    expect(constantOf((await readTensorFlow(path)).graph, "w")).toEqual([1, 1]);
  });

  it("refuse a damaged index", async () => {
    const path = scaling();
    const index = join(path, "variables", "variables.index");
    const bytes = readFileSync(index);
    for (const broken of [bytes.subarray(0, 20), bytes.subarray(0, -9), Buffer.alloc(200)]) {
      writeFileSync(index, broken);
      expect(await refused(path)).toContain(`NCC0140: ${index}`);
    }
    writeFileSync(index, Buffer.from(bytes.map((byte, at) => (at === 4 ? byte ^ 1 : byte))));
    expect(await refused(path)).toMatch(/NCC0140.*does not match its checksum/);
  });

  it("refuse a missing folder, shard or value, wrong bytes, and what is of another export", async () => {
    const missing = scaling();
    rmSync(join(missing, "variables"), { recursive: true });
    expect(await refused(missing)).toContain(`NCC0138: ${missing}: variable w`);
    const shard = (path: string) => join(path, "variables", "variables.data-00000-of-00001");
    const noShard = scaling();
    rmSync(shard(noShard));
    expect(await refused(noShard)).toContain(`NCC0139: ${shard(noShard)}`);
    const changed = scaling();
    writeFileSync(shard(changed), Buffer.from(readFileSync(shard(changed)).map((byte, at) => (at === 5 ? byte ^ 1 : byte))));
    expect(await refused(changed)).toContain("NCC0141");
    const short = scaling();
    truncateSync(shard(short), 8);
    expect(await refused(short)).toContain("NCC0142");
    expect(await refused(scaling({ other: weights }))).toContain("NCC0143: variable w");
    expect(await refused(scaling({ w: floatTensor([3], [1, 2, 3]) }))).toContain(
      "NCC0144: variable w is float32[2] in the graph, but float32[3]",
    );
    const sliced = { slices: [{ extent: [{ start: 0, length: 1 }] }, { extent: [{ start: 1, length: 1 }] }] };
    expect(await refused(scaling({ w: weights }, { change: (_, entry) => ({ ...entry, ...sliced }) }))).toContain(
      "NCC0145: variable w: tensor w of the checkpoint is not there in all its slices",
    );
    expect(await refused(scaling({ w: weights }, { change: (_, entry) => ({ ...entry, dtype: 20 }) }))).toContain("NCC0157");
  });
});

describe("meta graphs and signatures", () => {
  const identity = (tags: string[]) => metaGraph(placeholder("x") + node("y", "Neg", ["x"], float), ["x=x:0"], ["y=y:0"], tags);

  it("are chosen by tags", async () => {
    const two = savedModel([identity(["train"]), identity(["serve"])]);
    expect((await readTensorFlow(two)).graph.outputs[0].name).toBe("y:0");
    expect((await readTensorFlow(two, { tagSet: "train" })).graph.outputs[0].name).toBe("y:0");
    expect(await refused(two, { tagSet: "serv" })).toContain("NCC0134: ");
    expect(await refused(two, { tagSet: "serv" })).toContain("(did you mean serve?); its tag sets are train; serve");
    const both = savedModel([identity(["serve"]), identity(["gpu", "serve"])]);
    expect(await refused(both)).toContain("NCC0135: ");
    expect((await readTensorFlow(both, { tagSet: "serve,gpu" })).graph.outputs[0].name).toBe("y:0");
  });

  it("name the signatures that there are", async () => {
    const path = savedModel([identity(["serve"])]);
    expect(await refused(path, { signature: "serving" })).toContain("NCC0136: ");
    expect(await refused(path, { signature: "serving" })).toContain("its signatures are serving_default");
    expect(await refused(savedModel([`graph_def { ${placeholder("x")} }`]))).toContain("NCC0137");
  });

  it("refuse inputs that no NeuronCore takes, and tensors that are none", async () => {
    const graph = placeholder("x") + node("y", "Neg", ["x"], float);
    const change = (from: string, to: string) => savedModel([metaGraph(graph, ["x=x:0"], ["y=y:0"]).replaceAll(from, to)]);
    expect(await refused(change("dtype: DT_FLOAT tensor", "dtype: DT_STRING tensor"))).toContain("NCC0149: input x:0");
    expect(await refused(change('name: "y:0"', 'name: ""'))).toContain("NCC0156: output y of signature serving_default");
    expect(await refused(change('name: "y:0"', 'name: "yy:0"'))).toContain("NCC0152: yy:0: the graph has no such tensor (did you mean y?)");
  });

  it("cut the graph at an input that is computed, and prune what no output needs", async () => {
    const graph =
      placeholder("serialized") +
      node("parse", "ParseExample", ["serialized"]) +
      node("y", "Neg", ["parse:2"], float) +
      node("train", "ApplyAdam", ["y"]);
    const { graph: flat } = await readTensorFlow(savedModel([metaGraph(graph, ["x=parse:2"], ["y=y:0"])]));
    expect(summary(flat)).toEqual(["parse:2: Placeholder()", "y: Neg(parse:2:0)"]);
    expect(flat.inputs.map(({ key, name }) => [key, name])).toEqual([["x", "parse:2"]]);
  });
});

/** A function of one FP32 argument and one result. */
function definition(name: string, body: string, result: string, more = ""): string {
  return `function { signature { name: "${name}" input_arg { name: "a" type: DT_FLOAT } output_arg { name: "r" type: DT_FLOAT } }
    ${body} ret { key: "r" value: "${result}" } ${more} }`;
}

const call = (name: string, input: string, callee: string) =>
  node(name, "PartitionedCall", [input], {
    f: `func { name: "${callee}" }`,
    Tin: "list { type: DT_FLOAT }",
    Tout: "list { type: DT_FLOAT }",
  });

const calling = (library: string, callee = "f") =>
  savedModel([metaGraph(`${placeholder("x")}${call("c", "x", callee)} library { ${library} }`, ["x=x:0"], ["y=c:0"])]);

describe("functions", () => {
  it("are inlined, their nodes named after the calls; outputs are found by their names", async () => {
    const inner =
      functionNode("split", "Split", ["a", "a"], { num_split: "i: 2", ...float }) +
      functionNode("norm", "FusedBatchNormV3", ["split:output:1", "a", "a", "a", "a"], float) +
      functionNode("sum", "Add", ["split:output:1", "norm:batch_variance:0"], float);
    const outer = functionNode("again", "StatefulPartitionedCall", ["a"], { f: 'func { name: "g" }' });
    const path = calling(definition("g", inner, "sum:z:0") + definition("f", outer, "again:output:0"));
    const { graph } = await readTensorFlow(path);
    expect(summary(graph).slice(-1)).toEqual(["c/again/sum: Add(c/again/split:1, c/again/norm:2)"]);
    expect(graph.nodes.find(({ op }) => op === "FusedBatchNormV3")?.attributes.get("epsilon")).toMatchObject({ type: "float" });
  });

  it("refuse calls in a circle and of what is not there", async () => {
    const f = definition("f", functionNode("n", "PartitionedCall", ["a"], { f: 'func { name: "g" }' }), "n:output:0");
    const g = definition("g", functionNode("n", "PartitionedCall", ["a"], { f: 'func { name: "f" }' }), "n:output:0");
    expect(await refused(calling(f + g))).toContain("NCC0146: c/n/n: calls function f, which calls itself: f -> g -> f");
    expect(await refused(calling(f))).toContain("NCC0147: c/n: calls function g");
    expect(await refused(calling(definition("f", functionNode("n", "Neg", ["nowhere:y:0"], float), "n:y:0")))).toContain("NCC0153: ");
  });

  it("refuse state that changes from request to request, and tables", async () => {
    const counter =
      placeholder("x") +
      variable("w") +
      node("add", "AssignAddVariableOp", ["w", "x"]) +
      node("w/read", "ReadVariableOp", ["w", "^add"], { dtype: "type: DT_FLOAT" });
    const path = savedModel([metaGraph(counter, ["x=x:0"], ["y=w/read:0"])]);
    writeBundle(join(path, "variables", "variables"), { w: weights });
    expect(await refused(path)).toContain("NCC0148: add: AssignAddVariableOp changes variable w");
    const lookup = placeholder("x") + node("table", "HashTableV2") + node("found", "LookupTableFindV2", ["table", "x", "x"]);
    expect(await refused(savedModel([metaGraph(lookup, ["x=x:0"], ["y=found:0"])]))).toContain(
      "NCC0150: found: LookupTableFindV2 needs table",
    );
    const open = placeholder("x") + placeholder("other") + node("y", "Add", ["x", "other"], float);
    expect(await refused(savedModel([metaGraph(open, ["x=x:0"], ["y=y:0"])]))).toContain("NCC0151: other");
  });
});

describe("TensorFlow 1's control flow", () => {
  const constant = (name: string, value: string) =>
    node(name, "Const", [], { dtype: "type: DT_BOOL", value: `tensor { dtype: DT_BOOL tensor_shape { } bool_val: ${value} }` });
  const condition = (value: string) =>
    placeholder("x") +
    constant("p", value) +
    node("s", "Switch", ["x", "p"], float) +
    node("no", "Neg", ["s:0"], float) +
    node("yes", "Abs", ["s:1"], float) +
    node("m", "Merge", ["no", "yes"], float);

  it("is decided where its condition is known", async () => {
    for (const [value, op] of [
      ["true", "yes: Abs(x:0)"],
      ["false", "no: Neg(x:0)"],
    ]) {
      const { graph } = await readTensorFlow(savedModel([metaGraph(condition(value), ["x=x:0"], ["y=m:0"])]));
      expect(summary(graph)).toEqual(["x: Placeholder()", op]);
    }
  });

  it("is refused where it can't be told", async () => {
    const path = savedModel([metaGraph(condition("true"), ["x=x:0"], ["y=s:1"])]);
    expect(await refused(path)).toContain("NCC0154: s: Switch belongs to no loop or condition");
    const cycle = placeholder("x") + node("a", "Add", ["x", "b"], float) + node("b", "Neg", ["a"], float);
    expect(await refused(savedModel([metaGraph(cycle, ["x=x:0"], ["y=b:0"])]))).toContain("NCC0201: ");
  });
});

describe("files", () => {
  const graph = placeholder("x") + node("y", "Neg", ["x"], float) + node("z", "Abs", ["y"], float);

  it("are GraphDefs in binary and text form; inputs and outputs by name, or those that no node makes or reads", async () => {
    const path = newFolder();
    const files = { "g.pb": binary("GraphDef", graph), "g.pbtxt": `# text\n${graph}` };
    for (const [name, content] of Object.entries(files)) {
      const file = join(path, name);
      writeFileSync(file, content);
      expect(detectFramework(file)).toBe("TENSORFLOW");
      expect(summary((await readTensorFlow(file)).graph)).toEqual(["x: Placeholder()", "y: Neg(x:0)", "z: Abs(y:0)"]);
      const inputs = new Map([["y:0", { dtype: "float32", shape: [2] } as const]]);
      const part = await readTensorFlow(file, { inputs, outputs: ["z:0"] });
      expect(summary(part.graph)).toEqual(["y:0: Placeholder()", "z: Abs(y:0:0)"]);
      expect(part.graph.inputs[0]).toMatchObject({ name: "y:0", dtype: "float32" });
    }
  });

  it("are SavedModels in text form", async () => {
    const path = newFolder();
    writeFileSync(
      join(path, "saved_model.pbtxt"),
      `saved_model_schema_version: 1 meta_graphs { ${metaGraph(graph, ["x=x:0"], ["y=z:0"])} }`,
    );
    expect(detectFramework(path)).toBe("TENSORFLOW");
    expect(summary((await readTensorFlow(path)).graph)).toHaveLength(3);
    expect(summary((await readTensorFlow(join(path, "saved_model.pbtxt"))).graph)).toHaveLength(3);
  });

  it("are refused where they hold no model", async () => {
    const path = newFolder();
    expect(await refused(path)).toContain("NCC0131");
    expect(await refused(join(path, "nothing"))).toContain("NCC0101");
    const file = join(path, "saved_model.pb");
    writeFileSync(file, "hello");
    expect(await refused(path)).toContain(`NCC0132: ${file}`);
    truncateSync(file, 3e9);
    expect(await refused(path)).toContain("NCC0133: ");
    rmSync(file);
    const text = join(path, "g.pbtxt");
    writeFileSync(text, "node { name: }");
    expect(await refused(text)).toMatch(/NCC0132.*line 1/);
    writeFileSync(text, placeholder("x"));
    expect(await refused(text)).toContain("NCC0155");
    writeFileSync(text, scale);
    expect(await refused(text)).toContain("NCC0158: w");
  });

  it("never crash the reader, wherever they are cut or changed", async () => {
    const bytes = binary("SavedModel", `saved_model_schema_version: 1 meta_graphs { ${scaled()} }`);
    const path = scaling();
    const file = join(path, "saved_model.pb");
    let state = 7;
    for (let round = 0; round < 150; round++) {
      state = (state * 48271) % 2147483647;
      const changed = Buffer.from(round % 2 ? bytes.subarray(0, state % bytes.length) : bytes);
      if (round % 2 === 0) changed[state % bytes.length] ^= 1 << (state % 8);
      writeFileSync(file, changed);
      await readTensorFlow(path).catch((error: unknown) => expect(String(error)).toMatch(/UserError: NCC0/));
    }
  });
});

describe("partitioned variables", () => {
  const slice = (...extent: { start: number; length: number }[]) => ({ extent });

  it("have keys in TensorFlow's ordered code", () => {
    const hex = (...given: Parameters<typeof sliceKey>) => Buffer.from(sliceKey(...given), "latin1").toString("hex");
    expect(hex("w", slice({ start: 0, length: 5 }))).toBe("00" + "77" + "0001" + "0101" + "80" + "85");
    expect(hex("a\0", slice({ start: 64, length: 0 }))).toBe("00" + "6100ff" + "0001" + "0101" + "c040" + "7f");
    expect(hex("", slice({ start: 2 ** 13, length: 2 ** 48 }))).toBe("00" + "0001" + "0101" + "e02000" + "ff01000000000000");
  });

  it("are put together and cut", () => {
    const tensor = Uint8Array.from({ length: 24 }, (_, index) => index);
    const whole = wholeBox([2, 3, 4]);
    const middle = [
      { start: 0, size: 2 },
      { start: 1, size: 2 },
      { start: 1, size: 3 },
    ];
    const cut = new Uint8Array(12);
    copyOverlap(tensor, whole, cut, middle, 1);
    expect([...cut]).toEqual([5, 6, 7, 9, 10, 11, 17, 18, 19, 21, 22, 23]);
    const back = new Uint8Array(24);
    copyOverlap(cut, middle, back, whole, 1);
    expect([...back]).toEqual([...tensor].map((value) => (cut.includes(value) ? value : 0)));
  });

  it("name their slices in the restore node's text", () => {
    expect(boxOfText("10 4 0,5:-", [10, 4])).toEqual([
      { start: 0, size: 5 },
      { start: 0, size: 4 },
    ]);
    for (const text of ["10 4 0,5", "9 4 0,5:-", "10 4 6,5:-", "", "10 4 x:-"]) expect(boxOfText(text, [10, 4])).toBeUndefined();
  });
});

describe("models that TensorFlow made", () => {
  const models = join(import.meta.dirname, "models");

  it("have loops and conditions as functions", async () => {
    const { graph } = await readTensorFlow(join(models, "condition_in_loop"));
    const loop = graph.nodes.find(({ op }) => op === "While");
    const body = loop?.attributes.get("body");
    expect(body?.type === "function" && body.value.nodes.some(({ op }) => op === "If")).toBe(true);
    expect((await readTensorFlow(join(models, "loop_in_condition"))).graph.nodes.map(({ op }) => op)).toContain("While");
  });

  it("have variables of one name told apart", async () => {
    const { graph } = await readTensorFlow(join(models, "two_variables"));
    const values = graph.nodes.flatMap(({ name, op }) => (op === "Const" && name.startsWith("Variable") ? [constantOf(graph, name)] : []));
    expect(values.sort()).toEqual([[2], [3, 5]]);
  });
});
