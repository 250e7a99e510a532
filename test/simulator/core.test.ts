import { describe, expect, it } from "vitest";
import { seeded } from "../../src/graph/random.js";
import type { TensorData } from "../../src/graph/tensor.js";
import type { Access, Buffer, Instruction, LoadedProgram, Operation, Stream } from "../../src/program/program.js";
import { createCore } from "../../src/simulator/index.js";
import { serialOrder } from "../../src/simulator/serial.js";
import { refusal } from "../refusal.js";
import { bytesOf, chip, dram, planes, program, randomData, rows } from "./programs.js";
import { interpret } from "./reference.js";

type Inputs = ReadonlyMap<string, TensorData>;

function expectBits(loaded: LoadedProgram, inputs: Inputs, threads: readonly number[]): void {
  const expected = interpret(loaded, inputs);
  for (const options of [...threads.map((count) => ({ threads: count })), { threads: 1, fusedMultiplyAdd: false }]) {
    const core = createCore(loaded, options);
    for (let request = 0; request < 2; request++) {
      const actual = core.run(inputs);
      for (const [name, data] of expected) expect(actual.get(name), `${name} on ${options.threads} threads`).toEqual(data);
    }
    core.dispose();
  }
}

const constantsOf = (data: Readonly<Record<string, TensorData>>, constant: string | undefined) =>
  new Map(Object.entries(data).flatMap(([name, values]): [string, Uint8Array][] => (name === constant ? [[name, bytesOf(values)]] : [])));
const inputsOf = (data: Readonly<Record<string, TensorData>>, constant: string | undefined): Inputs =>
  new Map(Object.entries(data).filter(([name]) => name !== constant));

/** out = relu(w^T x), each from an input or a constant, `taps` accumulated K tiles, N columns, M lanes. */
function product(k: number, m: number, n: number, taps: number, constant: "w" | "x" | undefined): [LoadedProgram, Inputs] {
  const random = seeded(k * 1000 + m * 10 + n);
  const buffers: Buffer[] = [
    dram("x", constant === "x" ? "constant" : "input", "bfloat16", [k, taps + n]),
    dram("w", constant === "w" ? "constant" : "input", "bfloat16", [taps, k, m]),
    dram("y", "output", "bfloat16", [m, n]),
    chip("xs", "sbuf", "bfloat16", taps + n, 0),
    chip("ws", "sbuf", "bfloat16", taps * m, 4096),
    chip("ys", "sbuf", "bfloat16", n, 8192),
    chip("p", "psum", "float32", n, 0),
  ];
  const operations: Operation[] = [{ kind: "dma", out: rows("xs", 0, k, [taps + n]), in: planes("x", k, taps + n) }];
  for (let tap = 0; tap < taps; tap++) {
    operations.push({ kind: "dma", out: rows("ws", 0, k, [m], tap * m), in: { ...planes("w", k, m), offset: tap * k * m } });
  }
  for (let tap = 0; tap < taps; tap++) {
    operations.push({
      kind: "matmul",
      out: rows("p", 0, m, [n]),
      stationary: rows("ws", 0, k, [m], tap * m),
      moving: rows("xs", 0, k, [n], tap),
      accumulate: tap > 0,
    });
  }
  operations.push(
    { kind: "activation", out: rows("ys", 64, m, [n]), in: rows("p", 0, m, [n]), function: "relu", scale: 1, bias: -0.5, alpha: 0 },
    { kind: "dma", out: planes("y", m, n), in: rows("ys", 64, m, [n]) },
  );
  const x = randomData(random, "bfloat16", k * (taps + n));
  const w = randomData(random, "bfloat16", taps * k * m);
  return [program(buffers, operations, constantsOf({ x, w }, constant)), inputsOf({ x, w }, constant)];
}

