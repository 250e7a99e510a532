/** The support tables in `ops/`, from the operator records. */
import { convertibleOperators } from "../frontend/tensorflow/convert/convert.js";
import { neededOperator } from "../frontend/tensorflow/convert/needs.js";
import { isSupportedTensorFlow } from "../frontend/tensorflow/convert/supported.js";
import { allRecords, isSupported } from "../operators/index.js";
import type { AttributeSpec, OperatorRecord } from "../operators/record.js";
import { deviceTypes } from "../program/program.js";

function attributeText(spec: AttributeSpec): string {
  if (spec.required) return `${spec.type}, required`;
  return spec.default === undefined ? spec.type : `${spec.type}, default ${JSON.stringify(spec.default)}`;
}

function row(record: OperatorRecord) {
  const supported = isSupported(record);
  return {
    operator: record.name,
    since: record.since,
    supported,
    ...(record.summary ? { summary: record.summary } : {}),
    ...(supported
      ? {
          lowering: record.lowering?.kind ?? (record.isConstant ? "constant" : "decomposed"),
          exactness: record.exactness,
          types: record.types ?? deviceTypes,
          ...(record.inputTypes ? { inputTypes: record.inputTypes } : {}),
          ...(record.parameters ? { constantInputs: record.parameters } : {}),
        }
      : {}),
    attributes: Object.fromEntries(Object.entries(record.attributes).map(([name, spec]) => [name, attributeText(spec)])),
  };
}

/** What holds for every operator beside its own row, by the rule that a refusal names. */
const conditions: Readonly<Record<string, string>> = {
  "dynamic-shape": "every input and output has a static shape",
  empty: "every input and output has at least one element",
  dtype: "element types are those of types, or of inputTypes for the inputs that it names",
  "not-constant": "the inputs in constantInputs are constants, or fixed by --input-value",
};

/** Of the formatter. */
const LINE_WIDTH = 140;

/** Indented, with lists of plain values on one line where they fit, as the formatter has it. */
function json(value: unknown): string {
  const lists = /\[\n\s+([^[\]{}]*?)\n\s+\]/g;
  const text = JSON.stringify(value, null, 2).replace(lists, (list: string, items: string, at: number, whole: string) => {
    const line = `[${items.replace(/\n\s+/g, " ")}]`;
    return at - whole.lastIndexOf("\n", at) + line.length < LINE_WIDTH ? line : list;
  });
  return `${text}\n`;
}

/** File name and content of each table. */
export function tables(): ReadonlyMap<string, string> {
  const tensorFlow = convertibleOperators.map((operator) => {
    const needs = neededOperator(operator);
    return { operator, supported: isSupportedTensorFlow(operator), ...(needs === undefined ? {} : { needs }) };
  });
  return new Map([
    ["onnx.json", json({ framework: "ONNX", conditions, operators: allRecords().map(row) })],
    ["tensorflow.json", json({ framework: "TENSORFLOW", operators: tensorFlow })],
  ]);
}
