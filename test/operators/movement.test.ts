import { describe, expect, it } from "vitest";
import type { Attribute } from "../../src/graph/graph.js";
import { fromNumbers, type Tensor } from "../../src/graph/tensor.js";
import { compress, forEachElement, separable, simplifyPiece } from "../../src/operators/pieces.js";
import { attribute, type Case, compare, constant, integers, noCounts, Random } from "./support.js";

const { int, ints, string } = attribute;

/** Runs `rounds` random cases of one operator; all that ONNX Runtime takes have to agree, and most have to be taken. */
async function sample(seed: number, rounds: number, make: (random: Random) => Case, lowered = true): Promise<void> {
  const random = new Random(seed);
  const counts = noCounts();
  for (let round = 0; round < rounds; round++) await compare(make(random), counts);
  expect(counts.accepted).toBeGreaterThan(0.6 * rounds);
  if (lowered) expect(counts.lowered).toBeGreaterThan(0.5 * counts.accepted);
}

const floats = (values: readonly number[]): { constant: Tensor } => constant(fromNumbers("float32", [values.length], values));

describe("data movement, against ONNX Runtime", () => {
  it("Transpose", () =>
    sample(1, 30, (random) => {
      const rank = random.int(0, 5);
      const attributes: Record<string, Attribute> = random.chance(0.8) ? { perm: ints(random.shuffled(rank)) } : {};
      return { op: "Transpose", inputs: [random.tensor(random.shape(rank))], attributes };
    }));

  it("Concat", () =>
    sample(2, 30, (random) => {
      const rank = random.int(1, 4);
      const shape = random.shape(rank);
      const axis = random.int(-rank, rank - 1);
      const parts = Array.from({ length: random.int(1, 4) }, () => random.tensor(shape.with(axis, random.int(0, 4))));
      return { op: "Concat", inputs: parts, attributes: { axis: int(axis) } };
    }));

  it("Split", () =>
    sample(3, 40, (random) => {
      const rank = random.int(1, 4);
      const axis = random.int(-rank, rank - 1);
      const shape = random.shape(rank, 1, 7);
      const x = random.tensor(shape);
      if (random.chance(0.5)) {
        const outputs = random.int(1, Math.min(4, shape.at(axis)!));
        return { op: "Split", inputs: [x], attributes: { axis: int(axis), num_outputs: int(outputs) }, outputs };
      }
      const first = random.int(0, shape.at(axis)!);
      return { op: "Split", inputs: [x, integers([first, shape.at(axis)! - first])], attributes: { axis: int(axis) }, outputs: 2 };
    }));

  it("Slice, with negative and large bounds and steps", () =>
    sample(
      4,
      120,
      (random) => {
        const rank = random.int(1, 4);
        const axes = random.shuffled(rank).slice(0, random.int(1, rank));
        const list = (make: () => number): { constant: Tensor } => integers(axes.map(make));
        const bound = (): number => random.pick([random.int(-8, 8), random.int(-8, 8), 2 ** 31 - 1, -(2 ** 31)]);
        const inputs = [random.tensor(random.shape(rank, 1, 7)), list(bound), list(bound), integers(axes)];
        const step = (): number => random.pick([1, 2, 3, -1, -2, -3]);
        return { op: "Slice", inputs: random.chance(0.8) ? [...inputs, list(step)] : inputs };
      },
      false,
    ));

  it("Slice, mostly not empty", () =>
    sample(5, 60, (random) => {
      const step = random.pick([1, 2, -1, -2]);
      const [low, high] = [random.int(0, 2), random.int(4, 7)];
      const inputs = [
        random.tensor([3, 8]),
        integers([step > 0 ? low : high]),
        integers([step > 0 ? high : low]),
        integers([1]),
        integers([step]),
      ];
      return { op: "Slice", inputs };
    }));

  it("Pad: constant, reflect, edge, wrap; negative pads", () =>
    sample(6, 100, (random) => {
      const rank = random.int(1, 4);
      const shape = random.shape(rank, 2, 5);
      const mode = random.pick(["constant", "reflect", "edge", "wrap"]);
      const axes = random.chance(0.3) ? [random.int(-rank, rank - 1)] : undefined;
      const count = 2 * (axes?.length ?? rank);
      const pads = Array.from({ length: count }, () =>
        random.int(mode === "constant" ? -1 : 0, mode === "constant" || mode === "edge" ? 3 : 1),
      );
      const value = mode === "constant" && random.chance(0.5) ? constant(fromNumbers("float32", [], [2.5])) : null;
      return {
        op: "Pad",
        inputs: [random.tensor(shape), integers(pads), value, ...(axes ? [integers(axes)] : [])],
        attributes: { mode: string(mode) },
      };
    }));

  it("Expand and Tile", () =>
    sample(7, 60, (random) => {
      const shape = random.shape(random.int(1, 4));
      if (random.chance(0.5)) return { op: "Tile", inputs: [random.tensor(shape), integers(shape.map(() => random.int(1, 3)))] };
      const own = shape.map((size) => (random.chance(0.5) ? 1 : size)).slice(random.int(0, shape.length));
      return { op: "Expand", inputs: [random.tensor(own), integers(shape.map((size) => (random.chance(0.3) ? 1 : size)))] };
    }));

  it("DepthToSpace and SpaceToDepth", () =>
    sample(8, 30, (random) => {
      const [block, batch, channels, height, width] = [random.int(1, 3), ...random.shape(4, 1, 3)];
      if (random.chance(0.3)) {
        const x = random.tensor([batch, channels, height * block, width * block]);
        return { op: "SpaceToDepth", inputs: [x], attributes: { blocksize: int(block) } };
      }
      const x = random.tensor([batch, channels * block * block, height, width]);
      return { op: "DepthToSpace", inputs: [x], attributes: { blocksize: int(block), mode: string(random.pick(["DCR", "CRD"])) } };
    }));

  it("Gather with constant indices", () =>
    sample(9, 40, (random) => {
      const rank = random.int(1, 3);
      const axis = random.int(-rank, rank - 1);
      const shape = random.shape(rank);
      const size = shape.at(axis)!;
      const indices = random.tensor(random.shape(random.int(0, 2)), "int64", -size, size - 1);
      return { op: "Gather", inputs: [random.tensor(shape), constant(indices)], attributes: { axis: int(axis) } };
    }));

  it("Reshape, Flatten, Squeeze, Unsqueeze, Identity, Dropout", () =>
    sample(10, 120, (random) => {
      const shape = random.shape(random.int(1, 4));
      const x = random.tensor(shape);
      switch (random.int(0, 5)) {
        case 0: {
          const target = shape.map((size) => (random.chance(0.3) ? 0 : size));
          return { op: "Reshape", inputs: [x, integers(random.chance(0.5) ? target.with(random.int(0, shape.length - 1), -1) : target)] };
        }
        case 1:
          return { op: "Flatten", inputs: [x], attributes: { axis: int(random.int(-shape.length, shape.length)) } };
        case 2: {
          const wide = random.tensor(shape.with(0, 1));
          return { op: "Squeeze", inputs: random.chance(0.5) ? [wide] : [wide, integers([random.pick([0, -shape.length])])] };
        }
        case 3: {
          const count = random.int(1, 2);
          return { op: "Unsqueeze", inputs: [x, integers(random.shuffled(shape.length + count).slice(0, count))] };
        }
        case 4:
          return { op: "Dropout", inputs: [x], outputs: random.int(1, 2) };
        default:
          return { op: "Identity", inputs: [x] };
      }
    }));
});

