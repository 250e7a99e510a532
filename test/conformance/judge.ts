/** Whether an output is near enough to what it has to be: the exactness classes of DESIGN section 2. */
import { elementCount, isFloat, numberAt, type Tensor } from "../../src/graph/tensor.js";
import { compareTensors } from "../../src/index.js";
import { CONTRACTION_ROUNDOFFS, type Exactness, fp32Bound, NETWORK_LOSS, unitRoundoff } from "../../src/operators/exactness.js";

/** What a network may lose of what the reference framework loses in bfloat16. */
export const FRAMEWORK_FACTOR = 1.25;
const roundoff: Readonly<Partial<Record<string, number>>> = unitRoundoff;

/** How exact an output has to be. */
export type Tolerance =
  /** With `sums`, the absolute tolerance is of the output's greatest element; `given` stands for that of the class. */
  | {
      readonly kind: Extract<Exactness, "exact" | "fp32">;
      readonly sums?: boolean;
      readonly given?: { readonly relative: number; readonly absolute: number };
    }
  /** `magnitude` holds sum |a||b| for each element of the output, `unit` is the unit roundoff of the 16-bit type. */
  | { readonly kind: "rounded"; readonly magnitude: Tensor; readonly unit: number }
  /** A whole network in 16 bits. */
  | { readonly kind: "network"; readonly bfloat16Cosine?: number };

/** Why `value` is not within `tolerance` of `expected`; undefined if it is. Element types and shapes have to be the same. */
export function findFault(name: string, value: Tensor, expected: Tensor, tolerance: Tolerance): string | undefined {
  const typeOf = ({ dtype, shape }: Tensor) => `${dtype}[${shape.join(",")}]`;
  if (typeOf(value) !== typeOf(expected)) return `${name} is ${typeOf(value)}, not ${typeOf(expected)}`;
  if (!hasNumbers(value) || !hasNumbers(expected)) {
    return sameElements(value, expected) ? undefined : `${name} has other elements`;
  }
  if (tolerance.kind === "network") {
    const { cosine } = compareTensors(name, value, expected);
    const loss = Math.max(NETWORK_LOSS, FRAMEWORK_FACTOR * (1 - (tolerance.bfloat16Cosine ?? 1)));
    return 1 - cosine <= loss ? undefined : `${name} has a cosine of ${cosine.toFixed(6)}, 1 - ${loss.toExponential(1)} is asked for`;
  }
  const given = tolerance.kind === "rounded" ? undefined : tolerance.given;
  const exact = (tolerance.kind === "exact" && !given) || !isFloat(expected.dtype);
  const sums = tolerance.kind === "fp32" && tolerance.sums === true;
  const absolute = (given?.absolute ?? fp32Bound.absolute) * (sums ? Math.max(1, compareTensors(name, value, expected).peak) : 1);
  const stored = 2 * (roundoff[expected.dtype] ?? 0);
  for (let index = 0; index < elementCount(expected.shape); index++) {
    const [seen, wanted] = [numberAt(value, index), numberAt(expected, index)];
    if (seen === wanted || (Number.isNaN(seen) && Number.isNaN(wanted))) continue;
    const products =
      tolerance.kind === "rounded" ? CONTRACTION_ROUNDOFFS * tolerance.unit * Math.abs(numberAt(tolerance.magnitude, index)) : 0;
    const bound = exact ? 0 : Math.max(given?.relative ?? fp32Bound.relative, stored) * Math.abs(wanted) + absolute + products;
    if (!(Math.abs(seen - wanted) <= bound)) {
      return `${name}[${index}] is ${seen}, not ${wanted} (class ${exact ? "exact" : tolerance.kind})`;
    }
  }
  return undefined;
}

/** Whether errors of such a tensor can be measured. */
export function hasNumbers({ dtype, data }: Tensor): boolean {
  return !Array.isArray(data) && !/^(complex|float8|float4)/.test(dtype);
}

function sameElements({ data: left }: Tensor, { data: right }: Tensor): boolean {
  for (let index = 0; index < right.length; index++) if (left[index] !== right[index]) return false;
  return left.length === right.length;
}
