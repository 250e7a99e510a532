/** Pointwise formulas become instructions of the scalar and vector engines. */
import { fromNumbers, numberAt } from "../graph/tensor.js";
import type { Expression } from "../operators/expression.js";
import type { Access, AluOp, DeviceType, Operation, Scalar } from "../program/program.js";
import type { Context } from "./context.js";
import { accessOf, jointly, type View } from "./view.js";

/** What stands at a leaf of a formula: a number, one number a partition (FP32), or a box of the output's shape. */
export type Operand =
  | { readonly kind: "immediate"; readonly value: number }
  | { readonly kind: "column"; readonly view: View }
  | { readonly kind: "view"; readonly view: View };

type ScalarOperand = Exclude<Operand, { kind: "view" }>;
type Binary = Extract<Expression, { kind: "binary" }>;

/** x * scale + bias, with scalar scale and bias. */
interface Affine {
  readonly base: Expression;
  readonly scale?: ScalarOperand;
  readonly bias?: ScalarOperand;
}

const commutative: ReadonlySet<AluOp> = new Set<AluOp>(["add", "multiply", "maximum", "minimum", "equal", "not_equal"]);
const comparisons: ReadonlySet<AluOp> = new Set<AluOp>(["equal", "not_equal", "less", "less_equal", "greater", "greater_equal"]);

function isFloating(dtype: DeviceType): boolean {
  return dtype.includes("float");
}

function children(expression: Expression): readonly Expression[] {
  switch (expression.kind) {
    case "binary":
      return [expression.left, expression.right];
    case "select":
      return [expression.mask, expression.onTrue, expression.onFalse];
    case "function":
    case "cast":
      return [expression.argument];
    default:
      return [];
  }
}

class ExpressionEmitter {
  readonly #context: Context;
  readonly #operandOf: (index: number | null) => Operand;
  readonly #out: View;
  /** How often each inner node of the formula is used: shared ones are computed once. */
  readonly #uses = new Map<Expression, number>();
  readonly #done = new Map<Expression, Operand>();

  constructor(context: Context, operandOf: (index: number | null) => Operand, out: View) {
    this.#context = context;
    this.#operandOf = operandOf;
    this.#out = out;
  }

  emit(root: Expression): void {
    const stack: Expression[] = [root];
    for (let next = stack.pop(); next; next = stack.pop()) {
      const uses = (this.#uses.get(next) ?? 0) + 1;
      this.#uses.set(next, uses);
      if (uses === 1) stack.push(...children(next));
    }
    this.#into(root, this.#out);
  }

  #step(operation: (accesses: Access[]) => Operation, engine: "scalar" | "vector", views: readonly View[]): void {
    jointly(views, (accesses) => this.#context.emitter.step(engine, operation(accesses)));
  }

  #scalar(operand: ScalarOperand | undefined, fallback: number): Scalar {
    if (operand === undefined) return fallback;
    if (operand.kind === "immediate") return operand.value;
    return accessOf(operand.view);
  }

