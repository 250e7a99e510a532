/**
 * Operators on 64-bit elements as operators on their 32-bit words. Inside a NeuronCore's subgraph such a tensor is two of int32 with its
 * shape, one of the lower words and one of the upper ones.
 */
import type { Attribute, Node } from "../graph/graph.js";
import { type DType, isWide } from "../graph/tensor.js";
import type { Builder } from "./builder.js";
import { recordOf } from "./registry.js";

/** Values that hold the words of one tensor. */
export interface Words {
  readonly low: string;
  readonly high: string;
}

export type Operand = Words | string;

/** What an operator makes of its operands, of which those of a wide type come as words. */
type WordRule = (builder: Builder, operands: readonly Operand[], use: WordUse) => readonly Operand[];

interface WordUse {
  readonly node: Node;
  /** Whether the wide operands are without a sign. */
  readonly unsigned: boolean;
  /** Types of the inputs and of the first output. */
  readonly inputs: readonly (DType | undefined)[];
  readonly output: DType;
}

/** The operator on either word, where it moves, chooses or treats bits each for itself. */
const each: WordRule = (builder, operands, { node }) => {
  const half = (part: keyof Words): readonly string[] =>
    builder.all(
      node.op,
      operands.map((operand) => (typeof operand === "string" ? operand : operand[part])),
      node.attributes,
      node.outputs.length,
    );
  const [low, high] = [half("low"), half("high")];
  return low.map((value, index) => ({ low: value, high: high[index] }));
};

/** A rule of operands that are all wide. */
const ofWords =
  (rule: (builder: Builder, words: readonly Words[], use: WordUse) => Operand): WordRule =>
  (builder, operands, use) => [
    rule(
      builder,
      operands.flatMap((operand) => (typeof operand === "string" ? [] : [operand])),
      use,
    ),
  ];

const unsignedLess = (builder: Builder, a: string, b: string): string =>
  builder.op("Less", [builder.cast(a, "uint32"), builder.cast(b, "uint32")]);

function less(builder: Builder, a: Words, b: Words, unsigned: boolean): string {
  const above = unsigned ? unsignedLess(builder, a.high, b.high) : builder.op("Less", [a.high, b.high]);
  const level = builder.op("And", [builder.op("Equal", [a.high, b.high]), unsignedLess(builder, a.low, b.low)]);
  return builder.op("Or", [above, level]);
}

const choose = (builder: Builder, condition: string, a: Words, b: Words): Words => ({
  low: builder.op("Where", [condition, a.low, b.low]),
  high: builder.op("Where", [condition, a.high, b.high]),
});

function add(builder: Builder, a: Words, b: Words): Words {
  const low = builder.op("Add", [a.low, b.low]);
  const carry = builder.cast(unsignedLess(builder, low, a.low), "int32");
  return { low, high: builder.op("Add", [builder.op("Add", [a.high, b.high]), carry]) };
}

function subtract(builder: Builder, a: Words, b: Words): Words {
  const borrow = builder.cast(unsignedLess(builder, a.low, b.low), "int32");
  const high = builder.op("Sub", [builder.op("Sub", [a.high, b.high]), borrow]);
  return { low: builder.op("Sub", [a.low, b.low]), high };
}

const zero = (builder: Builder): Words => ({ low: builder.typed("int32", 0), high: builder.typed("int32", 0) });
const negative = (builder: Builder, { high }: Words): string => builder.op("Less", [high, builder.typed("int32", 0)]);

