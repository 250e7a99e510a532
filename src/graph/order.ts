/** Topological order, iterative: graphs may be as deep as they have nodes. */
import { capturedValues, type Node } from "./graph.js";

export type Ordering<T> =
  | { readonly kind: "ordered"; readonly items: readonly T[] }
  /** Each item of the cycle depends on the one before it, the first on the last. */
  | { readonly kind: "cycle"; readonly items: readonly T[] };

/**
 * The items with every item after its dependencies. Items that are in order already keep their order: an item moves only to
 * precede one that needs it. Dependencies that are not among `items` are ignored.
 */
export function orderItems<T>(items: readonly T[], dependencies: (item: T) => Iterable<T>): Ordering<T> {
  const known = new Set(items);
  const state = new Map<T, "open" | "done">();
  const ordered: T[] = [];
  const path: { readonly item: T; readonly rest: Iterator<T> }[] = [];
  const open = (item: T) => {
    state.set(item, "open");
    path.push({ item, rest: dependencies(item)[Symbol.iterator]() });
  };
  for (const root of items) {
    if (!state.has(root)) open(root);
    while (path.length > 0) {
      const { item, rest } = path[path.length - 1];
      const next = rest.next();
      if (next.done) {
        path.pop();
        state.set(item, "done");
        ordered.push(item);
      } else if (known.has(next.value)) {
        const seen = state.get(next.value);
        if (seen === undefined) open(next.value);
        else if (seen === "open") {
          const onPath = path.map((entry) => entry.item);
          return { kind: "cycle", items: onPath.slice(onPath.indexOf(next.value)).reverse() };
        }
      }
    }
  }
  return { kind: "ordered", items: ordered };
}

/** Nodes with every producer before its users; values that subgraph attributes capture count as uses. */
export function topologicalOrder(nodes: readonly Node[]): Ordering<Node> {
  const producer = new Map<string, Node>();
  for (const node of nodes) for (const output of node.outputs) if (output !== "") producer.set(output, node);
  return orderItems(nodes, (node) =>
    [...node.inputs, ...capturedValues(node)].flatMap((value) => {
      const source = producer.get(value);
      return source === undefined ? [] : [source];
    }),
  );
}
