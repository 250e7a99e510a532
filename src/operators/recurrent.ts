/** RNN, GRU and LSTM, written out step by step. */
import { floatAttribute, intAttribute, stringAttribute } from "../graph/graph.js";
import { toNumbers } from "../graph/tensor.js";
import { type Builder, MOST_STEPS, type Rule, range } from "./builder.js";
import type { OperatorUse, Reason } from "./record.js";
import { reason, staticShape } from "./shapes.js";

type Activation = (builder: Builder, x: string, alpha: number, beta: number) => string;

const float = (name: string, value: number) => ({ [name]: { type: "float" as const, value } });
const plain =
  (op: string): Activation =>
  (builder, x) =>
    builder.op(op, [x]);
const scaledBy = (builder: Builder, x: string, factor: number): string => builder.op("Mul", [x, builder.scalar(factor)]);

/** The activations by their names in lower case, with the defaults of alpha and beta where they take them. */
const activations: Readonly<Record<string, { readonly apply: Activation; readonly alpha?: number; readonly beta?: number }>> = {
  affine: { apply: (b, x, alpha, beta) => b.op("Add", [scaledBy(b, x, alpha), b.scalar(beta)]), alpha: 1, beta: 0 },
  elu: { apply: (b, x, alpha) => b.op("Elu", [x], float("alpha", alpha)), alpha: 1 },
  hardsigmoid: {
    apply: (b, x, alpha, beta) => b.op("HardSigmoid", [x], { ...float("alpha", alpha), ...float("beta", beta) }),
    alpha: 0.2,
    beta: 0.5,
  },
  leakyrelu: { apply: (b, x, alpha) => b.op("LeakyRelu", [x], float("alpha", alpha)), alpha: 0.01 },
  relu: { apply: plain("Relu") },
  scaledtanh: { apply: (b, x, alpha, beta) => scaledBy(b, b.op("Tanh", [scaledBy(b, x, beta)]), alpha), alpha: 1, beta: 1 },
  sigmoid: { apply: plain("Sigmoid") },
  softplus: { apply: plain("Softplus") },
  softsign: { apply: plain("Softsign") },
  tanh: { apply: plain("Tanh") },
  thresholdedrelu: { apply: (b, x, alpha) => b.op("ThresholdedRelu", [x], float("alpha", alpha)), alpha: 1 },
};

/** One direction of a layer: its weights [input, hidden] by gate, and what a step needs. */
interface Direction {
  /** W x + bias of a gate, of all steps: [steps, batch, hidden]. */
  readonly fromInput: readonly string[];
  /** R transposed, [hidden, hidden], by gate. */
  readonly recurrence: readonly string[];
  /** Recurrence bias [hidden] by gate, where it is not in `fromInput`. */
  readonly recurrenceBias: readonly (string | undefined)[];
  /** [hidden] by gate: LSTM's peepholes, for i, o, f. */
  readonly peepholes?: readonly string[];
  readonly activate: readonly ((x: string) => string)[];
}

interface State {
  readonly hidden: string;
  readonly cell?: string;
}

interface Cell {
  readonly gates: number;
  readonly activations: readonly string[];
  /** Gates whose recurrence bias has to stay apart. */
  apart?(use: OperatorUse): readonly number[];
  step(builder: Builder, use: OperatorUse, direction: Direction, at: number, before: State): State;
}

/** W x + R h + biases of one gate. */
function preactivation(builder: Builder, direction: Direction, gate: number, at: number, hidden: string): string {
  const own = fromInput(builder, direction, gate, at);
  return builder.op("Add", [builder.op("MatMul", [hidden, direction.recurrence[gate]]), own]);
}

function fromInput(builder: Builder, { fromInput: all }: Direction, gate: number, at: number): string {
  const [, batch, width] = builder.shape(all[gate]);
  return builder.reshape(builder.slice(all[gate], 0, at, at + 1), [batch, width]);
}

function clipped(builder: Builder, use: OperatorUse, x: string): string {
  const limit = floatAttribute(use.attributes, "clip", 0);
  return limit > 0 ? builder.op("Clip", [x, builder.scalar(-limit), builder.scalar(limit)]) : x;
}

/** h = f(W x + R h + b). */
const rnn: Cell = {
  gates: 1,
  activations: ["tanh"],
  step: (builder, use, direction, at, { hidden }) => ({
    hidden: direction.activate[0](clipped(builder, use, preactivation(builder, direction, 0, at, hidden))),
  }),
};

const linearBeforeReset = (use: OperatorUse): boolean => intAttribute(use.attributes, "linear_before_reset", 0) !== 0;