/** The lower words' product from those of their halves; the upper words add theirs. */
function multiply(builder: Builder, a: Words, b: Words): Words {
  const right: Attribute = { type: "string", value: "RIGHT" };
  const left: Attribute = { type: "string", value: "LEFT" };
  const half = builder.typed("uint32", 16);
  const mask = builder.typed("uint32", 0xffff);
  const upper = (value: string) => builder.op("BitShift", [value, half], { direction: right });
  const lower = (value: string) => builder.op("BitwiseAnd", [value, mask]);
  const [x, y] = [a, b].map(({ low }) => builder.cast(low, "uint32"));
  const product = (p: string, q: string) => builder.op("Mul", [p, q]);
  const sum = (p: string, q: string) => builder.op("Add", [p, q]);
  const least = product(lower(x), lower(y));
  const first = sum(product(lower(x), upper(y)), upper(least));
  const second = sum(product(upper(x), lower(y)), lower(first));
  const most = sum(sum(product(upper(x), upper(y)), upper(first)), upper(second));
  const low = builder.op("BitwiseOr", [builder.op("BitShift", [second, half], { direction: left }), lower(least)]);
  const crossed = sum(product(a.high, b.low), product(a.low, b.high));
  return { low: builder.cast(low, "int32"), high: sum(builder.cast(most, "int32"), crossed) };
}

const extreme = (smallest: boolean): WordRule =>
  ofWords((builder, words, { unsigned }) =>
    words.reduce((a, b) => choose(builder, smallest ? less(builder, a, b, unsigned) : less(builder, b, a, unsigned), a, b)),
  );

/** Bounds that are absent are "". */
const clip: WordRule = (builder, [x, low = "", high = ""], use) => {
  const floor = low === "" ? x : extreme(false)(builder, [x, low], use)[0];
  return [high === "" ? floor : extreme(true)(builder, [floor, high], use)[0]];
};

const compare = (swap: boolean, not: boolean): WordRule =>
  ofWords((builder, [a, b], { unsigned }) => {
    const isLess = swap ? less(builder, b, a, unsigned) : less(builder, a, b, unsigned);
    return not ? builder.op("Not", [isLess]) : isLess;
  });

/** To a narrower type the lower words; to a wider one with the sign of what has one. */
const cast: WordRule = (builder, [x], { inputs: [from = "int32"], output }) => {
  if (typeof x !== "string") {
    if (isWide(output)) return [x];
    return [builder.cast(output === "bool" ? builder.op("BitwiseOr", [x.low, x.high]) : x.low, output)];
  }
  const low = builder.cast(x, "int32");
  const none = builder.typed("int32", 0);
  const signed = from.startsWith("int");
  const sign = signed ? builder.op("Min", [builder.op("Max", [low, builder.typed("int32", -1)]), none]) : undefined;
  return [{ low, high: sign ?? builder.expand(none, builder.shape(low)) }];
};

const rules: Readonly<Record<string, WordRule>> = {
  Where: each,
  BitwiseAnd: each,
  BitwiseOr: each,
  BitwiseXor: each,
  BitwiseNot: each,
  Add: ofWords((builder, [a, b]) => add(builder, a, b)),
  Sub: ofWords((builder, [a, b]) => subtract(builder, a, b)),
  Mul: ofWords((builder, [a, b]) => multiply(builder, a, b)),
  Neg: ofWords((builder, [x]) => subtract(builder, zero(builder), x)),
  Abs: ofWords((builder, [x], { unsigned }) =>
    unsigned ? x : choose(builder, negative(builder, x), subtract(builder, zero(builder), x), x),
  ),
  Max: extreme(false),
  Min: extreme(true),
  Clip: clip,
  Equal: ofWords((builder, [a, b]) => builder.op("And", [builder.op("Equal", [a.low, b.low]), builder.op("Equal", [a.high, b.high])])),
  Less: compare(false, false),
  Greater: compare(true, false),
  LessOrEqual: compare(true, true),
  GreaterOrEqual: compare(false, true),
  Cast: cast,
};

/** The rule of an operator that the check lets through with operands or results of a wide type. */
export function wordRule(op: string): WordRule {
  const rule = rules[op] ?? (recordOf(op, "")?.lowering?.kind === "movement" ? each : undefined);
  if (rule === undefined) throw new Error(`${op} has no form in words`);
  return rule;
}

/** Inputs whose elements end in the result, where their type is wide; the others say what to do or where to look. */
export function holdsElements(node: Node, index: number): boolean {
  const record = recordOf(node.op, node.domain);
  const isFill = node.op === "Pad" && index === 2;
  return isFill || !(record?.parameters?.includes(index) || record?.inputTypes?.[index]);
}
