/** What the rules of `upgrade.ts` are made of. */
import type { Attributes, Node, TensorType } from "../../graph/graph.js";
import type { Tensor } from "../../graph/tensor.js";

/** What a rule may know and do beside returning nodes. */
export interface UpgradeContext {
  /** What is known of a value's type; the shape may be unknown, or have unknown extents. */
  typeOf(value: string): TensorType | undefined;
  constantOf(value: string): Tensor | undefined;
  /** Adds a constant; returns its value's name, made from `base`. */
  addConstant(base: string, tensor: Tensor): string;
  /** A value name that nothing uses, made from `base`. */
  freshValue(base: string): string;
  /** Ends the import with a UserError: this use has no equal in the pinned opset. */
  refuse(node: Node, reason: string): never;
}

/** The node's equal, one version on. The node that stands for the original keeps its name. */
export type Upgrade = (node: Node, context: UpgradeContext) => readonly Node[];

export function withoutAttributes(attributes: Attributes, ...names: readonly string[]): Attributes {
  return Object.fromEntries(Object.entries(attributes).filter(([name]) => !names.includes(name)));
}

/** The node with one input set, absent ones before it filled in. */
export function withInput(node: Node, index: number, value: string): Node {
  const inputs = [...node.inputs];
  while (inputs.length < index) inputs.push("");
  inputs[index] = value;
  return { ...node, inputs };
}