  /** The expression as a scalar operand, where it is one without any instruction. */
  #scalarOf(expression: Expression): ScalarOperand | undefined {
    if (expression.kind === "immediate") return expression;
    if (expression.kind !== "operand") return undefined;
    const operand = this.#operandOf(expression.index);
    return operand.kind === "view" ? undefined : operand;
  }

  #isShared(expression: Expression): boolean {
    return (this.#uses.get(expression) ?? 0) > 1;
  }

  /** The type in which an inner result is kept: FP32, or int32 where only integers are involved. */
  #typeOf(expression: Expression): DeviceType {
    switch (expression.kind) {
      case "operand": {
        const operand = this.#operandOf(expression.index);
        if (operand.kind === "immediate") return Number.isInteger(operand.value) && !isFloating(this.#out.dtype) ? "int32" : "float32";
        return operand.view.dtype;
      }
      case "immediate":
        return Number.isInteger(expression.value) && Math.abs(expression.value) < 2 ** 31 ? "int32" : "float32";
      case "cast":
        return expression.dtype;
      case "function":
        return "float32";
      default: {
        const parts = expression.kind === "select" ? [expression.onTrue, expression.onFalse] : [expression.left, expression.right];
        const typed = parts.filter((part) => part.kind !== "immediate");
        const types = typed.map((part) => this.#typeOf(part));
        // Of numbers alone: as the result.
        if (types.length === 0)
          return isFloating(this.#out.dtype) || !parts.every((part) => this.#typeOf(part) === "int32") ? "float32" : "int32";
        if (types.some(isFloating)) return "float32";
        return types.includes("uint32") ? "uint32" : "int32";
      }
    }
  }

  /** The type in which a number is kept: the result's where that is an integer type that holds it. */
  #numberType(value: number): DeviceType {
    const types: DeviceType[] = isFloating(this.#out.dtype) ? [] : [this.#out.dtype, "int32"];
    return types.find((dtype) => numberAt(fromNumbers(dtype, [], [value]), 0) === value) ?? "float32";
  }

  #temporary(dtype: DeviceType): View {
    const { partitionStart, partitionCount, dims } = this.#out;
    const sizes = dims.map((dim) => dim.size);
    return this.#context.values.temporary("element", dtype, partitionStart, partitionCount, sizes);
  }

  #evaluate(expression: Expression): Operand {
    const scalar = this.#scalarOf(expression);
    if (scalar) return scalar;
    if (expression.kind === "operand") return this.#operandOf(expression.index);
    const known = this.#done.get(expression);
    if (known) return known;
    const view = this.#temporary(this.#typeOf(expression));
    this.#into(expression, view);
    const operand: Operand = { kind: "view", view };
    this.#done.set(expression, operand);
    return operand;
  }

  #view(expression: Expression): View {
    const operand = this.#evaluate(expression);
    if (operand.kind === "view") return operand.view;
    if (operand.kind === "column") return { ...operand.view, dims: this.#out.dims.map((dim) => ({ size: dim.size, stride: 0 })) };
    const view = this.#temporary(this.#numberType(operand.value));
    this.#step(([out]) => ({ kind: "memset", out, value: operand.value }), "vector", [view]);
    return view;
  }

  #into(expression: Expression, out: View): void {
    const known = this.#done.get(expression);
    if (known?.kind === "view") return this.#copy(known.view, out);
    switch (expression.kind) {
      case "immediate":
        return this.#step(([target]) => ({ kind: "memset", out: target, value: expression.value }), "vector", [out]);
      case "operand":
        return this.#copy(this.#view(expression), out);
      case "cast":
        if (expression.dtype === out.dtype && !this.#isShared(expression.argument)) return this.#into(expression.argument, out);
        return this.#copy(this.#castView(expression.dtype, expression.argument, out), out);
      case "function":
        return this.#activation(expression, out);
      case "select":
        return this.#step(([target, mask, onTrue, onFalse]) => ({ kind: "select", out: target, mask, onTrue, onFalse }), "vector", [
          out,
          this.#view(expression.mask),
          this.#view(expression.onTrue),
          this.#view(expression.onFalse),
        ]);
      case "binary":
        return this.#binary(expression, out);
    }
  }

  #castView(dtype: DeviceType, argument: Expression, out: View): View {
    const view = this.#view(argument);
    if (dtype === out.dtype || dtype === view.dtype) return view;
    const cast = this.#temporary(dtype);
    this.#copy(view, cast);
    return cast;
  }

  #copy(from: View, out: View): void {
    const engine = from.space === "psum" ? "scalar" : "vector";
    this.#step(([target, source]) => ({ kind: "copy", out: target, in: source }), engine, [out, from]);
  }

  /** Splits scalar scale and bias off, as far as the scalar engine can apply them on its way in. */
  #affine(expression: Expression): Affine {
    let base = expression;
    const peel = (op: AluOp): ScalarOperand | undefined => {
      if (base.kind !== "binary" || base.op !== op || this.#isShared(base)) return undefined;
      const right = this.#scalarOf(base.right);
      const left = right ? undefined : this.#scalarOf(base.left);
      if (right) base = base.left;
      else if (left) base = base.right;
      return right ?? left;
    };
    const bias = peel("add");
    const scale = peel("multiply");
    return { base, ...(scale && { scale }), ...(bias && { bias }) };
  }

  #activation(expression: Extract<Expression, { kind: "function" }>, out: View): void {
    const { base, scale, bias } = this.#affine(expression.argument);
    this.#step(
      ([target, source]) => ({
        kind: "activation",
        out: target,
        in: source,
        function: expression.function,
        scale: this.#scalar(scale, 1),
        bias: this.#scalar(bias, 0),
        alpha: expression.alpha,
      }),
      "scalar",
      [out, this.#view(base)],
    );
  }

  /** A step `x op scalar` (or `scalar op x`) that an instruction can do before its last one. */
  #firstStep(expression: Expression): { op: AluOp; scalar: ScalarOperand; reverse: boolean; base: Expression } | undefined {
    if (expression.kind !== "binary" || this.#isShared(expression) || this.#done.has(expression)) return undefined;
    const right = this.#scalarOf(expression.right);
    const left = this.#scalarOf(expression.left);
    if (right && !left) return { op: expression.op, scalar: right, reverse: false, base: expression.left };
    if (left && !right) return { op: expression.op, scalar: left, reverse: !commutative.has(expression.op), base: expression.right };
    return undefined;
  }

  #binary(expression: Binary, out: View): void {
    const left = this.#scalarOf(expression.left);
    const right = this.#scalarOf(expression.right);
    if (right) return this.#withScalar(expression.left, expression.op, right, false, out);
    if (left) return this.#withScalar(expression.right, expression.op, left, !commutative.has(expression.op), out);
    this.#withTensor(expression, out);
  }

  /** x op scalar: on the scalar engine where it is a scale and bias of PSUM, else on the vector engine, two steps at once if possible. */
  #withScalar(base: Expression, op: AluOp, scalar: ScalarOperand, reverse: boolean, out: View): void {
    const first = reverse ? undefined : this.#firstStep(base);
    const view = this.#view(first ? first.base : base);
    if (!first && view.space === "psum" && !reverse && (op === "add" || op === "multiply") && isFloating(out.dtype)) {
      const [scale, bias] = op === "multiply" ? [scalar, undefined] : [undefined, scalar];
      return this.#step(
        ([target, source]) => ({
          kind: "activation",
          out: target,
          in: source,
          function: "identity",
          scale: this.#scalar(scale, 1),
          bias: this.#scalar(bias, 0),
          alpha: 0,
        }),
        "scalar",
        [out, view],
      );
    }
    this.#step(
      ([target, source]) => ({
        kind: "tensor_scalar",
        out: target,
        in: source,
        op0: first ? first.op : op,
        scalar0: this.#scalar(first ? first.scalar : scalar, 0),
        reverse0: first ? first.reverse : reverse,
        ...(first && { op1: op, scalar1: this.#scalar(scalar, 0) }),
      }),
      "vector",
      [out, view],
    );
  }

  #withTensor(expression: Binary, out: View): void {
    const swap = commutative.has(expression.op) && !this.#firstStep(expression.left);
    const [inner, other] = swap ? [expression.right, expression.left] : [expression.left, expression.right];
    const first = comparisons.has(expression.op) ? undefined : this.#firstStep(inner);
    if (first && !first.reverse) {
      return this.#step(
        ([target, in0, in1]) => ({
          kind: "scalar_tensor_tensor",
          out: target,
          in0,
          in1,
          op0: first.op,
          scalar: this.#scalar(first.scalar, 0),
          op1: expression.op,
        }),
        "vector",
        [out, this.#view(first.base), this.#view(other)],
      );
    }
    this.#step(([target, in0, in1]) => ({ kind: "tensor_tensor", out: target, in0, in1, op: expression.op }), "vector", [
      out,
      this.#view(expression.left),
      this.#view(expression.right),
    ]);
  }
}

/** Emits the instructions that compute `expression` over the box `out`. Views among the operands have out's dimensions. */
export function emitExpression(context: Context, expression: Expression, operandOf: (index: number | null) => Operand, out: View): void {
  new ExpressionEmitter(context, operandOf, out).emit(expression);
}