describe("matmul", () => {
  it.each([
    [128, 64, 49, 2],
    [64, 40, 13, 3],
    [3, 64, 18, 7],
    [1, 1, 1, 1],
    [100, 17, 2, 2],
    [33, 5, 3, 1],
    [128, 61, 7, 2],
    // Enough columns for threads to share them out.
    [40, 23, 251, 2],
  ])("K %i, M %i, N %i, %i taps: the bits of a Math.fround loop, one operand constant or none, 1 to 3 threads", (k, m, n, taps) => {
    for (const constant of ["w", "x", undefined] as const) expectBits(...product(k, m, n, taps, constant), [1, 2, 3]);
  });

  it("packs again when the weights' place is filled anew, by partitions of another length too, and where a write takes part away", () => {
    const random = seeded(5);
    const buffers: Buffer[] = [
      dram("x", "input", "bfloat16", [8, 4]),
      dram("w", "constant", "bfloat16", [2, 8, 8]),
      dram("y", "output", "bfloat16", [4, 8, 4]),
      chip("xs", "sbuf", "bfloat16", 4, 0),
      chip("ws", "sbuf", "bfloat16", 8, 64),
      chip("ys", "sbuf", "bfloat16", 4, 256),
      chip("p", "psum", "float32", 4, 0),
    ];
    const fill = (tile: number): Operation => ({
      kind: "dma",
      out: rows("ws", 0, 8, [8]),
      in: { ...planes("w", 8, 8), offset: tile * 64 },
    });
    const use = (index: number): Operation[] => [
      { kind: "matmul", out: rows("p", 0, 8, [4]), stationary: rows("ws", 0, 8, [8]), moving: rows("xs", 0, 8, [4]), accumulate: false },
      { kind: "copy", out: rows("ys", 0, 8, [4]), in: rows("p", 0, 8, [4]) },
      { kind: "dma", out: { ...planes("y", 8, 4), offset: index * 32 }, in: rows("ys", 0, 8, [4]) },
    ];
    const operations: Operation[] = [
      { kind: "dma", out: rows("xs", 0, 8, [4]), in: planes("x", 8, 4) },
      ...[fill(0), ...use(0), fill(1), ...use(1)],
      ...[{ kind: "dma", out: rows("ws", 0, 8, [8]), in: { ...planes("w", 2, 32), partitionStride: 40 } } as const, ...use(3)],
      ...[{ kind: "memset", out: rows("ws", 0, 3, [2], 1), value: 0.25 } as const, ...use(2)],
    ];
    const constants = new Map([["w", bytesOf(randomData(random, "bfloat16", 128))]]);
    expectBits(program(buffers, operations, constants), new Map([["x", randomData(random, "bfloat16", 32)]]), [1, 2]);
  });

  /** Exponents as numbers of 16 bits: products around FP32's least numbers, its greatest, and infinities. */
  it.each([
    ["tiny products", "bfloat16", [0x0000, 0x0080], [0x1e80, 0x2080]],
    ["subnormal numbers", "bfloat16", [0x0000, 0x0003], [0x3f00, 0x3f80]],
    ["overflowing products", "bfloat16", [0x5e80, 0x6080], [0x5e80, 0x6000]],
    ["infinities and NaN", "bfloat16", [0x3f00, 0x4000], [0x7f7e, 0x7f82]],
    ["mild and wild numbers", "bfloat16", [0x3f00, 0x4000], [0x0000, 0x7f7f]],
    ["all of FLOAT16", "float16", [0x0000, 0x7bff], [0x0000, 0x7bff]],
  ] as const)("%s: the bits of a multiplication and an addition, fused or not", (_, dtype, left, right) => {
    const [k, m, n] = [40, 20, 12];
    const random = seeded(7);
    const numbers = (count: number, [low, high]: readonly [number, number]) =>
      Uint16Array.from({ length: count }, () => low + Math.floor(random() * (high - low)) + (random() < 0.5 ? 0x8000 : 0));
    for (const constant of ["w", "x", undefined]) {
      const buffers: Buffer[] = [
        dram("x", constant === "x" ? "constant" : "input", dtype, [k, n]),
        dram("w", constant === "w" ? "constant" : "input", dtype, [k, m]),
        dram("y", "output", "float32", [m, n]),
        chip("xs", "sbuf", dtype, n, 0),
        chip("ws", "sbuf", dtype, m, 4096),
        chip("ys", "sbuf", "float32", n, 8192),
        chip("p", "psum", "float32", n, 0),
      ];
      const operations: Operation[] = [
        { kind: "dma", out: rows("xs", 0, k, [n]), in: planes("x", k, n) },
        { kind: "dma", out: rows("ws", 0, k, [m]), in: planes("w", k, m) },
        { kind: "matmul", out: rows("p", 0, m, [n]), stationary: rows("ws", 0, k, [m]), moving: rows("xs", 0, k, [n]), accumulate: false },
        { kind: "copy", out: rows("ys", 0, m, [n]), in: rows("p", 0, m, [n]) },
        { kind: "dma", out: planes("y", m, n), in: rows("ys", 0, m, [n]) },
      ];
      const [x, w] = [numbers(k * n, left), numbers(k * m, right)];
      expectBits(program(buffers, operations, constantsOf({ x, w }, constant)), inputsOf({ x, w }, constant), [1, 2]);
    }
  });
});

