/** Convolutions and pools. TensorFlow's channels-last images become channels-first between transposes. */
import type { Attributes, Dim } from "../../../graph/graph.js";
import { type Conversion, int, ints, type Rule, type Rules, range, text } from "./rule.js";

/** Where the channels are: after the spatial axes or before them. Throws for packed formats (NCHW_VECT_C). */
export function channelsAt(node: Conversion): "last" | "first" {
  const format = node.text("data_format", "NHWC");
  if (/^N[DHW]{0,3}C$/.test(format)) return "last";
  if (/^NC[DHW]{0,3}$/.test(format)) return "first";
  throw node.refusal(`its data format ${format} is not supported`);
}

const isChannelsLast = (node: Conversion): boolean => channelsAt(node) === "last";

/** The spatial entries of a list that has one entry for each axis of the node's data format. */
function spatial<T>(node: Conversion, list: readonly T[]): T[] {
  return isChannelsLast(node) ? list.slice(1, -1) : list.slice(2);
}

/** Computes on an input in channels-first order and puts the result into the node's own order. */
export function channelsFirst(node: Conversion, compute: (image: string) => string, input: string = node.inputs[0], rank = 4): string {
  if (!isChannelsLast(node)) return compute(input);
  const image = node.transpose(input, [0, rank - 1, ...range(1, rank - 1)]);
  return node.transpose(compute(image), [0, ...range(2, rank), 1]);
}

/** A window of an operator, by spatial axis. */
interface Window {
  readonly kernel: readonly number[];
  readonly strides: readonly number[];
  readonly dilations: readonly number[];
}

/** Where the image's extents are open, ONNX's SAME_UPPER, which it does not define for dilated windows, is TensorFlow's SAME. */
function windowAttributes(node: Conversion, window: Window): Attributes {
  const { strides, dilations } = window;
  const attributes = { strides: ints(strides), ...(dilations.some((rate) => rate !== 1) ? { dilations: ints(dilations) } : {}) };
  const kind = node.text("padding", "VALID");
  if (kind === "VALID") return attributes;
  const pads = kind === "SAME" ? samePads(node, window) : explicitPads(node);
  if (pads === undefined) return { ...attributes, auto_pad: text("SAME_UPPER") };
  return { ...attributes, pads: ints([...pads.map(([before]) => before), ...pads.map(([, after]) => after)]) };
}

/** SAME as amounts; the odd row of padding comes last. With stride 1 they don't depend on the image's extents. */
function samePads(node: Conversion, { kernel, strides, dilations }: Window): (readonly [number, number])[] | undefined {
  const extents = spatial(node, node.type(node.inputs[0])?.shape ?? []);
  const totals = strides.map((stride, axis) => {
    const reach = (kernel[axis] - 1) * dilations[axis] + 1;
    const extent = stride === 1 ? 1 : extents[axis];
    return typeof extent === "number" ? Math.max(0, (Math.ceil(extent / stride) - 1) * stride + reach - extent) : undefined;
  });
  const known = totals.filter((total) => total !== undefined);
  if (known.length < totals.length) return undefined;
  return known.map((total) => [Math.floor(total / 2), Math.ceil(total / 2)]);
}

function explicitPads(node: Conversion): (readonly [number, number])[] {
  const list = node.list("explicit_paddings");
  const [before, after] = [0, 1].map((side) =>
    spatial(
      node,
      list.filter((_, at) => at % 2 === side),
    ),
  );
  return before.map((amount, axis) => [amount, after[axis]]);
}

/** One for each spatial axis where the node does not say. */
function dilations(node: Conversion, axes: number): number[] {
  const given = spatial(node, node.list("dilations"));
  return given.length === 0 ? new Array<number>(axes).fill(1) : given;
}

function filterWindow(node: Conversion, kernel: readonly Dim[]): Window {
  const extents = kernel.map((extent) => {
    if (typeof extent !== "number") throw node.refusal("its filter's shape is open");
    return extent;
  });
  return { kernel: extents, strides: spatial(node, node.list("strides")), dilations: dilations(node, extents.length) };
}

