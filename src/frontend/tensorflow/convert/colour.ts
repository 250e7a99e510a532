/** Colours of images: the last axis is red, green, blue, or hue, saturation, value, all from 0 to 1. */
import type { Conversion, Rule, Rules } from "./rule.js";

/** Arithmetic in the node's type with numbers as operands. */
class Arithmetic {
  constructor(private readonly node: Conversion) {}

  private operand = (value: string | number): string => (typeof value === "string" ? value : this.node.scalar(value));

  apply(op: string, ...operands: readonly (string | number)[]): string {
    return this.node.emit(op, operands.map(this.operand));
  }

  clamp(value: string): string {
    return this.apply("Min", this.apply("Max", value, 0), 1);
  }
}

function channels(node: Conversion, value: string): string[] {
  return [0, 1, 2].map((channel) => node.slice(value, -1, channel, channel + 1));
}

/** [hue, saturation, value] */
function toHsv(node: Conversion, image: string): string[] {
  const math = new Arithmetic(node);
  const [red, green, blue] = channels(node, image);
  const value = math.apply("Max", red, green, blue);
  const spread = math.apply("Sub", value, math.apply("Min", red, green, blue));
  const isGrey = math.apply("Equal", spread, 0);
  const ratio = math.apply("Div", spread, math.apply("Where", math.apply("Greater", value, 0), value, 1));
  const saturation = math.apply("Where", math.apply("Greater", value, 0), ratio, 0);
  const sixths = math.apply("Mul", math.apply("Where", isGrey, 1, spread), 6);
  const hueFrom = (left: string, right: string, offset: number) =>
    math.apply("Add", math.apply("Div", math.apply("Sub", left, right), sixths), offset);
  const notRed = math.apply("Where", math.apply("Equal", green, value), hueFrom(blue, red, 1 / 3), hueFrom(red, green, 2 / 3));
  const turned = math.apply("Where", math.apply("Equal", red, value), hueFrom(green, blue, 0), notRed);
  const hue = math.apply("Where", math.apply("Less", turned, 0), math.apply("Add", turned, 1), turned);
  return [math.apply("Where", isGrey, 0, hue), saturation, value];
}

function toRgb(node: Conversion, [hue, saturation, value]: readonly string[]): string {
  const math = new Arithmetic(node);
  const turn = math.apply("Mul", hue, 6);
  const distance = (from: number) => math.apply("Abs", math.apply("Sub", turn, from));
  const shares = [
    math.clamp(math.apply("Sub", distance(3), 1)),
    math.clamp(math.apply("Sub", 2, distance(2))),
    math.clamp(math.apply("Sub", 2, distance(4))),
  ];
  const grey = math.apply("Sub", 1, saturation);
  const parts = shares.map((share) => math.apply("Mul", math.apply("Add", grey, math.apply("Mul", saturation, share)), value));
  return node.concat(parts, -1);
}

/** Distances from each channel's mean over the image, times a factor. */
const contrast: Rule = (node) => {
  const [image, factor] = node.inputs;
  const mean = node.reduce("ReduceMean", image, [-3, -2], true);
  const scaled = node.emit("Mul", [node.emit("Sub", [image, mean]), node.cast(factor, node.dtypeOf(image))]);
  return [node.emit("Add", [scaled, mean])];
};

const saturation: Rule = (node) => {
  const math = new Arithmetic(node);
  const [hue, amount, value] = toHsv(node, node.inputs[0]);
  return [toRgb(node, [hue, math.clamp(math.apply("Mul", amount, node.inputs[1])), value])];
};

/** Round the circle of hues: what goes beyond comes in at the other end. */
const hue: Rule = (node) => {
  const math = new Arithmetic(node);
  const [angle, amount, value] = toHsv(node, node.inputs[0]);
  const turned = math.apply("Add", angle, node.inputs[1]);
  return [toRgb(node, [math.apply("Sub", turned, math.apply("Floor", turned)), amount, value])];
};

export const colourRules: Rules = {
  AdjustContrastv2: contrast,
  AdjustHue: hue,
  AdjustSaturation: saturation,
  HSVToRGB: (node) => [toRgb(node, channels(node, node.inputs[0]))],
  RGBToHSV: (node) => [node.concat(toHsv(node, node.inputs[0]), -1)],
};