/** Gates z, r, h: h = (1 - z) g(W x + R (r h) + b) + z h, or with r (R h + b) where the product comes before the reset. */
const gru: Cell = {
  gates: 3,
  activations: ["sigmoid", "tanh"],
  apart: (use) => (linearBeforeReset(use) ? [2] : []),
  step: (builder, use, direction, at, { hidden }) => {
    const [gate, news] = direction.activate;
    const [update, reset] = [0, 1].map((index) => gate(clipped(builder, use, preactivation(builder, direction, index, at, hidden))));
    const bias = direction.recurrenceBias[2];
    const product = (value: string): string => builder.op("MatMul", [value, direction.recurrence[2]]);
    const recalled = linearBeforeReset(use)
      ? builder.op("Mul", [reset, bias ? builder.op("Add", [product(hidden), bias]) : product(hidden)])
      : product(builder.op("Mul", [reset, hidden]));
    const candidate = news(clipped(builder, use, builder.op("Add", [recalled, fromInput(builder, direction, 2, at)])));
    const kept = builder.op("Mul", [update, builder.op("Sub", [hidden, candidate])]);
    return { hidden: builder.op("Add", [candidate, kept]) };
  },
};

/** Gates i, o, f, c with peepholes i, o, f: C = f C + i g(...), H = o h(C). */
const lstm: Cell = {
  gates: 4,
  activations: ["sigmoid", "tanh", "tanh"],
  step: (builder, use, direction, at, { hidden, cell = "" }) => {
    const [gate, news, out] = direction.activate;
    const seen = (index: number, peephole: number, state: string): string => {
      const sum = preactivation(builder, direction, index, at, hidden);
      const weights = direction.peepholes?.[peephole];
      return clipped(builder, use, weights ? builder.op("Add", [sum, builder.op("Mul", [state, weights])]) : sum);
    };
    const input = gate(seen(0, 0, cell));
    const coupled = intAttribute(use.attributes, "input_forget", 0) !== 0;
    const forget = coupled ? builder.op("Sub", [builder.scalar(1), input]) : gate(seen(2, 2, cell));
    const candidate = news(clipped(builder, use, preactivation(builder, direction, 3, at, hidden)));
    const next = builder.op("Add", [builder.op("Mul", [forget, cell]), builder.op("Mul", [input, candidate])]);
    const output = gate(seen(1, 1, next));
    return { hidden: builder.op("Mul", [output, out(next)]), cell: next };
  },
};

/**
 * The activations of direction `index`: by the attributes, else the cell's own. Each that takes an alpha or a beta has the next one of the list, over
 * all directions, as in ONNX Runtime; with too few in the list, its default.
 */
function activationsOf(builder: Builder, cell: Cell, use: OperatorUse, index: number): ((x: string) => string)[] | Reason {
  const names = use.attributes.activations?.type === "strings" ? use.attributes.activations.value : undefined;
  const valuesOf = (name: string): number[] => {
    const attribute = use.attributes[name];
    return attribute?.type === "floats" ? [...attribute.value] : [];
  };
  const [alphas, betas] = ["activation_alpha", "activation_beta"].map(valuesOf);
  const next = (list: number[], fallback: number | undefined): number => (fallback === undefined ? 0 : (list.shift() ?? fallback));
  const count = cell.activations.length;
  const result: ((x: string) => string)[] = [];
  for (const [at, name] of (names ?? [...cell.activations, ...cell.activations]).slice(0, (index + 1) * count).entries()) {
    const found = activations[name.toLowerCase()];
    if (found === undefined) return reason("attribute", "activations", name, Object.keys(activations).join(", "));
    const [alpha, beta] = [next(alphas, found.alpha), next(betas, found.beta)];
    if (at >= index * count) result.push((x) => found.apply(builder, x, alpha, beta));
  }
  return result;
}

/** Row `index` of the first axis, without that axis. */
function row(builder: Builder, value: string, index: number): string {
  return builder.reshape(builder.slice(value, 0, index, index + 1), builder.shape(value).slice(1));
}

