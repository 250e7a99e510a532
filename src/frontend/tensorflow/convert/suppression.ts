/** Choosing among overlapping boxes: the ends of detectors. */
import { toNumbers } from "../../../graph/tensor.js";
import { type Conversion, int, type Rule, type Rules, text } from "./rule.js";

/** The least FP32 number. */
const LEAST = -(2 - 2 ** -23) * 2 ** 127;

/** Boxes chosen by falling score, none of which overlaps an earlier one by more than the threshold. */
function chosenBoxes(node: Conversion): string {
  const [boxes, scores, most, overlap, threshold] = node.inputs;
  const version = node.source.op;
  const asFloat = (value: string) => node.reshape(node.cast(value, "float32"), [1]);
  const overlaps = version === "NonMaxSuppression" ? node.numbersOf("float32", [1], [node.float("iou_threshold", 0.5)]) : asFloat(overlap);
  const inputs = [
    node.unsqueeze(node.cast(boxes, "float32"), [0]),
    node.unsqueeze(node.cast(scores, "float32"), [0, 1]),
    node.asInt64(most, true),
    overlaps,
  ];
  if (threshold !== undefined) inputs.push(asFloat(threshold));
  const found = node.emit("NonMaxSuppression", inputs);
  return node.squeeze(node.slice(found, 1, 2, 3), [1]);
}

/** Since version 4 the result may be padded with zeros to its greatest length; version 5 gives the scores too. */
const nonMaxSuppression: Rule = (node) => {
  const version = node.source.op;
  if (version.endsWith("V5")) {
    const sigma = node.known(node.inputs[5]);
    if (sigma === undefined || toNumbers(sigma)[0] !== 0) throw node.refusal("its soft_nms_sigma is not 0");
  }
  const chosen = chosenBoxes(node);
  const count = node.emit("Shape", [chosen]);
  const isPadded = node.bool("pad_to_max_output_size");
  const padded = (value: string) => {
    if (!isPadded) return value;
    const missing = node.emit("Sub", [node.asInt64(node.inputs[2], true), count]);
    return node.emit("Pad", [value, node.concat([node.integers([0]), missing], 0)]);
  };
  const indices = padded(node.cast(chosen, "int32"));
  const valid = node.cast(node.squeeze(count, [0]), "int32");
  if (!version.endsWith("V5")) return [indices, valid];
  return [indices, padded(node.emit("Gather", [node.inputs[1], chosen], { axis: int(0) })), valid];
};

/**
 * Boxes [batch, count, 1 or classes, 4] chosen class by class, then the best of all classes, with zeros after the last. What is chosen keeps
 * its score in a tensor of all scores, of which those of the others fall below every score: its greatest elements are the result.
 */
const combinedNonMaxSuppression: Rule = (node) => {
  const [boxes, scores] = node.inputs;
  const [perClass] = node.numbers(2);
  const [batch, count, kinds] = node.staticDims(boxes, [0, 1, 2]);
  const [classes] = node.staticDims(scores, [2]);
  const byClass = node.transpose(scores, [0, 2, 1]);
  // Classes with boxes of their own stand for items of the batch.
  const groups = kinds === 1 ? [batch, classes] : [batch * classes, 1];
  const each = node.reshape(node.transpose(boxes, [0, 2, 1, 3]), [batch * kinds, count, 4]);
  const grouped = node.reshape(byClass, [...groups, count]);
  const limit = (index: number) => node.reshape(node.cast(node.inputs[index], "float32"), [1]);
  const chosen = node.emit("NonMaxSuppression", [each, grouped, node.integers([perClass]), limit(4), limit(5)]);
  const none = node.numbersOf("float32", [...groups, count], new Array<number>(batch * classes * count).fill(LEAST));
  const kept = node.emit("ScatterND", [none, chosen, node.emit("GatherND", [grouped, chosen])], { reduction: text("none") });
  const all = node.reshape(kept, [batch, classes * count]);

  const most = node.numbers(3)[0];
  const size = node.bool("pad_per_class") ? Math.min(most, perClass * classes) : most;
  const found = Math.min(size, classes * count);
  const [best, places] = node.emitAll("TopK", [all, node.integers([found])], { axis: int(-1) }, 2);
  const isChosen = node.emit("Greater", [best, node.scalar(LEAST, "float32")]);
  const kind = node.emit("Div", [places, node.scalar(count, "int64")]);
  const place = node.emit("Mod", [places, node.scalar(count, "int64")]);
  const row = kinds === 1 ? place : node.emit("Add", [node.emit("Mul", [place, node.scalar(kinds, "int64")]), kind]);
  const flat = node.reshape(boxes, [batch, count * kinds, 4]);
  const taken = node.emit("GatherND", [flat, node.unsqueeze(row, [2])], { batch_dims: int(1) });
  const zero = node.scalar(0, "float32");
  const clipped = node.bool("clip_boxes", true) ? node.emit("Clip", [taken, zero, node.scalar(1, "float32")]) : taken;
  const filled = (value: string, rank: number) => {
    const shown = node.emit("Where", [rank === 3 ? node.unsqueeze(isChosen, [2]) : isChosen, value, zero]);
    return found === size
      ? shown
      : node.emit("Pad", [
          shown,
          node.integers([...new Array<number>(rank + 1).fill(0), size - found, ...new Array<number>(rank - 2).fill(0)]),
        ]);
  };
  const valid = node.reduce("ReduceSum", node.cast(isChosen, "int32"), [1], false);
  return [filled(clipped, 3), filled(best, 2), filled(node.cast(kind, "float32"), 2), valid];
};

export const suppressionRules: Rules = {
  CombinedNonMaxSuppression: combinedNonMaxSuppression,
  NonMaxSuppression: nonMaxSuppression,
  NonMaxSuppressionV2: nonMaxSuppression,
  NonMaxSuppressionV3: nonMaxSuppression,
  NonMaxSuppressionV4: nonMaxSuppression,
  NonMaxSuppressionV5: nonMaxSuppression,
};
