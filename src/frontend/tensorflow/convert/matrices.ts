/** Parts of matrices (of the last two axes), and linear algebra. */
import { type Conversion, int, type Rule, type Rules, range } from "./rule.js";

/** The part within `lower` diagonals below and `upper` above the main one; negative: all. */
const band: Rule = (node) => {
  const [lower, upper] = [node.number(1), node.number(2)];
  let [value] = node.inputs;
  if (lower >= 0) value = node.emit("Trilu", [value, node.scalar(-lower, "int64")], { upper: int(1) });
  if (upper >= 0) value = node.emit("Trilu", [value, node.scalar(upper, "int64")], { upper: int(0) });
  return [value === node.inputs[0] ? node.emit("Identity", [value]) : value];
};

/** Which diagonal: 0 the main one, above it positive. Operators before their second version have that only. */
function diagonalOf(node: Conversion, index: number): number {
  if (node.inputs[index] === undefined || !/V[23]$/.test(node.source.op)) return 0;
  const [first, last = first] = node.numbers(index);
  if (first !== last) throw node.refusal("several diagonals at once are not supported");
  return first;
}

/** True on one diagonal. */
function diagonalMask(node: Conversion, rows: number, columns: number, diagonal: number): string {
  const places = range(0, rows).flatMap((row) => range(0, columns).map((column) => (column - row === diagonal ? 1 : 0)));
  return node.numbersOf("bool", [rows, columns], places);
}

/** A diagonal's elements below (or above) the columns that they stand in: [..., 1, columns]. */
function spreadDiagonal(node: Conversion, elements: string, length: number, columns: number, diagonal: number): string {
  const before = Math.max(0, diagonal);
  const after = columns - before - length;
  const rank = node.rank(elements);
  const row = node.unsqueeze(elements, [rank - 1]);
  if (before === 0 && after === 0) return row;
  const pads = [...new Array<number>(rank).fill(0), before, ...new Array<number>(rank).fill(0), after];
  return node.emit("Pad", [row, node.integers(pads)]);
}

/** A matrix with a diagonal as given, and another value elsewhere. */
const diagonalMatrix: Rule = (node) => {
  const [elements] = node.inputs;
  const isNew = /V[23]$/.test(node.source.op);
  const diagonal = diagonalOf(node, 1);
  const length = node.staticDims(elements, [-1])[0];
  const [givenRows, givenColumns] = isNew ? [node.number(2), node.number(3)] : [-1, -1];
  const [least, leastColumns] = [length + Math.max(0, -diagonal), length + Math.max(0, diagonal)];
  const square = Math.max(least, leastColumns);
  const bothOpen = givenRows < 0 && givenColumns < 0;
  const rows = givenRows >= 0 ? givenRows : bothOpen ? square : least;
  const columns = givenColumns >= 0 ? givenColumns : bothOpen ? square : leastColumns;
  const padding = isNew ? node.inputs[4] : node.scalar(0, node.dtypeOf(elements));
  const spread = spreadDiagonal(node, elements, length, columns, diagonal);
  return [node.emit("Where", [diagonalMask(node, rows, columns, diagonal), spread, padding])];
};

const setDiagonal: Rule = (node) => {
  const [matrix, elements] = node.inputs;
  const [rows, columns] = node.staticDims(matrix, [-2, -1]);
  const diagonal = diagonalOf(node, 2);
  const length = Math.min(rows + Math.min(0, diagonal), columns - Math.max(0, diagonal));
  // One diagonal may come as a band of one.
  const list = node.rank(elements) === node.rank(matrix) ? node.squeeze(elements, [-2]) : elements;
  const spread = spreadDiagonal(node, list, length, columns, diagonal);
  return [node.emit("Where", [diagonalMask(node, rows, columns, diagonal), spread, matrix])];
};

/** A diagonal's elements: each column has one at most, the rest count as 0 in its sum. */
const diagonalPart: Rule = (node) => {
  const [matrix] = node.inputs;
  const [rows, columns] = node.staticDims(matrix, [-2, -1]);
  const diagonal = diagonalOf(node, 1);
  const length = Math.min(rows + Math.min(0, diagonal), columns - Math.max(0, diagonal));
  const masked = node.emit("Where", [diagonalMask(node, rows, columns, diagonal), matrix, node.scalar(0, node.dtypeOf(matrix))]);
  const inColumns = node.reduce("ReduceSum", masked, [-2], false);
  const first = Math.max(0, diagonal);
  return [first === 0 && length === columns ? inColumns : node.slice(inColumns, -1, first, first + length)];
};