/** TensorFlow's filter is [spatial axes, input channels of a group, output channels]; how many groups there are, the image tells. */
export const convolution: Rule = (node) => {
  const filter = node.dims(node.inputs[1]);
  const rank = filter.length;
  const weights = node.transpose(node.inputs[1], [rank - 1, rank - 2, ...range(0, rank - 2)]);
  const channels = node.type(node.inputs[0])?.shape?.at(isChannelsLast(node) ? -1 : 1);
  const inGroup = filter[rank - 2];
  const group = typeof channels === "number" && typeof inGroup === "number" ? channels / inGroup : 1;
  if (!Number.isInteger(group)) throw node.refusal(`its image has ${channels} channels, its filter ${inGroup}`);
  const attributes = { ...windowAttributes(node, filterWindow(node, filter.slice(0, -2))), group: int(group) };
  return [channelsFirst(node, (image) => node.emit("Conv", [image, weights], attributes), node.inputs[0], rank)];
};

/** TensorFlow's filter is [height, width, channels, multiplier]. */
export const depthwise: Rule = (node) => {
  const [height, width, channels] = node.staticDims(node.inputs[1]);
  const swapped = node.transpose(node.inputs[1], [2, 3, 0, 1]);
  const weights = node.reshape(swapped, [-1, 1, height, width]);
  const attributes = { ...windowAttributes(node, filterWindow(node, [height, width])), group: int(channels) };
  return [channelsFirst(node, (image) => node.emit("Conv", [image, weights], attributes))];
};

/**
 * Padding and extra rows of a transposed convolution along one axis. `output`: the extent asked for; undefined where it is known at run
 * time only, and then taken as what TensorFlow's layers ask for: `input * stride` with SAME, all that is touched otherwise.
 */
function transposedPads(
  kind: string,
  explicit: readonly [number, number],
  window: { kernel: number; stride: number; input: number | undefined; output: number | undefined },
): { pads: readonly [number, number]; extra: number } {
  const { kernel, stride, input, output } = window;
  const total = explicit[0] + explicit[1];
  const usual: Readonly<Record<string, number>> = { SAME: kernel - stride, VALID: Math.min(0, kernel - stride), EXPLICIT: total };
  // How much more the whole convolution covers than what is asked for.
  const surplus = input !== undefined && output !== undefined ? (input - 1) * stride + kernel - output : (usual[kind] ?? 0);
  if (kind !== "SAME") return { pads: explicit, extra: Math.max(0, total - surplus) };
  const same = Math.max(0, surplus);
  const before = Math.floor(same / 2);
  return { pads: [before, same - before], extra: Math.max(0, -surplus) };
}

const numeric = (extent: Dim | undefined): number | undefined => (typeof extent === "number" ? extent : undefined);

/** The gradient of a convolution by its input. The filter is [spatial axes, output channels, input channels]. */
const transposedConvolution: Rule = (node) => {
  const [sizes, filter, image] = node.inputs;
  const filterDims = node.staticDims(filter);
  const axes = filterDims.length - 2;
  const rank = axes + 2;
  const elements = node.elements(sizes);
  const firstSpatial = isChannelsLast(node) ? 1 : 2;
  // TensorFlow takes the whole shape, or its spatial part alone.
  const wanted = elements?.length === axes ? elements : elements?.slice(firstSpatial);
  const imageDims = node.dims(image).slice(firstSpatial);
  const steps = spatial(node, node.list("strides"));
  const rates = dilations(node, axes);
  const kind = node.text("padding", "VALID");
  const explicit = kind === "EXPLICIT" ? explicitPads(node) : steps.map(() => [0, 0] as const);
  const windows = steps.map((stride, axis) => {
    const input = imageDims[axis];
    const kernel = (filterDims[axis] - 1) * rates[axis] + 1;
    return transposedPads(kind, explicit[axis], {
      kernel,
      stride,
      input: numeric(input),
      output: numeric(wanted?.[axis]),
    });
  });
  const attributes = {
    strides: ints(steps),
    dilations: ints(rates),
    pads: ints([...windows.map(({ pads }) => pads[0]), ...windows.map(({ pads }) => pads[1])]),
    output_padding: ints(windows.map(({ extra }) => extra)),
  };
  const weights = node.transpose(filter, [rank - 1, rank - 2, ...range(0, axes)]);
  return [channelsFirst(node, (value) => node.emit("ConvTranspose", [value, weights], attributes), image, rank)];
};

function poolAttributes(node: Conversion, kernel: readonly number[], strides: readonly number[]): Attributes {
  return { ...windowAttributes(node, { kernel, strides, dilations: kernel.map(() => 1) }), kernel_shape: ints(kernel) };
}

