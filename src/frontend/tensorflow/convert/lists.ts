/**
 * Lists of tensors (TensorList, and TensorArray of TensorFlow 1, whose `flow` stands for the list). Where indices are known, a list is
 * kept by its elements and costs nothing; otherwise it is one tensor with the elements along the first axis.
 */
import type { Dim } from "../../../graph/graph.js";
import { toNumbers } from "../../../graph/tensor.js";
import { type Conversion, int, type Rule, type Rules, range } from "./rule.js";
import type { ListValue } from "./scope.js";

function listOf(node: Conversion, value: string): ListValue {
  const list = node.scope.list(value);
  if (list === undefined) throw node.refusal("the list that it works on is not made in the same graph");
  return list;
}

/** A shape as an operator's input or attribute gives it; undefined where an extent is open. */
function elementShape(sizes: readonly number[] | undefined): readonly Dim[] | undefined {
  return sizes?.every((size) => size >= 0) ? sizes : undefined;
}

function shapeInput(node: Conversion, index: number): readonly Dim[] | undefined {
  const known = node.known(node.inputs[index]);
  // A scalar -1 stands for an unknown rank.
  return known === undefined || known.shape.length === 0 ? undefined : elementShape(toNumbers(known));
}

const knownIndex = (node: Conversion, value: string): number | undefined => {
  const known = node.known(value);
  return known === undefined ? undefined : toNumbers(known)[0];
};

/** Zeros in the shape of an element. */
function emptyElement(node: Conversion, list: ListValue): string {
  const written = list.parts?.find((part) => part !== undefined);
  const zero = node.scalar(0, list.dtype);
  if (written !== undefined) return node.emit("Expand", [zero, node.emit("Shape", [written])]);
  if (list.shape === undefined) throw node.refusal("the shape of its elements can't be told");
  const extents = list.shape.map((extent) => (typeof extent === "number" ? extent : node.scope.extentOf(extent, node)));
  if (extents.some((extent) => extent === undefined))
    throw node.refusal(`the shape of its elements, [${list.shape.join(", ")}], is known at run time only`);
  return node.emit("Expand", [zero, node.shapeOf(extents.map((extent) => extent ?? 1))]);
}

/** The whole list as one tensor. */
export function stacked(node: Conversion, list: ListValue): string {
  if (list.stacked !== undefined) return list.stacked;
  const { parts, count } = list;
  if (parts === undefined || parts.every((part) => part === undefined)) {
    const length = parts === undefined ? node.asInt64(count ?? "", true) : node.integers([parts.length]);
    const element = node.unsqueeze(emptyElement(node, list), [0]);
    const shape = node.emit("Shape", [node.squeeze(element, [0])]);
    return node.emit("Expand", [element, node.concat([length, shape], 0)]);
  }
  const blank = parts.includes(undefined) ? emptyElement(node, list) : "";
  return node.concat(
    parts.map((part) => node.unsqueeze(part ?? blank, [0])),
    0,
  );
}

function itemAt(node: Conversion, list: ListValue, index: string): string {
  const at = knownIndex(node, index);
  const part = at === undefined ? undefined : list.parts?.[at];
  if (part !== undefined) return part;
  return node.emit("Gather", [stacked(node, list), node.asInt64(index)], { axis: int(0) });
}

function withItem(node: Conversion, list: ListValue, index: string, item: string): ListValue {
  const shape = node.type(item)?.shape ?? list.shape;
  const at = knownIndex(node, index);
  if (list.parts !== undefined && at !== undefined) {
    const parts = [...list.parts];
    while (parts.length < at) parts.push(undefined);
    parts[at] = item;
    return { ...list, shape, parts };
  }
  const place = node.reshape(node.asInt64(index), [1, 1]);
  const known = { ...list, shape };
  return { dtype: list.dtype, shape, stacked: node.emit("ScatterND", [stacked(node, known), place, node.unsqueeze(item, [0])]) };
}

const asValue = (node: Conversion, list: ListValue): string[] => [node.scope.addList(list)];

