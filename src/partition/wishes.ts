/** The user's `--no-fuse-ops` and `--force-fuse-ops`: names of source operators, resolved to nodes. */
import { type Diagnostic, diagnostic, UserError } from "../diagnostics/diagnostic.js";
import { didYouMean } from "../diagnostics/suggest.js";
import type { Graph, Node } from "../graph/graph.js";
import type { Reason } from "../operators/record.js";

/** Names of the source operators that a node stands for, its epilogue's included; its own name where it stands for none. */
export function sourceOperators(node: Node): string[] {
  const names = [...node.origins, ...(node.epilogue ?? []).flatMap((step) => step.origins)];
  return names.length > 0 ? names : [node.name];
}

/** By node name: the name of the list that put it there. */
export interface Wishes {
  readonly noFuse: ReadonlyMap<string, string>;
  readonly forceFuse: ReadonlyMap<string, string>;
}

/**
 * `sourceNames` are operators that the model had and the graph may have no more (folded, removed): naming one asks for nothing.
 * Errors: NCC0560 unknown name, NCC0561 name in both lists, NCC0562 forced operator that can't run on a NeuronCore.
 */
export function resolveWishes(
  graph: Graph,
  verdicts: ReadonlyMap<string, Reason | undefined>,
  lists: { readonly noFuse: ReadonlySet<string>; readonly forceFuse: ReadonlySet<string>; readonly sourceNames?: ReadonlySet<string> },
): Wishes {
  const nodesByName = new Map<string, Node[]>();
  for (const node of graph.nodes) {
    for (const name of new Set([node.name, ...sourceOperators(node)])) {
      const nodes = nodesByName.get(name);
      if (nodes) nodes.push(node);
      else nodesByName.set(name, [node]);
    }
  }
  const faults: Diagnostic[] = [];
  const resolve = (flag: string, names: ReadonlySet<string>) => {
    const found = new Map<string, string>();
    for (const name of names) {
      for (const node of nodesByName.get(name) ?? []) found.set(node.name, name);
      if (nodesByName.has(name) || lists.sourceNames?.has(name)) continue;
      const known = lists.sourceNames ? [...lists.sourceNames] : [...nodesByName.keys()];
      faults.push(diagnostic("NCC0560", { flag, name, suggestion: didYouMean(name, known) }));
    }
    return found;
  };
  const noFuse = resolve("--no-fuse-ops", lists.noFuse);
  const forceFuse = resolve("--force-fuse-ops", lists.forceFuse);
  for (const node of graph.nodes) {
    const name = forceFuse.get(node.name);
    if (name === undefined) continue;
    const excluding = noFuse.get(node.name);
    if (excluding !== undefined) faults.push(diagnostic("NCC0561", { first: name, second: excluding }));
    const reason = verdicts.get(node.name);
    if (reason)
      faults.push(diagnostic("NCC0562", { name, op: node.op, ...reason, hint: reason.nearest === "" ? "" : `; ${reason.nearest}` }));
  }
  if (faults.length > 0) throw new UserError(faults);
  return { noFuse, forceFuse };
}
