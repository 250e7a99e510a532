/** Joins pointwise operators to the node before them as its epilogue: they then run on the value before it is stored. */
import { type EpilogueStep, type Graph, isStatic, type Node } from "../graph/graph.js";
import { isWide } from "../graph/tensor.js";
import { loweringTraits } from "../operators/traits.js";
import { isKept, type NormaliseOptions } from "./options.js";
import { type Patch, type Rule, rewrite, type View } from "./rewrite.js";

/** Steps of one epilogue at most. */
const MAX_STEPS = 12;
/** Values besides the running one that one epilogue may read; constants of one element are part of the instruction. */
const MAX_OPERANDS = 4;

/** A new step reads its operands from inputs beyond the carrier's own, absent optional ones of which become "". */
function appendStep(carrier: Node, step: Node, ownInputs: number, view: View): Node | undefined {
  const running = carrier.outputs[0];
  const inputs = [...carrier.inputs];
  const read = step.inputs.map((input) => {
    if (input === running) return null;
    const known = inputs.indexOf(input, ownInputs);
    if (known >= 0) return known;
    while (inputs.length < ownInputs) inputs.push("");
    return inputs.push(input) - 1;
  });
  const epilogue: EpilogueStep[] = [
    ...(carrier.epilogue ?? []),
    { op: step.op, attributes: step.attributes, operands: read, origins: step.origins },
  ];
  const operands = inputs.slice(ownInputs).filter((input) => view.constant(input)?.data.length !== 1);
  if (epilogue.length > MAX_STEPS || operands.length > MAX_OPERANDS) return undefined;
  return { ...carrier, inputs, outputs: [step.outputs[0]], epilogue };
}

/** Same shape, and the same type unless the step is there to change it. */
function keepsType(before: string, step: Node, view: View): boolean {
  const [from, to] = [view.type(before), view.type(step.outputs[0])];
  if (!isStatic(from) || !isStatic(to)) return false;
  const sameShape = from.shape.length === to.shape.length && from.shape.every((extent, axis) => extent === to.shape[axis]);
  return sameShape && (from.dtype === to.dtype || step.op === "Cast");
}

interface Roles {
  readonly steps: ReadonlySet<string>;
  /** Number of inputs of its own that a node's operator has, by node name: where its epilogue's inputs start. */
  readonly carriers: ReadonlyMap<string, number>;
}

/** Who may be a step and who may carry one, by node name; decided before anything is fused. */
function assignRoles(graph: Graph, options: NormaliseOptions): Roles {
  const { recordOf, runsOnNeuron } = options.operators;
  const steps = new Set<string>();
  const carrying = new Map<string, number>();
  for (const node of graph.nodes) {
    const record = recordOf(node.op, node.domain);
    // Those on 64-bit elements become operators on their words, which no epilogue has.
    if ([...node.inputs, ...node.outputs].some((value) => isWide(graph.types.get(value)?.dtype) && !graph.constants.has(value))) continue;
    if (!record?.lowering || node.epilogue || node.outputs.length !== 1 || isKept(node, options) || !runsOnNeuron(graph, node)) continue;
    if (record.lowering.kind === "pointwise" && node.domain === "") steps.add(node.name);
    // A variadic operator's own inputs have no end that an epilogue's could follow: it takes steps only as one operand among many.
    if (loweringTraits[record.lowering.kind].carriesEpilogue && Number.isFinite(record.maxInputs))
      carrying.set(node.name, record.maxInputs);
  }
  return { steps, carriers: carrying };
}

/**
 * The node that `step` joins: the latest of those that make an input which only `step` uses. Everything else that `step` reads is
 * made before it and does not depend on that node, whose only reader is `step`.
 */
function carrierOf(step: Node, roles: Roles, view: View): Node | undefined {
  let latest: Node | undefined;
  for (const input of new Set(step.inputs)) {
    const producer = view.producer(input);
    if (!producer || !roles.carriers.has(producer.name) || view.useCount(input) !== 1 || view.isOutput(input)) continue;
    if (!keepsType(input, step, view)) continue;
    if (latest === undefined || view.position(producer) > view.position(latest)) latest = producer;
  }
  return latest;
}

function epilogueRule(roles: Roles): Rule {
  return {
    name: "epilogue",
    pattern: {},
    replace({ root }, view): Patch | undefined {
      if (root.epilogue || !roles.steps.has(root.name)) return undefined;
      const carrier = carrierOf(root, roles, view);
      const fused = carrier && appendStep(carrier, root, roles.carriers.get(carrier.name)!, view);
      return fused && { nodes: [fused] };
    },
  };
}

/** The fuse pass. Node names are unique; a fused node has its carrier's name, origins in node and steps stay apart. */
export function fuse(graph: Graph, options: NormaliseOptions): Graph {
  return rewrite(graph, [epilogueRule(assignRoles(graph, options))], options);
}