/** x [steps, batch, features]; weights as the operator has them, gates one after the other in the rows. */
function directionOf(builder: Builder, cell: Cell, use: OperatorUse, x: string, index: number, activate: Direction["activate"]): Direction {
  const [, weights, recurrence, bias = "", , , , peepholes = ""] = use.node?.inputs ?? [];
  const hidden = staticShape(use, 2)[2];
  const gates = range(0, cell.gates);
  const rows = (value: string, first: number): string =>
    builder.slice(value, builder.shape(value).length - (builder.shape(value).length > 1 ? 2 : 1), first * hidden, (first + 1) * hidden);
  const ofGate = (value: string, gate: number): string => builder.transpose(rows(row(builder, value, index), gate), [1, 0]);
  const ofBias = (gate: number): string => rows(row(builder, bias, index), gate);
  const apart = cell.apart?.(use) ?? [];
  const all = gates.map((gate) => {
    const product = builder.op("MatMul", [x, ofGate(weights, gate)]);
    if (!bias) return product;
    const own = ofBias(gate);
    return builder.op("Add", [product, apart.includes(gate) ? own : builder.op("Add", [own, ofBias(cell.gates + gate)])]);
  });
  return {
    fromInput: all,
    recurrence: gates.map((gate) => ofGate(recurrence, gate)),
    recurrenceBias: gates.map((gate) => (bias && apart.includes(gate) ? ofBias(cell.gates + gate) : undefined)),
    ...(peepholes ? { peepholes: [0, 1, 2].map((gate) => rows(row(builder, peepholes, index), gate)) } : {}),
    activate,
  };
}

/** Whether every sequence has all the steps, so that lengths say nothing. */
function areWhole(use: OperatorUse, steps: number): boolean {
  return use.inputs[4] === undefined || (use.constants[4] !== undefined && toNumbers(use.constants[4]).every((length) => length === steps));
}

/** Runs one direction. Where a sequence has ended, its state stays and its output is 0. */
function runDirection(builder: Builder, cell: Cell, use: OperatorUse, direction: Direction, initial: State, order: readonly number[]) {
  const lengths = areWhole(use, order.length) ? undefined : use.node?.inputs[4];
  const outputs = new Array<string>(order.length).fill("");
  let state = initial;
  for (const at of order) {
    const next = cell.step(builder, use, direction, at, state);
    const batch = builder.shape(next.hidden)[0];
    const isOn =
      lengths && builder.op("Greater", [builder.reshape(builder.cast(lengths, "int32"), [batch, 1]), builder.typed("int32", at)]);
    const choose = (news: string, else_: string): string => (isOn ? builder.op("Where", [isOn, news, else_]) : news);
    outputs[at] = choose(next.hidden, builder.scalar(0));
    state = {
      hidden: choose(next.hidden, state.hidden),
      ...(next.cell && state.cell ? { cell: choose(next.cell, state.cell) } : {}),
    };
  }
  return { outputs, state };
}

/** With `layout` 1 the batch comes first, in the input, the states and the outputs. */
const swapped = [1, 0, 2];

const unrolled =
  (cell: Cell): Rule =>
  (builder, inputs, use) => {
    const batchFirst = intAttribute(use.attributes, "layout", 0) === 1;
    const x = batchFirst ? builder.transpose(inputs[0], swapped) : inputs[0];
    const [steps, batch] = builder.shape(x);
    const hidden = staticShape(use, 2)[2];
    if (steps > MOST_STEPS) return reason("size", "input 0", `${steps} steps`, `at most ${MOST_STEPS} steps`);
    const kind = stringAttribute(use.attributes, "direction", "forward");
    const orders = [...(kind === "reverse" ? [] : [range(0, steps)]), ...(kind === "forward" ? [] : [range(0, steps).reverse()])];
    const zeros = builder.values([batch, hidden], new Array<number>(batch * hidden).fill(0));
    const first = (input: string | undefined, index: number): string =>
      input ? row(builder, batchFirst ? builder.transpose(input, swapped) : input, index) : zeros;
    const results: ReturnType<typeof runDirection>[] = [];
    for (const [index, order] of orders.entries()) {
      const activate = activationsOf(builder, cell, use, index);
      if (!Array.isArray(activate)) return activate;
      const direction = directionOf(builder, cell, use, x, index, activate);
      const initial = { hidden: first(inputs[5], index), ...(cell === lstm ? { cell: first(inputs[6], index) } : {}) };
      results.push(runDirection(builder, cell, use, direction, initial, order));
    }
    const all = range(0, steps).flatMap((at) => results.map(({ outputs }) => builder.reshape(outputs[at], [1, 1, batch, hidden])));
    const sequence = builder.reshape(builder.concat(all, 0), [steps, orders.length, batch, hidden]);
    const last = (name: keyof State): string => {
      const states = results.map(({ state }) => builder.reshape(state[name] ?? zeros, [1, batch, hidden]));
      return batchFirst ? builder.transpose(builder.concat(states, 0), swapped) : builder.concat(states, 0);
    };
    const outputs = [batchFirst ? builder.transpose(sequence, [2, 0, 1, 3]) : sequence, last("hidden")];
    return cell === lstm ? [...outputs, last("cell")] : outputs;
  };

export const recurrentRules: Readonly<Record<string, Rule>> = { GRU: unrolled(gru), LSTM: unrolled(lstm), RNN: unrolled(rnn) };
