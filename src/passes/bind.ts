/** Gives every open dimension of the inputs its extent, from the batch size, explicit shapes and the io-config. */
import { type Diagnostic, diagnostic, UserError, userError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import type { Dim, Graph, TensorType } from "../graph/graph.js";
import { resolveName } from "../graph/names.js";
import type { BindOptions, IoConfig, NormaliseOptions } from "./options.js";

function formatShape(shape: readonly Dim[]): string {
  return `[${shape.join(", ")}]`;
}

/** The shapes that the user gave, by input; checks names, and that two sources agree. */
function givenShapes(graph: Graph, bind: BindOptions): Map<string, { shape: readonly number[]; source: string }> {
  const given = new Map<string, { shape: readonly number[]; source: string }>();
  const give = (name: string, shape: readonly number[], source: string) => {
    const input = resolveName(name, graph.inputs, bind.aliases);
    if (input === undefined) {
      throw userError("NCC0351", { name, hint: didYouMean(name, graph.inputs), inputs: graph.inputs.join(", ") });
    }
    const before = given.get(input);
    if (before && formatShape(before.shape) !== formatShape(shape)) {
      const [first, second] = [before, { shape, source }].map((one) => `${one.source} gives ${formatShape(one.shape)}`);
      throw userError("NCC0359", { name: input, first, second });
    }
    given.set(input, { shape, source });
  };
  for (const [name, { shape }] of bind.inputValues ?? []) give(name, shape, `--input-value ${name}`);
  for (const [name, shape] of bind.inputShapes ?? []) give(name, shape, `--input-shape ${name}`);
  for (const [name, { shape }] of bind.ioConfig?.inputs ?? []) give(name, shape, `io-config ${name}`);
  return given;
}

function checkIoConfig(graph: Graph, config: IoConfig, aliases: BindOptions["aliases"]): void {
  for (const [name, { dtype }] of config.inputs) {
    const declared = graph.types.get(resolveName(name, graph.inputs, aliases) ?? "")?.dtype;
    if (declared !== undefined && declared !== dtype) throw userError("NCC0361", { name, dtype, declared });
  }
  for (const name of config.outputs) {
    if (resolveName(name, graph.outputs, aliases) !== undefined) continue;
    throw userError("NCC0362", { name, hint: didYouMean(name, graph.outputs), outputs: graph.outputs.join(", ") });
  }
}

/** Extents by dimension name, with who gave them. */
class Symbols {
  private readonly extents = new Map<string, { extent: number; source: string }>();

  set(symbol: string, extent: number, source: string): void {
    const before = this.extents.get(symbol);
    if (before && before.extent !== extent) {
      const { extent: first, source: firstSource } = before;
      throw userError("NCC0355", { symbol, first, firstSource, second: extent, secondSource: source });
    }
    if (!before) this.extents.set(symbol, { extent, source });
  }

  apply(shape: readonly Dim[]): Dim[] {
    return shape.map((dim) => (typeof dim === "string" ? (this.extents.get(dim)?.extent ?? dim) : dim));
  }
}

/** Takes an explicit shape of one input: checks it against the declared one and binds the names in that. */
function takeShape(name: string, declared: TensorType | undefined, shape: readonly number[], source: string, symbols: Symbols): void {
  const given = formatShape(shape);
  const dims = declared?.shape;
  shape.forEach((extent, axis) => {
    // Only a value, or an input that the model itself declares as empty, has no elements.
    const least = dims?.[axis] === 0 || source.startsWith("--input-value") ? 0 : 1;
    if (!Number.isSafeInteger(extent) || extent < least) throw userError("NCC0353", { name, extent, given });
  });
  if (dims === undefined) return;
  if (dims.length !== shape.length) {
    throw userError("NCC0352", { name, given, rank: shape.length, declared: formatShape(dims), declaredRank: dims.length });
  }
  dims.forEach((dim, axis) => {
    if (typeof dim === "string") symbols.set(dim, shape[axis], source);
    else if (dim !== shape[axis]) {
      throw userError("NCC0354", { name, axis, declared: dim, extent: shape[axis], shape: formatShape(dims) });
    }
  });
}

/**
 * The batch size is the first extent of every input where that is still open (the vendor's rule). One that binds nothing and
 * that no input has already is refused rather than ignored.
 */
function takeBatchSize(graph: Graph, batch: number, shapeOf: (input: string) => readonly Dim[] | undefined, symbols: Symbols): void {
  if (!Number.isSafeInteger(batch) || batch < 1) throw userError("NCC0358", { batch });
  let used = false;
  for (const input of graph.inputs) {
    const first = shapeOf(input)?.[0];
    if (first === batch) used = true;
    if (typeof first !== "string") continue;
    symbols.set(first, batch, `--batch-size ${batch}`);
    used = true;
  }
  const inputs = graph.inputs.map((input) => `${input} ${formatShape(shapeOf(input) ?? ["unknown rank"])}`).join(", ");
  if (!used && graph.inputs.length > 0) throw userError("NCC0357", { batch, inputs });
}

/** One error for everything that is still open, with the flags that would bind it. */
function openDimensions(graph: Graph, types: ReadonlyMap<string, TensorType>): Diagnostic | undefined {
  const open = graph.inputs.filter((input) => types.get(input)?.shape?.every((dim) => typeof dim === "number") !== true);
  if (open.length === 0) return undefined;
  const shapes = open.map((input) => ({ input, shape: types.get(input)?.shape }));
  const list = shapes.map(({ input, shape }) => (shape ? `${input} ${formatShape(shape)}` : `${input} (rank unknown)`)).join(", ");
  const batchSuffices = shapes.every(({ shape }) => shape?.every((dim, axis) => typeof dim === "number" || axis === 0));
  const flags = shapes.map(({ input, shape }) => `--input-shape ${input}=${shape?.join(",") ?? "D0,D1,..."}`).join(" ");
  return diagnostic("NCC0356", { list, flags: batchSuffices ? `--batch-size N, or ${flags}` : flags });
}

/** The graph with the values of some inputs, which have their declared types, as constants. */
function fixInputs(graph: Graph, { inputValues = new Map(), aliases }: BindOptions): Graph {
  const constants = new Map(graph.constants);
  for (const [name, value] of inputValues) {
    const input = resolveName(name, graph.inputs, aliases)!;
    const declared = graph.types.get(input)?.dtype;
    if (declared !== undefined && declared !== value.dtype) throw userError("NCC0372", { name, seen: value.dtype, expected: declared });
    constants.set(input, value);
  }
  return { ...graph, constants, inputs: graph.inputs.filter((input) => !constants.has(input)) };
}

/** Throws UserError NCC0351 to NCC0362 and NCC0372: unknown names, shapes that don't fit, contradictions, and what stays open. */
export function bind(graph: Graph, options: Pick<NormaliseOptions, "bind">): Graph {
  const { aliases, batchSize, ioConfig } = options.bind;
  if (ioConfig) checkIoConfig(graph, ioConfig, aliases);
  const symbols = new Symbols();
  const given = givenShapes(graph, options.bind);
  for (const [input, { shape, source }] of given) takeShape(input, graph.types.get(input), shape, source, symbols);
  const shapeOf = (input: string): readonly Dim[] | undefined => {
    const declared = graph.types.get(input)?.shape;
    return declared === undefined ? given.get(input)?.shape : symbols.apply(declared);
  };
  if (batchSize !== undefined) takeBatchSize(graph, batchSize, shapeOf, symbols);

  const types = new Map<string, TensorType>();
  for (const [value, type] of graph.types) types.set(value, type.shape ? { ...type, shape: symbols.apply(type.shape) } : type);
  for (const input of graph.inputs) {
    const type = graph.types.get(input);
    if (type) types.set(input, { ...type, shape: shapeOf(input) });
  }
  const open = openDimensions(graph, types);
  if (open) throw new UserError([open]);
  return fixInputs({ ...graph, types }, options.bind);
}