describe("Resize, against ONNX Runtime", () => {
  const transforms = ["half_pixel", "half_pixel_symmetric", "pytorch_half_pixel", "align_corners", "asymmetric", "tf_crop_and_resize"];

  const make =
    (mode: string) =>
    (random: Random): Case => {
      const shape = [random.int(1, 2), random.int(1, 2), random.int(2, 7), random.int(2, 7)];
      const attributes: Record<string, Attribute> = { mode: string(mode) };
      attributes.coordinate_transformation_mode = string(random.pick(transforms.slice(0, 5)));
      if (mode === "nearest") attributes.nearest_mode = string(random.pick(["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]));
      if (mode === "cubic") {
        if (random.chance(0.5)) attributes.cubic_coeff_a = attribute.float(-0.5);
        if (random.chance(0.3)) attributes.exclude_outside = int(1);
      }
      if (random.chance(0.5)) {
        const scales = [1, 1, random.pick([0.5, 1, 1.5, 2, 3, 0.7, 2.3]), random.pick([0.5, 1, 1.5, 2, 3, 1.3])];
        return { op: "Resize", inputs: [random.tensor(shape), null, floats(scales)], attributes };
      }
      const sizes = random.shape(2, 1, 12);
      if (random.chance(0.3)) {
        attributes.axes = ints([2, 3]);
        if (random.chance(0.5)) attributes.keep_aspect_ratio_policy = string(random.pick(["stretch", "not_larger", "not_smaller"]));
        return { op: "Resize", inputs: [random.tensor(shape), null, null, integers(sizes)], attributes };
      }
      return { op: "Resize", inputs: [random.tensor(shape), null, null, integers([shape[0], shape[1], ...sizes])], attributes };
    };

  it("nearest as movement", () => sample(11, 200, make("nearest")));

  it.each(["linear", "cubic"])("%s decomposed", async (mode) => {
    const random = new Random(12);
    const counts = noCounts();
    for (let round = 0; round < 60; round++) await compare(make(mode)(random), counts);
    expect(counts.accepted).toBeGreaterThan(40);
    expect(counts.decomposed).toBe(counts.accepted);
  });

  it("of integers is the host's, whose samples become integers in its own way", async () => {
    const counts = noCounts();
    for (const dtype of ["uint8", "int32"] as const) {
      const inputs = [new Random(3).tensor([1, 2, 5, 7], dtype, 0, 100), null, null, integers([1, 2, 8, 9])];
      await compare({ op: "Resize", inputs, attributes: { mode: string("linear") } }, counts);
    }
    expect(counts).toMatchObject({ accepted: 2, decomposed: 0 });
  });
});

describe("pieces", () => {
  it("an integer upscale, a tile and a reversal take one piece", () => {
    expect(compress([0, 0, 1, 1, 2, 2])).toHaveLength(1);
    expect(compress([0, 1, 2, 0, 1, 2])).toHaveLength(1);
    expect(compress([3, 2, 1, 0])).toHaveLength(1);
  });

  it("a rational upscale takes one piece a phase", () => {
    const indices = Array.from({ length: 300 }, (_, place) => Math.floor((place * 2) / 3));
    expect(compress(indices).length).toBeLessThanOrEqual(4);
  });

  it("compress covers every index once, in seeded random maps", () => {
    const random = new Random(13);
    for (let round = 0; round < 200; round++) {
      const period = random.int(1, 5);
      const indices = Array.from({ length: random.int(0, 40) }, (_, place) =>
        random.chance(0.1) ? -1 : random.chance(0.2) ? random.int(0, 50) : Math.floor(place / period) * random.int(1, 1) + (place % 3),
      );
      const seen = indices.map(() => -1);
      for (const piece of separable(0, [60], [indices.length], [compress(indices)])) {
        forEachElement(piece, (from, to) => {
          expect(seen[to]).toBe(-1);
          seen[to] = from;
        });
      }
      expect(seen).toEqual(indices);
    }
  });

  it("simplifyPiece joins contiguous dimensions and drops single ones", () => {
    const piece = { input: 0, inOffset: 5, inStrides: [12, 9, 4, 1], outOffset: 7, outStrides: [12, 1, 4, 1], sizes: [2, 1, 3, 4] };
    expect(simplifyPiece(piece)).toEqual({ ...piece, inStrides: [1], outStrides: [1], sizes: [24] });
  });
});
