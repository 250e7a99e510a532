/** Which values of a Neuron subgraph are held in 16 bits: the vendor's `--fast-math` and `--fp32-cast`, and what they do to a graph. */
import { userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import { type Graph, intAttribute, type Node, type TensorType } from "../graph/graph.js";
import { type Tensor, toBfloat16Bits, toFloat16Bits } from "../graph/tensor.js";
import { loweringTraits, makesIntegers } from "../operators/traits.js";
import type { OperatorRules } from "./options.js";
import { splitOperands } from "./residues.js";
import { FreshNames, readsOf, withoutDead, writesOf } from "./values.js";

export type Half = "bfloat16" | "float16";

export interface Precision {
  /** What FP32 values are held in. */
  readonly tensors: "float32" | Half;
  /** What matmult inputs are rounded to. */
  readonly matmult: Half;
  /** Transposes of FP32 values: on the matmult engine in `transposeType`, or bit-exact and slower. */
  readonly relayout: "fast" | "exact";
  readonly transposeType: Half;
}

type Cast = Omit<Precision, "relayout">;

/** The cast half, by `--fp32-cast` word; `--fast-math` words carry the prefix `fp32-cast-`. */
const casts: Readonly<Record<string, Cast>> = {
  all: { tensors: "bfloat16", matmult: "bfloat16", transposeType: "bfloat16" },
  "all-fp16": { tensors: "float16", matmult: "float16", transposeType: "float16" },
  matmult: { tensors: "float32", matmult: "bfloat16", transposeType: "float16" },
  "matmult-bf16": { tensors: "float32", matmult: "bfloat16", transposeType: "bfloat16" },
  "matmult-fp16": { tensors: "float32", matmult: "float16", transposeType: "float16" },
};

/** Words for both halves; each names its cast. Relayout is exact with both: see `parsePrecision`. */
const presets: Readonly<Record<string, string>> = { all: "all", none: "matmult-bf16" };

const relayouts: Readonly<Record<string, Precision["relayout"]>> = { "fast-relayout": "fast", "no-fast-relayout": "exact" };
const castPrefix = "fp32-cast-";

/** Every word of `--fast-math`, in the order of the vendor's reference. */
export const fastMathWords: readonly string[] = [
  ...Object.keys(presets),
  ...Object.keys(relayouts),
  ...Object.keys(casts).map((word) => castPrefix + word),
];

/** Every word of `--fp32-cast`. */
export const fp32CastWords: readonly string[] = Object.keys(casts);

/** The one word of a group that was given; two different ones exclude each other. */
function onlyWord(words: readonly string[], group: readonly string[]): string | undefined {
  const given = [...new Set(words.filter((word) => group.includes(word)))];
  if (given.length > 1) throw userError("NCC0452", { first: given[0], second: given[1] });
  return given[0];
}

/**
 * The precision that the flags ask for; undefined is an absent flag. `--fast-math` starts from `all`; a cast or relayout word
 * overrides that half of all/none, and an explicit `--fp32-cast` the cast half. The vendor's `all` has fast relayout in it; here it
 * is fast only by name: where it rounds depends on where layouts meet, so on the cut between cores, and `all` alone leaves nothing
 * in FP32 that it could speed up. Throws UserError NCC0451 to NCC0454.
 */
export function parsePrecision(fastMath: readonly string[] | undefined, fp32Cast: string | undefined): Precision {
  const words = fastMath ?? ["all"];
  if (words.length === 0) throw userError("NCC0454", { words: fastMathWords.join(", ") });
  for (const word of words) {
    if (fastMathWords.includes(word)) continue;
    throw userError("NCC0451", { word, hint: didYouMean(word, fastMathWords), words: fastMathWords.join(", ") });
  }
  if (fp32Cast !== undefined && !fp32CastWords.includes(fp32Cast)) {
    throw userError("NCC0453", { word: fp32Cast, hint: didYouMean(fp32Cast, fp32CastWords), words: fp32CastWords.join(", ") });
  }
  const preset = presets[onlyWord(words, Object.keys(presets)) ?? "all"];
  const castWord = onlyWord(
    words,
    fp32CastWords.map((word) => castPrefix + word),
  );
  const relayoutWord = onlyWord(words, Object.keys(relayouts));
  const cast = casts[fp32Cast ?? castWord?.slice(castPrefix.length) ?? preset];
  return { ...cast, relayout: relayoutWord === undefined ? "exact" : relayouts[relayoutWord] };
}

/**
 * How lowering moves FP32 values to other partitions. With 16-bit tensors only statistics and what comes from or goes to the host are
 * still FP32, and stay exact.
 */
export function relayoutOf({ tensors, relayout, transposeType }: Precision): { readonly fast: boolean; readonly type: Half } {
  return { fast: relayout === "fast" && tensors === "float32", type: transposeType };
}

/** An FP32 tensor rounded to 16 bits. */
function toHalf(tensor: Tensor, dtype: Half): Tensor {
  if (!(tensor.data instanceof Float32Array)) throw new Error(`toHalf: ${tensor.dtype} tensor`);
  const round = dtype === "bfloat16" ? toBfloat16Bits : toFloat16Bits;
  const source = tensor.data;
  const data = new Uint16Array(source.length);
  for (let index = 0; index < data.length; index++) data[index] = round(source[index]);
  return { dtype, shape: tensor.shape, data };
}

/** ONNX's numbers of the element types that a Cast to float32 may become. */
const FLOAT32_NUMBER = 1;
const halfNumbers: Readonly<Record<Half, number>> = { float16: 10, bfloat16: 16 };

/** How an input of a node is read. */
type Reading =
  /** A matmult operand: rounded to the matmult type. */
  | "matmult"
  /** Moved as it is: input and output have one type. */
  | "moved"
  /** Converted on the way in; any float type will do. */
  | "converted"
  /** Says what to do; no data. */
  | "parameter";

class PrecisionPass {
  private readonly nodes: Node[] = [];
  private readonly types: Map<string, TensorType>;
  private readonly constants: Map<string, Tensor>;
  private readonly names: FreshNames;
  private readonly outputs: ReadonlySet<string>;
  /** Values that some node reads. */
  private readonly reads: ReadonlySet<string>;
  /** The 16-bit form of a value or constant that has both. */
  private readonly halves = new Map<string, string>();
  /** Values that stay FP32 where tensors are held in 16 bits. */
  private readonly fullValues: ReadonlySet<string>;

  constructor(
    private readonly graph: Graph,
    private readonly precision: Precision,
    private readonly recordOf: OperatorRules["recordOf"],
  ) {
    this.types = new Map(graph.types);
    this.constants = new Map(graph.constants);
    this.names = new FreshNames(graph);
    this.outputs = new Set(graph.outputs);
    this.reads = new Set(graph.nodes.flatMap(readsOf));
    this.fullValues = new Set([...this.statistics(), ...this.counts()]);
  }

  private isFloat32(value: string): boolean {
    return value !== "" && this.graph.types.get(value)?.dtype === "float32";
  }

  private reading(node: Node, index: number): Reading {
    const record = this.recordOf(node.op, node.domain);
    if (record === undefined || index >= record.maxInputs) return "converted";
    if (record.parameters?.includes(index)) return "parameter";
    if (this.isDepthwise(node)) return "converted";
    return record.lowering ? loweringTraits[record.lowering.kind].reading(index) : "converted";
  }

  /** A convolution in which no channel meets another has no matmult: the vector engine computes it, in FP32. */
  private isDepthwise(node: Node): boolean {
    if (node.op !== "Conv" || node.domain !== "") return false;
    const channels = this.graph.types.get(node.inputs[0])?.shape?.[1];
    const outputs = this.graph.types.get(node.inputs[1])?.shape?.[0];
    return channels === outputs && channels === intAttribute(node.attributes, "group", 1);
  }

  /** Outputs of reductions that only converting operators read: they weigh little, and what they scale inherits their error. */
  private statistics(): Set<string> {
    const found = new Set<string>();
    for (const node of this.graph.nodes) {
      if (this.recordOf(node.op, node.domain)?.lowering?.kind === "reduce") {
        for (const output of writesOf(node)) if (this.isFloat32(output) && !this.outputs.has(output)) found.add(output);
      }
      node.inputs.forEach((input, index) => {
        if (this.reading(node, index) !== "converted") found.delete(input);
      });
    }
    return found;
  }

  /**
   * What becomes integers, and all that it is computed from up to the next matmults: whole numbers may have more digits than 16 bits
   * hold, and what a quantizer rounds errs by a whole step where it was rounded before.
   */
  private counts(): Set<string> {
    const found = new Set<string>();
    for (const node of this.graph.nodes.toReversed()) {
      const written = writesOf(node);
      if (!makesIntegers(node) && !written.some((output) => found.has(output))) continue;
      node.inputs.forEach((input, index) => {
        const reading = this.reading(node, index);
        if (reading !== "converted" && reading !== "moved") return;
        // What is moved keeps its type: all or nothing of it.
        if (reading === "moved") for (const output of written) if (this.isFloat32(output)) found.add(output);
        if (this.isFloat32(input) && !this.graph.constants.has(input)) found.add(input);
      });
    }
    return found;
  }

  /**
   * Values that every reader wants in 16 bits, so that they exist in no other type. With 16-bit tensors these are all values
   * inside but statistics; else those that go only to matmult operands, straight or by way of data movement.
   */
  private halfValues(): Set<string> {
    const refused = new Set(this.graph.outputs);
    const half = new Set<string>();
    for (const node of this.graph.nodes.toReversed()) {
      const written = writesOf(node).filter((output) => this.isFloat32(output));
      if (this.precision.tensors !== "float32") {
        for (const output of written) if (!this.fullValues.has(output)) half.add(output);
        continue;
      }
      const wanted = written.length > 0 && written.every((output) => !refused.has(output));
      if (wanted) for (const output of written) half.add(output);
      node.inputs.forEach((input, index) => {
        const reading = this.reading(node, index);
        if (reading !== "matmult" && !(reading === "moved" && wanted)) refused.add(input);
      });
    }
    return half;
  }

  private get half(): Half {
    return this.precision.tensors === "float32" ? this.precision.matmult : this.precision.tensors;
  }

  private castNode(input: string, output: string, to: number): Node {
    const attributes = { to: { type: "int" as const, value: to } };
    return { name: this.names.next(`${output}/cast`), op: "Cast", domain: "", inputs: [input], outputs: [output], attributes, origins: [] };
  }

  /** The name under which a float32 constant or value that is stored as float32 is found in 16 bits. */
  private halfOf(value: string): string {
    const known = this.halves.get(value);
    if (known !== undefined) return known;
    const name = this.names.next(`${value}/${this.half}`);
    this.halves.set(value, name);
    this.types.set(name, { ...this.graph.types.get(value), dtype: this.half });
    const constant = this.graph.constants.get(value);
    if (constant) this.constants.set(name, toHalf(constant, this.half));
    else this.nodes.push(this.castNode(value, name, halfNumbers[this.half]));
    return name;
  }

  private readInput(node: Node, input: string, index: number, halfValues: ReadonlySet<string>): string {
    if (!this.isFloat32(input)) return input;
    const reading = this.reading(node, index);
    if (reading === "parameter") return input;
    const constant = this.graph.constants.has(input);
    const writesHalf = halfValues.has(node.outputs[0] ?? "");
    const wantsHalf = reading === "matmult" || (reading === "moved" && writesHalf);
    if (halfValues.has(input)) return this.halves.get(input) ?? input;
    const allHalf = this.precision.tensors !== "float32" && !constant && !this.fullValues.has(input);
    return wantsHalf || allHalf ? this.halfOf(input) : input;
  }

  /**
   * A Reshape that makes a graph output of a 16-bit value: the Cast goes before it, where the value has the shape that it was computed in.
   * False where that is not what the node does.
   */
  private addLastReshape(node: Node, halfValues: ReadonlySet<string>): boolean {
    const [input, output] = [node.inputs[0], node.outputs[0]];
    const isLast = node.op === "Reshape" && node.domain === "" && this.outputs.has(output) && !this.reads.has(output);
    if (!isLast || !halfValues.has(input) || !halfValues.has(output)) return false;
    const wide = this.names.next(`${input}/float32`);
    this.types.set(wide, { ...this.graph.types.get(input), dtype: "float32" });
    this.nodes.push(this.castNode(this.halves.get(input) ?? input, wide, FLOAT32_NUMBER));
    this.nodes.push({ ...node, inputs: [wide, ...node.inputs.slice(1)] });
    return true;
  }

  /** Adds the node with its inputs and outputs in their types; after it, the Cast of a graph output. */
  private addNode(node: Node, halfValues: ReadonlySet<string>): void {
    if (this.addLastReshape(node, halfValues)) return;
    const inputs = node.inputs.map((input, index) => this.readInput(node, input, index, halfValues));
    const casts: Node[] = [];
    const outputs = node.outputs.map((output) => {
      if (!halfValues.has(output)) return output;
      const type = { ...this.graph.types.get(output), dtype: this.half };
      if (!this.outputs.has(output)) {
        this.types.set(output, type);
        return output;
      }
      const inner = this.names.next(`${output}/${this.half}`);
      this.halves.set(output, inner);
      this.types.set(inner, type);
      casts.push(this.castNode(inner, output, FLOAT32_NUMBER));
      return inner;
    });
    const casted = node.op === "Cast" && halfValues.has(node.outputs[0]) && intAttribute(node.attributes, "to", 0) === FLOAT32_NUMBER;
    const to = { type: "int" as const, value: halfNumbers[this.half] };
    const attributes = casted && !node.epilogue ? { ...node.attributes, to } : node.attributes;
    this.nodes.push({ ...node, inputs, outputs, attributes }, ...casts);
  }

  run(): Graph {
    const halfValues = this.halfValues();
    for (const node of this.graph.nodes) this.addNode(node, halfValues);
    return withoutDead({ ...this.graph, nodes: this.nodes, types: this.types, constants: this.constants });
  }
}

/**
 * Rewrites a Neuron subgraph to a precision. Inputs and outputs keep their names and types, with Casts next to them; matmult weights
 * become 16-bit constants; other constants (biases, scales) stay FP32, since the engines compute in FP32. A node may then read
 * values of one float type and write another. FP16, BF16, integer and bool values stay as they are.
 */
export function applyPrecision(graph: Graph, precision: Precision, recordOf: OperatorRules["recordOf"]): Graph {
  const split = precision.tensors === "float32" ? splitOperands(graph, precision.matmult) : graph;
  return new PrecisionPass(split, precision, recordOf).run();
}