/** Of one tensor; its elements are taken one by one where that is known how many they are. */
function unstacked(node: Conversion, tensor: string): ListValue {
  return { dtype: node.dtypeOf(tensor), shape: node.type(tensor)?.shape?.slice(1), stacked: tensor };
}

function lengthOf(node: Conversion, list: ListValue): string {
  if (list.parts !== undefined) return node.scalar(list.parts.length, "int32");
  if (list.stacked === undefined) return node.cast(list.count ?? "", "int32");
  return node.cast(node.squeeze(node.shapeOf([node.extent(list.stacked, 0)]), [0]), "int32");
}

/** A list without elements yet; where their number is known, each has its place. */
function reserved(node: Conversion, count: string, shape: readonly Dim[] | undefined, dtype: ListValue["dtype"]): ListValue {
  const length = knownIndex(node, count);
  return length === undefined
    ? { dtype, shape, count }
    : { dtype, shape, parts: new Array<undefined>(Math.max(0, length)).fill(undefined) };
}

function gathered(node: Conversion, list: ListValue, indices: string): string {
  const known = node.known(indices);
  if (known !== undefined && list.parts !== undefined) {
    const parts = toNumbers(known).map((at) => list.parts?.[at]);
    if (parts.length > 0) return stacked(node, { ...list, parts });
  }
  const whole = stacked(node, list);
  if (known && isWhole(toNumbers(known), node.dims(whole)[0])) return whole;
  return node.emit("Gather", [whole, node.asInt64(indices)], { axis: int(0) });
}

const isWhole = (places: readonly number[], extent: Dim): boolean =>
  places.length === extent && places.every((place, index) => place === index);

/** Rows of a tensor at given places of a list. */
function scattered(node: Conversion, list: ListValue, indices: string, tensor: string): ListValue {
  const known = node.known(indices);
  if (known === undefined) return unstacked(node, tensor);
  const places = toNumbers(known);
  const length = Math.max(list.parts?.length ?? 0, ...places.map((place) => place + 1));
  if (isWhole(places, length)) return unstacked(node, tensor);
  const rows = places.map((_, row) => node.emit("Gather", [tensor, node.scalar(row, "int64")], { axis: int(0) }));
  const parts = range(0, length).map((place) => rows[places.lastIndexOf(place)] ?? list.parts?.[place]);
  return { dtype: list.dtype, shape: node.type(tensor)?.shape?.slice(1), parts };
}

/** All elements joined along their first axis, and the extent of each there. */
function joined(node: Conversion, list: ListValue): string[] {
  if (list.parts === undefined) {
    const whole = stacked(node, list);
    const [count, rows, ...rest] = node.extents(whole);
    const lengths = node.emit("Expand", [node.shapeOf([rows]), node.shapeOf([count])]);
    return [node.reshape(whole, [-1, ...rest]), lengths];
  }
  const blank = list.parts.includes(undefined) ? emptyElement(node, list) : "";
  const parts = list.parts.map((part) => part ?? blank);
  return [node.concat(parts, 0), node.shapeOf(parts.map((part) => node.extent(part, 0)))];
}

/** Consecutive rows of a tensor, as many as the lengths tell, as elements. */
function cut(node: Conversion, tensor: string, lengths: string): ListValue {
  const sizes = node.known(lengths);
  if (sizes === undefined) throw node.refusal("its lengths are not constant");
  const counts = toNumbers(sizes);
  const parts = node.emitAll("Split", [tensor, node.integers(counts)], { axis: int(0) }, counts.length);
  return { dtype: node.dtypeOf(tensor), shape: node.type(parts[0] ?? "")?.shape, parts };
}

/** The list of which input `index` of a TensorList operator is the handle, or that of a TensorArray its flow. */
const list =
  (index: number, compute: (node: Conversion, list: ListValue) => readonly string[]): Rule =>
  (node) =>
    compute(node, listOf(node, node.inputs[index]));

const changed =
  (index: number, compute: (node: Conversion, list: ListValue) => ListValue): Rule =>
  (node) =>
    asValue(node, compute(node, listOf(node, node.inputs[index])));

