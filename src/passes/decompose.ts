/** Replaces composite operators by the smaller ones that they are made of. */
import type { Graph, Node } from "../graph/graph.js";
import { fold } from "./fold.js";
import { isKept, type NormaliseOptions } from "./options.js";

/** A decomposition may hold operators that decompose again; more levels than this are a mistake in the rules. */
const MAX_LEVELS = 10;

function decomposeOnce(graph: Graph, options: NormaliseOptions): Graph {
  const constants = new Map(graph.constants);
  const types = new Map(graph.types);
  let changed = false;
  const nodes = graph.nodes.flatMap((node): readonly Node[] => {
    const parts = isKept(node, options) ? undefined : options.operators.decompose(graph, node);
    if (parts === undefined) return [node];
    changed = true;
    for (const [name, tensor] of parts.constants) constants.set(name, tensor);
    for (const [name, type] of parts.types) types.set(name, type);
    return parts.nodes;
  });
  return changed ? { ...graph, nodes, constants, types } : graph;
}

/** The decompose pass; what it makes of constants is folded. */
export async function decompose(graph: Graph, options: NormaliseOptions): Promise<Graph> {
  let current = graph;
  for (let level = 0; level < MAX_LEVELS; level++) {
    const next = decomposeOnce(current, options);
    if (next === current) return level === 0 ? graph : await fold(current, options);
    current = next;
  }
  throw new Error("decomposition does not end");
}
