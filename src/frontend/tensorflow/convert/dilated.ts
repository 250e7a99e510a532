/**
 * Dilated convolutions as TensorFlow writes them where a kernel takes no dilation: SpaceToBatchND, a convolution of each block's part,
 * BatchToSpaceND. Of one axis, the convolution stands between ExpandDims and Squeeze.
 */
import { toNumbers } from "../../../graph/tensor.js";
import type { FlatAttribute, FlatNode } from "../flat.js";
import { Conversion, type Rule } from "./rule.js";
import { convolution, depthwise } from "./spatial.js";

const convolutions: Readonly<Record<string, Rule>> = { Conv2D: convolution, DepthwiseConv2dNative: depthwise };

interface Found {
  readonly convolution: FlatNode;
  readonly filter: string;
  /** What SpaceToBatchND read: its input, blocks and padding. */
  readonly inputs: readonly string[];
  readonly isFlat: boolean;
}

/** What stands before a BatchToSpaceND, if that is such a convolution. */
function find({ source, scope }: Conversion): Found | undefined {
  let at = scope.source(source.inputs[0]);
  const isFlat = at?.node.op === "Squeeze";
  if (isFlat && at) at = scope.source(at.node.inputs[0]);
  if (at === undefined || !Object.hasOwn(convolutions, at.node.op)) return undefined;
  const { node: convolution, inputs } = at;
  let before = scope.source(convolution.inputs[0]);
  if (isFlat && before?.node.op === "ExpandDims") before = scope.source(before.node.inputs[0]);
  if (before?.node.op !== "SpaceToBatchND") return undefined;
  return { convolution, filter: inputs[1], inputs: before.inputs, isFlat };
}

/** One dilated convolution in the place of the three; undefined where a BatchToSpaceND is no such thing. */
export function dilatedConvolution(node: Conversion): string | undefined {
  const found = find(node);
  if (found === undefined) return undefined;
  const { convolution, filter, inputs, isFlat } = found;
  const [blocks, pads] = [inputs[1], inputs[2]].map((input) => node.known(input)).map((known) => known && toNumbers(known));
  if (blocks === undefined || pads === undefined || blocks.join() !== node.numbers(1).join()) return undefined;
  const form = new Conversion(convolution, [], node.scope);
  const isPlain = [...form.list("strides"), ...form.list("dilations")].every((step) => step === 1);
  const amounts = pads.map((pad, index) => pad - node.numbers(2)[index]);
  const isKnownForm = form.text("padding", "") === "VALID" && form.text("data_format", "NHWC") === "NHWC";
  if (!isPlain || !isKnownForm || amounts.some((amount) => amount < 0) || blocks.length !== (isFlat ? 1 : 2)) return undefined;
  const lists = isFlat ? { rates: [1, ...blocks], pads: [0, 0, ...amounts] } : { rates: blocks, pads: amounts };
  const attributes = new Map<string, FlatAttribute>([
    ...convolution.attributes,
    ["padding", { type: "string", value: "EXPLICIT" }],
    ["dilations", { type: "list", value: [1, ...lists.rates, 1] }],
    ["explicit_paddings", { type: "list", value: [0, 0, ...lists.pads, 0, 0] }],
  ]);
  const image = isFlat ? node.unsqueeze(inputs[0], [1]) : inputs[0];
  const [result] = convolutions[convolution.op](new Conversion({ ...convolution, attributes }, [image, filter], node.scope));
  return isFlat ? node.squeeze(result, [1]) : result;
}