const pool =
  (op: string, windowOf: (node: Conversion) => { kernel: readonly number[]; strides: readonly number[] }): Rule =>
  (node) => {
    const { kernel, strides } = windowOf(node);
    const outer = isChannelsLast(node) ? [kernel[0], kernel[kernel.length - 1]] : kernel.slice(0, 2);
    if (outer.some((extent) => extent !== 1)) throw node.refusal("pooling over batch or channels is not supported");
    const attributes = poolAttributes(node, spatial(node, kernel), spatial(node, strides));
    return [channelsFirst(node, (image) => node.emit(op, [image], attributes), node.inputs[0], kernel.length)];
  };

const byAttributes = (node: Conversion) => ({ kernel: node.list("ksize"), strides: node.list("strides") });
const byInputs = (node: Conversion) => ({ kernel: node.numbers(1), strides: node.numbers(2) });

/**
 * The greatest elements and where they are: at ((y * width + x) * channels + c), with the batch before where `include_batch_in_index`.
 * ONNX counts ((n * channels + c) * height + y) * width + x.
 */
const poolWithPlaces: Rule = (node) => {
  const [height, width, channels] = node.staticDims(node.inputs[0], [1, 2, 3]);
  const { kernel, strides } = byAttributes(node);
  const attributes = poolAttributes(node, kernel.slice(1, 3), strides.slice(1, 3));
  const image = node.transpose(node.inputs[0], [0, 3, 1, 2]);
  const [values, places] = node.emitAll("MaxPool", [image], attributes, 2).map((value) => node.transpose(value, [0, 2, 3, 1]));
  const area = node.scalar(height * width, "int64");
  const place = node.emit("Mul", [node.emit("Mod", [places, area]), node.scalar(channels, "int64")]);
  const channel = node.numbersOf("int64", [channels], range(0, channels));
  let index = node.emit("Add", [place, channel]);
  if (node.bool("include_batch_in_index")) {
    const batch = node.emit("Div", [places, node.scalar(height * width * channels, "int64")]);
    index = node.emit("Add", [index, node.emit("Mul", [batch, node.scalar(height * width * channels, "int64")])]);
  }
  return [values, node.cast(index, node.dtype("Targmax", "int64"))];
};

export function addBias(node: Conversion, value: string, bias: string): string {
  if (isChannelsLast(node)) return node.emit("Add", [value, bias]);
  const trailing = node.rank(value) - 2;
  return node.emit("Add", [value, node.unsqueeze(bias, range(1, 1 + trailing))]);
}

/** Each output's channels are the elements of its window, row by row, channels innermost. */
const patches: Rule = (node) => {
  const [value] = node.inputs;
  const channels = node.staticDims(value, [3])[0];
  const [height, width] = node.list("ksizes").slice(1, 3);
  const count = height * width * channels;
  const filter = new Array<number>(count * channels * height * width).fill(0);
  for (const output of range(0, count)) {
    const [place, channel] = [Math.floor(output / channels), output % channels];
    filter[(output * channels + channel) * height * width + place] = 1;
  }
  const weights = node.numbersOf(node.dtypeOf(value), [count, channels, height, width], filter);
  const [strides, rates] = ["strides", "rates"].map((name) => node.list(name).slice(1, 3));
  const attributes = windowAttributes(node, { kernel: [height, width], strides, dilations: rates });
  return [channelsFirst(node, (image) => node.emit("Conv", [image, weights], attributes))];
};

export const spatialRules: Rules = {
  AvgPool: pool("AveragePool", byAttributes),
  AvgPool3D: pool("AveragePool", byAttributes),
  BiasAdd: (node) => [addBias(node, node.inputs[0], node.inputs[1])],
  BiasAddV1: (node) => [node.emit("Add", node.inputs)],
  Conv2D: convolution,
  Conv2DBackpropInput: transposedConvolution,
  Conv3D: convolution,
  Conv3DBackpropInputV2: transposedConvolution,
  DepthwiseConv2dNative: depthwise,
  ExtractImagePatches: patches,
  MaxPool: pool("MaxPool", byAttributes),
  MaxPool3D: pool("MaxPool", byAttributes),
  MaxPoolV2: pool("MaxPool", byInputs),
  MaxPoolWithArgmax: poolWithPlaces,
};
