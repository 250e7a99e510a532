/** Single operators as TensorFlow 2.15.1 computes them (`operators.json`: attributes, inputs and outputs, recorded from `tf.raw_ops`). */
import { readFileSync } from "node:fs";
import { expect, test } from "vitest";
import { convertTensorFlow } from "../../../src/frontend/tensorflow/convert/convert.js";
import type { FlatAttribute, FlatGraph } from "../../../src/frontend/tensorflow/flat.js";
import { type DType, fromNumbers, isFloat, type Tensor, toNumbers } from "../../../src/graph/tensor.js";
import { verifyGraph } from "../../../src/graph/verify.js";
import { runGraph } from "../../../src/host/index.js";
import { constant, flatNode } from "./flat-build.js";

interface Recorded {
  readonly dtype: DType;
  readonly shape: readonly number[];
  readonly values: readonly (number | string)[];
}

interface Case {
  readonly op: string;
  readonly attributes: Readonly<Record<string, FlatAttribute>>;
  /** One that is not constant is an input of the graph. */
  readonly inputs: readonly (Recorded & { readonly name: string; readonly constant?: boolean })[];
  readonly outputs: readonly Recorded[];
}

const cases: readonly Case[] = JSON.parse(readFileSync(new URL("operators.json", import.meta.url), "utf8"));

const numbers = ({ values }: Recorded): number[] => values.map(Number);

function graphOf({ op, attributes, inputs, outputs }: Case): FlatGraph {
  const live = inputs.filter((input) => !input.constant);
  const fixed = inputs.filter((input) => input.constant);
  const node = flatNode(
    "node",
    op,
    inputs.map(({ name }) => name),
    attributes,
  );
  return {
    name: op,
    inputs: live.map(({ name, dtype, shape }) => ({ key: name, name: `${name}:0`, value: { node: name, output: 0 }, dtype, shape })),
    outputs: outputs.map(({ dtype }, output) => ({
      key: `${output}`,
      name: `node:${output}`,
      value: { node: "node", output },
      dtype,
      shape: undefined,
    })),
    nodes: [
      ...live.map(({ name }) => flatNode(name, "Placeholder", [])),
      ...fixed.map((input) => constant(input.name, input.shape, numbers(input), input.dtype)),
      node,
    ],
  };
}

test.each(cases.map((each, index) => [`${each.op} ${index}`, each] as const))("%s", async (_, each) => {
  const { graph } = convertTensorFlow(graphOf(each));
  expect(verifyGraph(graph)).toEqual([]);
  const feeds = each.inputs.map((input): [string, Tensor] => [`${input.name}:0`, fromNumbers(input.dtype, input.shape, numbers(input))]);
  const results = await runGraph(graph, new Map(feeds.filter(([name]) => graph.inputs.includes(name))));
  for (const [output, wanted] of each.outputs.entries()) {
    const got = results.get(`node:${output}`);
    expect({ dtype: got?.dtype, shape: got?.shape }).toEqual({ dtype: wanted.dtype, shape: wanted.shape });
    const values = got ? toNumbers(got) : [];
    for (const [index, value] of numbers(wanted).entries()) {
      const room = isFloat(wanted.dtype) ? 1e-3 * Math.abs(value) + 1e-5 : 0;
      const isSame = Object.is(values[index], value) || Math.abs(values[index] - value) <= room;
      if (!isSame) throw new Error(`output ${output}, element ${index}: ${values[index]}, TensorFlow has ${value}`);
    }
  }
});