const part = (node: Conversion, value: string, rows: readonly [number, number], columns: readonly [number, number]): string =>
  node.slice(node.slice(value, -2, ...rows), -1, ...columns);

/** Most rows of a matrix that is decomposed row by row. */
const mostRows = 64;

function squareSize(node: Conversion, value: string): number {
  const [rows, columns] = node.staticDims(value, [-2, -1]);
  if (rows !== columns) throw node.refusal(`its matrix has ${rows} rows and ${columns} columns`);
  if (rows > mostRows) throw node.refusal(`its matrix has ${rows} rows; at most ${mostRows} are supported`);
  return rows;
}

/** The sum of products over the columns of a row and the rows of a matrix, in FP32: [..., 1, columns]. */
function rowTimes(node: Conversion, row: string, matrix: string): string {
  const rank = node.rank(row);
  const column = node.transpose(row, [...range(0, rank - 2), rank - 1, rank - 2]);
  return node.reduce("ReduceSum", node.emit("Mul", [column, matrix]), [-2], true);
}

/** The lower triangular root, column by column (Cholesky-Banachiewicz). */
const cholesky: Rule = (node) => {
  const [matrix] = node.inputs;
  const size = squareSize(node, matrix);
  const columns: string[] = [];
  for (const at of range(0, size)) {
    let column = part(node, matrix, [at, size], [at, at + 1]);
    if (at > 0) {
      const before = node.concat(columns, -1);
      const left = node.slice(before, -2, at, size);
      const own = node.slice(before, -2, at, at + 1);
      column = node.emit("Sub", [column, node.reduce("ReduceSum", node.emit("Mul", [left, own]), [-1], true)]);
    }
    const root = node.emit("Sqrt", [node.slice(column, -2, 0, 1)]);
    const scaled = node.emit("Div", [column, root]);
    const rank = node.rank(matrix);
    const pads = range(0, 2 * rank).map((axis) => (axis === rank - 2 ? at : 0));
    columns.push(at === 0 ? scaled : node.emit("Pad", [scaled, node.integers(pads)]));
  }
  return [node.concat(columns, -1)];
};

/** The solution of a triangular system, row by row. */
const triangularSolve: Rule = (node) => {
  const [given, right] = node.inputs;
  const size = squareSize(node, given);
  const rank = node.rank(given);
  const isAdjoint = node.bool("adjoint");
  const matrix = isAdjoint ? node.transpose(given, [...range(0, rank - 2), rank - 1, rank - 2]) : given;
  const isLower = node.bool("lower", true) !== isAdjoint;
  const order = isLower ? range(0, size) : range(0, size).reverse();
  const rows: string[] = [];
  for (const at of order) {
    let row = node.slice(right, -2, at, at + 1);
    if (rows.length > 0) {
      const known = node.concat(isLower ? rows : [...rows].reverse(), -2);
      const factors = part(node, matrix, [at, at + 1], isLower ? [0, at] : [at + 1, size]);
      row = node.emit("Sub", [row, rowTimes(node, factors, known)]);
    }
    rows.push(node.emit("Div", [row, part(node, matrix, [at, at + 1], [at, at + 1])]));
  }
  return [node.concat(isLower ? rows : [...rows].reverse(), -2)];
};

/** The cross product of vectors of three. */
const cross: Rule = (node) => {
  const [left, right] = node.inputs.map((value) => [0, 1, 2].map((at) => node.slice(value, -1, at, at + 1)));
  const parts = [0, 1, 2].map((at) => {
    const [next, last] = [(at + 1) % 3, (at + 2) % 3];
    return node.emit("Sub", [node.emit("Mul", [left[next], right[last]]), node.emit("Mul", [left[last], right[next]])]);
  });
  return [node.concat(parts, -1)];
};

export const matrixRules: Rules = {
  Cholesky: cholesky,
  Cross: cross,
  MatrixBandPart: band,
  MatrixDeterminant: (node) => [node.emit("Det", node.inputs)],
  MatrixDiag: diagonalMatrix,
  MatrixDiagPart: diagonalPart,
  MatrixDiagPartV2: diagonalPart,
  MatrixDiagPartV3: diagonalPart,
  MatrixDiagV2: diagonalMatrix,
  MatrixDiagV3: diagonalMatrix,
  MatrixSetDiag: setDiagonal,
  MatrixSetDiagV2: setDiagonal,
  MatrixSetDiagV3: setDiagonal,
  MatrixTriangularSolve: triangularSolve,
};
