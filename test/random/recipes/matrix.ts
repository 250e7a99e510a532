/** Products of matrices, and what is built of them. */
import { type Attribute, float, floatTypes, type Grower, int, LIMIT, text, type Value } from "../grower.js";
import type { Recipe } from "./recipe.js";

const product = { low: -4 * LIMIT, high: 4 * LIMIT, exact: false };

function floats(grower: Grower, ranks: readonly number[], dtypes = floatTypes): Value {
  const found = grower.find(({ dtype, shape }) => dtypes.includes(dtype) && ranks.includes(shape.length));
  return grower.fit(
    found ?? grower.input(dtypes.includes(grower.dtype) ? grower.dtype : dtypes[0], grower.shape(grower.draw.pick(ranks))),
    -4,
    4,
  );
}

/** A factor for `inner` columns: a constant, or, for batches of matrices, a value. */
function factor(grower: Grower, x: Value, inner: number): Value {
  const { draw, firstAxis } = grower;
  const columns = grower.extent();
  const lead = x.shape.slice(0, -2).map((size, axis) => (axis < firstAxis || draw.chance(0.7) ? size : 1));
  if (x.shape.length > 2 && draw.chance(0.4)) {
    const known = grower.find(
      ({ dtype, shape }) =>
        dtype === x.dtype &&
        shape.length === x.shape.length &&
        shape[shape.length - 2] === inner &&
        shape.slice(0, -2).every((size, axis) => size === x.shape[axis]),
    );
    return grower.fit(known ?? grower.input(x.dtype, [...lead, inner, columns]), -2, 2);
  }
  const shape = firstAxis === 0 && draw.chance(0.2) ? [...lead, inner, columns] : [inner, columns];
  return grower.constant(x.dtype, draw.chance(0.08) && x.shape.length > 1 ? [inner] : shape, false, 1 / Math.sqrt(inner));
}

function matmul(grower: Grower): unknown {
  const x = floats(
    grower,
    [1, 2, 2, 3, 3, 4].filter((rank) => rank > grower.firstAxis),
  );
  return grower.node("MatMul", [x, factor(grower, x, x.shape[x.shape.length - 1])], {}, product);
}

function gemm(grower: Grower): unknown {
  const x = floats(grower, [2]);
  const { draw, firstAxis } = grower;
  const [transA, transB] = [firstAxis === 0 && draw.chance(0.2), draw.chance(0.5)];
  const [rows, inner] = transA ? [x.shape[1], x.shape[0]] : x.shape;
  const columns = grower.extent();
  const weights = grower.constant(x.dtype, transB ? [columns, inner] : [inner, columns], false, 1 / Math.sqrt(inner));
  const biases = [
    [columns],
    [1, columns],
    [1],
    [],
    ...(firstAxis === 0
      ? [
          [rows, columns],
          [rows, 1],
        ]
      : []),
  ];
  const bias = draw.chance(0.7) ? grower.constant(x.dtype, draw.pick(biases), false) : undefined;
  const scaled: Record<string, Attribute> = draw.chance(0.3) ? { alpha: float(draw.real(-1, 1)), beta: float(draw.real(-1, 1)) } : {};
  return grower.node("Gemm", [x, weights, bias], { transA: int(transA ? 1 : 0), transB: int(transB ? 1 : 0), ...scaled }, product);
}

const equations: readonly { readonly equation: string; readonly rank: number; readonly weights: string }[] = [
  { equation: "ij,jk->ik", rank: 2, weights: "jk" },
  { equation: "ij,kj->ik", rank: 2, weights: "kj" },
  { equation: "bij,jk->bik", rank: 3, weights: "jk" },
  { equation: "bij,jk->bki", rank: 3, weights: "jk" },
  { equation: "bhij,hjk->bhik", rank: 4, weights: "hjk" },
  { equation: "bij,ij->bi", rank: 3, weights: "ij" },
  { equation: "bij->bji", rank: 3, weights: "" },
];

function einsum(grower: Grower): unknown {
  const { equation, rank, weights } = grower.draw.pick(equations);
  const x = floats(grower, [rank], ["float32"]);
  const [left, right] = equation.split("->");
  const sizes = new Map([...left.split(",")[0]].map((letter, axis) => [letter, x.shape[axis]]));
  for (const letter of weights) if (!sizes.has(letter)) sizes.set(letter, grower.draw.integer(1, 9));
  const shapeOf = (letters: string) => [...letters].map((letter) => sizes.get(letter) ?? 1);
  const inner = x.shape[x.shape.length - 1];
  const inputs = weights === "" ? [x] : [x, grower.constant("float32", shapeOf(weights), false, 1 / Math.sqrt(inner))];
  return grower.typed("Einsum", inputs, { equation: text(equation) }, { ...product, dtype: "float32", shape: shapeOf(right) });
}

/** Query, keys and values of one shape, [batch, heads, positions, size]. */
function attention(grower: Grower): unknown {
  const q = floats(grower, [4], ["float32"]);
  const { draw } = grower;
  const keys = draw.integer(1, 9);
  const [k, v] = [0, 1].map(() => grower.input("float32", [q.shape[0], q.shape[1], keys, q.shape[3]], false));
  const causal = draw.chance(0.3) && keys >= q.shape[2];
  return grower.typed("Attention", [q, k, v], { is_causal: int(causal ? 1 : 0) }, { ...product, dtype: "float32", shape: q.shape });
}

const gates: Readonly<Record<string, number>> = { RNN: 1, GRU: 3, LSTM: 4 };

/** Of positions first: the batch is the second dimension, so that only graphs without an open batch have it. */
function recurrent(op: string): Recipe {
  return (grower) => {
    if (grower.firstAxis === 1) return undefined;
    const { draw } = grower;
    const found = grower.find(({ dtype, shape }) => dtype === "float32" && shape.length === 3 && shape[0] <= 9 && shape[1] <= 9);
    const x = grower.fit(found ?? grower.input("float32", [draw.integer(1, 6), draw.integer(1, 4), grower.extent()]), -4, 4);
    const hidden = draw.pick([1, 3, 4, 8, 16]);
    const direction = draw.pick(["forward", "reverse", "bidirectional"]);
    const count = direction === "bidirectional" ? 2 : 1;
    const rows = gates[op] * hidden;
    const inputs: (Value | undefined)[] = [
      x,
      grower.constant("float32", [count, rows, x.shape[2]], false, 1 / Math.sqrt(x.shape[2])),
      grower.constant("float32", [count, rows, hidden], false, 1 / Math.sqrt(hidden)),
      draw.chance(0.6) ? grower.constant("float32", [count, 2 * rows], false, 0.3) : undefined,
      undefined,
      draw.chance(0.4) ? grower.input("float32", [count, x.shape[1], hidden], false) : undefined,
    ];
    const attributes = {
      hidden_size: int(hidden),
      direction: text(direction),
      ...(op === "GRU" ? { linear_before_reset: int(draw.integer(0, 1)) } : {}),
    };
    const state = { low: -4, high: 4, exact: false };
    const outputs = [state, state, { low: -6, high: 6, exact: false }].slice(0, draw.integer(1, op === "LSTM" ? 3 : 2));
    return grower.add(op, inputs, attributes, ...outputs);
  };
}

export const matrix: Readonly<Record<string, Recipe>> = {
  MatMul: matmul,
  Gemm: gemm,
  Einsum: einsum,
  Attention: attention,
  RNN: recurrent("RNN"),
  GRU: recurrent("GRU"),
  LSTM: recurrent("LSTM"),
};