describe("transpose", () => {
  it("turns lanes into positions", () => {
    const buffers: Buffer[] = [
      dram("x", "input", "float16", [100, 50]),
      dram("y", "output", "float16", [50, 100]),
      chip("xs", "sbuf", "float16", 50, 0),
      chip("ys", "sbuf", "float16", 100, 512),
      chip("p", "psum", "float16", 100, 0),
    ];
    const operations: Operation[] = [
      { kind: "dma", out: rows("xs", 0, 100, [50]), in: planes("x", 100, 50) },
      { kind: "transpose", out: rows("p", 0, 50, [100]), in: rows("xs", 0, 100, [50]) },
      { kind: "copy", out: rows("ys", 0, 50, [100]), in: rows("p", 0, 50, [100]) },
      { kind: "dma", out: planes("y", 50, 100), in: rows("ys", 0, 50, [100]) },
    ];
    expectBits(program(buffers, operations), new Map([["x", randomData(seeded(1), "float16", 5000)]]), [1, 2, 3]);
  });
});

describe("dma", () => {
  const count = 60 * 24;
  /** x -> a (SBUF) by one access pair, a -> scratch -> b -> y by others; every pair has 60 x 24 elements. */
  const chains: [string, [Access, Access][]][] = [
    [
      "planes",
      [
        [rows("a", 0, 60, [24]), planes("x", 60, 24)],
        [planes("y", 60, 24), rows("a", 0, 60, [24])],
      ],
    ],
    [
      "channels last",
      [
        [rows("a", 32, 60, [24]), { ...rows("x", 0, 60, [24]), partitionStride: 1, strides: [60] }],
        [planes("y", 60, 24), rows("a", 32, 60, [24])],
      ],
    ],
    [
      "to channels last",
      [
        [rows("a", 0, 60, [24]), planes("x", 60, 24)],
        [{ ...rows("y", 0, 60, [24]), partitionStride: 1, strides: [60] }, rows("a", 0, 60, [24])],
      ],
    ],
    [
      "other shapes",
      [
        [rows("a", 3, 40, [36]), planes("x", 60, 24)],
        [rows("y", 0, 1, [2, 30, 24]), rows("a", 3, 40, [36])],
      ],
    ],
    [
      "no common loops",
      [
        [rows("a", 0, 48, [30]), planes("x", 60, 24)],
        [planes("y", 90, 16), rows("a", 0, 48, [30])],
      ],
    ],
    [
      "one partition",
      [
        [rows("a", 5, 1, [count]), planes("x", 60, 24)],
        [planes("y", 60, 24), rows("a", 5, 1, [count])],
      ],
    ],
    [
      "reversed",
      [
        [{ ...rows("a", 0, 60, [24], 23), strides: [-1] }, planes("x", 60, 24)],
        [{ ...planes("y", 60, 24), offset: 59 * 24, partitionStride: -24 }, rows("a", 0, 60, [24])],
      ],
    ],
    [
      "through scratch",
      [
        [planes("s", 60, 24), planes("x", 60, 24)],
        [rows("a", 64, 60, [24]), planes("s", 60, 24)],
        [rows("b", 0, 60, [24]), rows("a", 64, 60, [24])],
        [planes("y", 60, 24), rows("b", 0, 60, [24])],
      ],
    ],
    [
      "between partitions",
      [
        [rows("a", 0, 60, [24]), planes("x", 60, 24)],
        [rows("b", 1, 120, [12]), rows("a", 0, 60, [24])],
        [planes("y", 120, 12), rows("b", 1, 120, [12])],
      ],
    ],
    [
      "repeated on partitions",
      [
        [rows("a", 5, 1, [144]), planes("x", 1, 144)],
        [rows("b", 2, 10, [144]), { ...rows("a", 5, 1, [10, 144]), strides: [0, 1] }],
        [planes("y", 10, 144), rows("b", 2, 10, [144])],
      ],
    ],
    [
      "tall",
      [
        [
          { ...rows("a", 0, 60, [4, 6]), strides: [8, 1] },
          { ...planes("x", 60, 24), sizes: [4, 6], strides: [1, 4] },
        ],
        [planes("y", 60, 24), { ...rows("a", 0, 60, [4, 6]), strides: [8, 1] }],
      ],
    ],
  ];
  it.each(chains)("%s", (_, pairs) => {
    for (const dtype of ["bfloat16", "float32", "int8"] as const) {
      const buffers: Buffer[] = [
        dram("x", "input", dtype, [count]),
        dram("y", "output", dtype, [count]),
        dram("s", "scratch", dtype, [count], 64),
        chip("a", "sbuf", dtype, count, 0),
        chip("b", "sbuf", dtype, 144, count * 4),
      ];
      const operations = pairs.map(([out, source]): Operation => ({ kind: "dma", out, in: source }));
      expectBits(program(buffers, operations), new Map([["x", randomData(seeded(9), dtype, count)]]), [1, 3]);
    }
  });
});

