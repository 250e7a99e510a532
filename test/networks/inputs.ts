/** Seeded inputs of the generated networks. */
import { Random } from "../../models/random.js";
import type { Graph } from "../../src/graph/graph.js";
import { elementCount, int64Tensor, randomTensor, type Tensor } from "../../src/index.js";

/** Numbers that words may have: all below the extent of the table that they are looked up in. */
function vocabulary({ nodes, constants }: Graph, input: string): number {
  const lookUp = nodes.find(({ op, inputs }) => op === "Gather" && inputs[1] === input);
  return constants.get(lookUp?.inputs[0] ?? "")?.shape[0] ?? 1;
}

/** Of a graph with static inputs: normal values, random words, and an attention mask that hides the second half where `padded`. */
export function seededInputs(graph: Graph, seed: number, padded = false): Map<string, Tensor> {
  return new Map(
    graph.inputs.map((input) => {
      const type = graph.types.get(input);
      const shape = (type?.shape ?? []).map(Number);
      if (type?.dtype === "float32") return [input, randomTensor("float32", shape, seed, input)];
      const count = elementCount(shape);
      const [random, words] = [new Random(seed, input), vocabulary(graph, input)];
      const value = (index: number): number => {
        if (input === "attention_mask") return padded && index >= count / 2 ? 0 : 1;
        return input === "token_type_ids" ? 0 : Math.floor(random.uniform(0, words));
      };
      return [
        input,
        int64Tensor(
          shape,
          Array.from({ length: count }, (_, index) => value(index)),
        ),
      ];
    }),
  );
}
