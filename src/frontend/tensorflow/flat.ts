/**
 * A TensorFlow model as reading leaves it and converting takes it: one signature, frozen and flat. Variables and read-only state have
 * become `Const` nodes, calls are inlined, what the signature does not need is gone, default attributes are restored.
 */
import type { DType, Tensor } from "../../graph/tensor.js";

/** An output of a node. */
export interface FlatReference {
  readonly node: string;
  readonly output: number;
}

/** A shape with -1 for an open extent; undefined where even the rank is unknown. */
export type FlatShape = readonly number[] | undefined;

export type FlatAttribute =
  | { readonly type: "string"; readonly value: string }
  | { readonly type: "int"; readonly value: number }
  | { readonly type: "float"; readonly value: number }
  | { readonly type: "bool"; readonly value: boolean }
  | { readonly type: "dtype"; readonly value: DType | "resource" | "variant" }
  | { readonly type: "shape"; readonly value: FlatShape }
  | { readonly type: "tensor"; readonly value: Tensor }
  /** The body that a control-flow node (`While`, `If`, `Case`) calls, its own calls inlined. */
  | { readonly type: "function"; readonly value: FlatGraph }
  /** The bodies of a `Case`, in the order of its branches. */
  | { readonly type: "functions"; readonly value: readonly FlatGraph[] }
  | {
      readonly type: "list";
      readonly value: readonly (string | number | boolean | FlatShape)[];
    };

export interface FlatNode {
  /** The name in the source model; after inlining with the call's name before it, `call/inner`. */
  readonly name: string;
  readonly op: string;
  readonly inputs: readonly FlatReference[];
  /** By name, the operator's defaults included. */
  readonly attributes: ReadonlyMap<string, FlatAttribute>;
}

/** An input or output of the signature, or an argument or result of a control-flow body. */
export interface FlatValue {
  /** The signature's key, or the argument's name. */
  readonly key: string;
  /** As the vendor's tools name tensors: `x:0`. */
  readonly name: string;
  readonly value: FlatReference;
  readonly dtype: DType | "resource" | "variant";
  readonly shape: FlatShape;
}

export interface FlatGraph {
  readonly name: string;
  readonly inputs: readonly FlatValue[];
  readonly outputs: readonly FlatValue[];
  /** In a topological order. An input's node is here too, as `Placeholder` or as the node at which the graph was cut. */
  readonly nodes: readonly FlatNode[];
}