describe("streams", () => {
  const instruction = (operation: Operation, signal?: number, ...waits: [number, number][]): Instruction => ({
    operation,
    origin: "",
    waits: waits.map(([semaphore, value]) => ({ semaphore, value })),
    ...(signal === undefined ? {} : { signal }),
  });
  const set = (value: number): Operation => ({ kind: "memset", out: rows("a", 0, 128, [1]), value });

  it("merges streams as their semaphores say", () => {
    const streams: Stream[] = [
      { engine: "vector", instructions: [instruction(set(2), 1, [0, 1]), instruction(set(4), undefined, [0, 2])] },
      { engine: "scalar", instructions: [instruction(set(1), 0), instruction(set(3), 0, [1, 1])] },
    ];
    const values = serialOrder(streams).map(({ operation }) => (operation.kind === "memset" ? operation.value : 0));
    expect(values).toEqual([1, 2, 3, 4]);
  });

  it("names the engines of a deadlock", () => {
    expect(() => serialOrder([{ engine: "vector", instructions: [instruction(set(1), 0, [0, 1])] }])).toThrow("deadlock: vector");
  });

  it("keeps what load leaves in SBUF", () => {
    const buffers: Buffer[] = [
      dram("c", "constant", "float32", [128, 2]),
      dram("x", "input", "float32", [128, 2]),
      dram("y", "output", "float32", [128, 2]),
      chip("a", "sbuf", "float32", 2, 0),
      chip("b", "sbuf", "float32", 2, 8),
    ];
    const load: Stream[] = [
      { engine: "dma0", instructions: [instruction({ kind: "dma", out: rows("a", 0, 128, [2]), in: planes("c", 128, 2) })] },
    ];
    const infer: Stream[] = [
      {
        engine: "vector",
        instructions: [
          instruction(
            { kind: "tensor_tensor", out: rows("b", 0, 128, [2]), in0: rows("a", 0, 128, [2]), in1: rows("b", 0, 128, [2]), op: "add" },
            1,
            [0, 1],
          ),
        ],
      },
      {
        engine: "dma0",
        instructions: [
          instruction({ kind: "dma", out: rows("b", 0, 128, [2]), in: planes("x", 128, 2) }, 0),
          instruction({ kind: "dma", out: planes("y", 128, 2), in: rows("b", 0, 128, [2]) }, undefined, [1, 1]),
        ],
      },
    ];
    const constants = new Map([["c", bytesOf(randomData(seeded(2), "float32", 256))]]);
    expectBits(
      { program: { name: "test", buffers, load, infer }, constants },
      new Map([["x", randomData(seeded(3), "float32", 256)]]),
      [1, 2],
    );
  });
});

describe("createCore", () => {
  it("refuses inputs that are missing or of the wrong size", () => {
    const [loaded] = product(4, 4, 4, 1, "w");
    const core = createCore(loaded, { threads: 1 });
    expect(() => core.run(new Map())).toThrow("no elements for input x");
    expect(() => core.run(new Map([["x", new Uint16Array(3)]]))).toThrow("3 elements, not 20");
  });
});

it("refuses a program whose memory image is too large", () => {
  const large = program([dram("x", "input", "float32", [2 ** 20, 1100])], []);
  expect(refusal(() => createCore(large, { threads: 1 }))).toContain("NCC0855: test: ");
});

it("cores take turns on the same threads, whichever is disposed of first", () => {
  const [first, inputs] = product(64, 32, 200, 2, "w");
  const [second, others] = product(100, 40, 300, 1, undefined);
  const wanted = [interpret(first, inputs), interpret(second, others)];
  for (const order of [
    [0, 1],
    [1, 0],
  ]) {
    const cores = [createCore(first, { threads: 3 }), createCore(second, { threads: 3 })];
    const given = [inputs, others];
    for (const core of [0, 1, 1, 0]) expect(cores[core].run(given[core])).toEqual(wanted[core]);
    cores[order[0]].dispose();
    expect(() => cores[order[0]].run(given[order[0]])).toThrow("disposed");
    expect(cores[order[1]].run(given[order[1]])).toEqual(wanted[order[1]]);
    cores[order[1]].dispose();
  }
});
