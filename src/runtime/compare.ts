/** How far an output is from a reference. */
import { elementCount, isFloat, numberAt, type Tensor } from "../graph/tensor.js";

export interface Comparison {
  readonly name: string;
  /** Greatest |a - b|; infinite where one has a NaN or a shape that the other has not. */
  readonly maxAbs: number;
  /** Greatest |a - b| / max(|b|, 1e-5), b being the reference: below that the absolute error is what counts. */
  readonly maxRel: number;
  /** Greatest finite |b|: what `maxAbs` is to be seen against where the relative error of small elements says little. */
  readonly peak: number;
  /** Of the two as vectors; 1 for two zero vectors. */
  readonly cosine: number;
  /** Whether the greatest element along the last axis is the same everywhere; absent where the output is no list of scores. */
  readonly top1?: boolean;
}

const LEAST_REFERENCE = 1e-5;

/** Equal NaNs and equal infinities count as no error. Strings: 0 if all are equal, else infinite. */
export function compareTensors(name: string, value: Tensor, reference: Tensor): Comparison {
  if (value.shape.join() !== reference.shape.join()) return { name, maxAbs: Infinity, maxRel: Infinity, peak: 0, cosine: 0 };
  if (Array.isArray(value.data) || Array.isArray(reference.data)) {
    const equal = JSON.stringify(value.data) === JSON.stringify(reference.data);
    return { name, maxAbs: equal ? 0 : Infinity, maxRel: equal ? 0 : Infinity, peak: 0, cosine: equal ? 1 : 0 };
  }
  let maxAbs = 0;
  let maxRel = 0;
  let peak = 0;
  let dot = 0;
  let norm = 0;
  let referenceNorm = 0;
  const count = elementCount(value.shape);
  for (let index = 0; index < count; index++) {
    const a = numberAt(value, index);
    const b = numberAt(reference, index);
    if (Object.is(a, b)) {
      if (!Number.isFinite(a)) continue;
    } else {
      const difference = Math.abs(a - b);
      const error = Number.isNaN(difference) ? Infinity : difference;
      maxAbs = Math.max(maxAbs, error);
      maxRel = Math.max(maxRel, error / Math.max(Math.abs(b), LEAST_REFERENCE));
    }
    if (Number.isFinite(b)) peak = Math.max(peak, Math.abs(b));
    dot += a * b;
    norm += a * a;
    referenceNorm += b * b;
  }
  const cosine = norm === 0 && referenceNorm === 0 ? 1 : dot / Math.sqrt(norm * referenceNorm);
  const top1 = sameTop1(value, reference);
  return { name, maxAbs, maxRel, peak, cosine: Number.isFinite(cosine) ? Math.min(1, cosine) : 0, ...(top1 === undefined ? {} : { top1 }) };
}

/** For [N, classes] or [classes] of floats. */
function sameTop1(value: Tensor, reference: Tensor): boolean | undefined {
  const { shape } = value;
  const classes = shape.at(-1) ?? 0;
  if (!isFloat(value.dtype) || shape.length > 2 || classes < 2) return undefined;
  for (let row = 0; row < elementCount(shape) / classes; row++) {
    if (indexOfMaximum(value, row, classes) !== indexOfMaximum(reference, row, classes)) return false;
  }
  return true;
}

function indexOfMaximum(tensor: Tensor, row: number, classes: number): number {
  let best = 0;
  for (let index = 1; index < classes; index++) {
    if (numberAt(tensor, row * classes + index) > numberAt(tensor, row * classes + best)) best = index;
  }
  return best;
}