/** Outputs: the list without its last element, and that. */
const popped = (node: Conversion, from: ListValue): string[] => {
  const { parts } = from;
  const last = parts?.at(-1);
  if (parts === undefined || last === undefined) throw node.refusal("what it takes from the list is known at run time only");
  return [node.scope.addList({ ...from, parts: parts.slice(0, -1) }), last];
};

const pushed = (node: Conversion, onto: ListValue): ListValue => {
  const item = node.inputs[1];
  const shape = node.type(item)?.shape ?? onto.shape;
  if (onto.parts !== undefined) return { ...onto, shape, parts: [...onto.parts, item] };
  return { dtype: onto.dtype, shape, stacked: node.concat([stacked(node, { ...onto, shape }), node.unsqueeze(item, [0])], 0) };
};

const resized = (node: Conversion, of: ListValue): ListValue => {
  const length = knownIndex(node, node.inputs[1]);
  if (length === undefined || of.parts === undefined) throw node.refusal("its size is known at run time only");
  return { ...of, parts: range(0, length).map((at) => of.parts?.[at]) };
};

/** The handle of a TensorArray says nothing that its flow does not. */
const array: Rule = (node) => {
  const sizes = node.source.attributes.get("element_shape");
  const shape = sizes?.type === "shape" ? elementShape(sizes.value) : undefined;
  const [flow] = asValue(node, reserved(node, node.inputs[0], shape, node.dtype("dtype")));
  return [flow, flow];
};

export const listRules: Rules = {
  EmptyTensorList: (node) => asValue(node, { dtype: node.dtype("element_dtype"), shape: shapeInput(node, 0), parts: [] }),
  TensorArrayCloseV3: () => [],
  TensorArrayConcatV3: list(1, joined),
  TensorArrayGatherV3: list(2, (node, from) => [gathered(node, from, node.inputs[1])]),
  TensorArrayReadV3: list(2, (node, from) => [itemAt(node, from, node.inputs[1])]),
  TensorArrayScatterV3: changed(3, (node, into) => scattered(node, into, node.inputs[1], node.inputs[2])),
  TensorArraySizeV3: list(1, (node, of) => [lengthOf(node, of)]),
  TensorArraySplitV3: changed(3, (node) => cut(node, node.inputs[1], node.inputs[2])),
  TensorArrayV3: array,
  TensorArrayWriteV3: changed(3, (node, into) => withItem(node, into, node.inputs[1], node.inputs[2])),
  TensorListConcatV2: list(0, joined),
  TensorListElementShape: list(0, (node, of) => [
    node.cast(node.emit("Shape", [emptyElement(node, of)]), node.dtype("shape_type", "int32")),
  ]),
  TensorListFromTensor: (node) => asValue(node, unstacked(node, node.inputs[0])),
  TensorListGather: list(0, (node, from) => [gathered(node, from, node.inputs[1])]),
  TensorListGetItem: list(0, (node, from) => [itemAt(node, from, node.inputs[1])]),
  TensorListLength: list(0, (node, of) => [lengthOf(node, of)]),
  TensorListPopBack: list(0, popped),
  TensorListPushBack: changed(0, pushed),
  TensorListReserve: (node) => asValue(node, reserved(node, node.inputs[1], shapeInput(node, 0), node.dtype("element_dtype"))),
  TensorListResize: changed(0, resized),
  TensorListScatterIntoExistingList: changed(0, (node, into) => scattered(node, into, node.inputs[2], node.inputs[1])),
  TensorListScatterV2: (node) =>
    asValue(node, scattered(node, { dtype: node.dtypeOf(node.inputs[0]), shape: undefined, parts: [] }, node.inputs[1], node.inputs[0])),
  TensorListSetItem: changed(0, (node, into) => withItem(node, into, node.inputs[1], node.inputs[2])),
  TensorListSplit: (node) => asValue(node, cut(node, node.inputs[0], node.inputs[2])),
  TensorListStack: list(0, (node, of) => [stacked(node, of)]),
};
