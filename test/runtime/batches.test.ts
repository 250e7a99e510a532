import { expect, it } from "vitest";
import { fromNumbers, type Tensor, toNumbers } from "../../src/graph/tensor.js";
import type { Signature } from "../../src/neff/artifact.js";
import { cutBatches, fitsBatch } from "../../src/runtime/batches.js";
import { refusal } from "../refusal.js";

const signature = (y: readonly number[] = [2, 2]): Signature => ({
  inputs: [
    { name: "x", dtype: "float32", shape: [2, 3] },
    { name: "table", dtype: "float32", shape: [4] },
    { name: "m", dtype: "bool", shape: [2] },
  ],
  outputs: [{ name: "y", dtype: "float32", shape: [...y] }],
});
const count = (length: number) => Array.from({ length }, (_, index) => index + 1);
const inputs = (batch: number, mask = batch) =>
  new Map<string, Tensor>([
    ["x", fromNumbers("float32", [batch, 3], count(3 * batch))],
    ["table", fromNumbers("float32", [4], [7, 8, 9, 10])],
    ["m", fromNumbers("bool", [mask], new Array(mask).fill(1))],
  ]);

it.each([1, 2, 3, 5, 8])("cuts %i items into parts of 2 and puts results together again", (batch) => {
  const cut = cutBatches(signature(), inputs(batch));
  if (batch === 2) return expect(cut).toBeUndefined();
  if (!cut) throw new Error("not cut");
  expect(cut.parts).toHaveLength(Math.ceil(batch / 2));
  const rows = cut.parts.flatMap((part) => {
    expect([...part].map(([name, value]) => [name, value.shape])).toEqual([
      ["x", [2, 3]],
      ["table", [4]],
      ["m", [2]],
    ]);
    return toNumbers(part.get("x") ?? fromNumbers("float32", [0], []));
  });
  expect(rows).toEqual([...count(3 * batch), ...new Array(batch % 2 === 0 ? 0 : 3).fill(0)]);
  const outputs = cut.parts.map(
    (_, part) =>
      new Map([
        [
          "y",
          fromNumbers(
            "float32",
            [2, 2],
            [0, 1, 2, 3].map((n) => 4 * part + n),
          ),
        ],
      ]),
  );
  const joined = cut.join(outputs).get("y");
  expect(joined?.shape).toEqual([batch, 2]);
  expect(joined && toNumbers(joined)).toEqual(count(2 * batch).map((n) => n - 1));
});

it("refuses batches that differ, and outputs without one", () => {
  expect(refusal(() => cutBatches(signature(), inputs(4, 3)))).toMatch(/^NCC0374: inputs x and m have batches of 4 and 3/);
  expect(refusal(() => cutBatches(signature([5, 2]), inputs(4)))).toMatch(/^NCC0375: output y has \[5,2\], without .* 2 in front/);
});

it("takes shapes that differ in the first extent only", () => {
  expect(fitsBatch([2, 3], [7, 3])).toBe(true);
  for (const given of [[7, 4], [7], [], [0, 3], [7, 3, 1]]) expect(fitsBatch([2, 3], given)).toBe(false);
});
