import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { compilePipeline } from "../../src/driver/pipeline.js";
import { type Graph, staticType } from "../../src/graph/graph.js";
import { parseGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { hardware } from "../../src/hardware/hardware.js";
import { type PipelinePlan, planPipeline } from "../../src/pipeline/plan.js";
import { randomTensor } from "../../src/runtime/random.js";
import { createCore } from "../../src/simulator/index.js";
import { refusal } from "../refusal.js";
import { stageFaults } from "./oracle.js";

/** Branches that meet again, a skip over everything, a second input that only the end reads, a node with two outputs, two results. */
const graph = parseGraph(`graph "branches" {
  input %x: bfloat16[1, 8, 9, 9]
  input %late: float32[1, 12, 1, 1]
  const %shape: int64[2] = [1, 12]
  %a: bfloat16[1, 8, 9, 9] = Relu(%x) @a
  %b: float32[1, 8, 9, 9] = Exp(%a) @b
  %c: bfloat16[1, 8, 9, 9] = MaxPool(%a) {kernel_shape = [3, 3], pads = [1, 1, 1, 1]} @c
  %d: bfloat16[1, 8, 9, 9] = Add(%b, %c) @d
  %e: bfloat16[1, 4, 9, 9], %f: bfloat16[1, 4, 9, 9] = Split(%d) {axis = 1, num_outputs = 2} @e
  %g: bfloat16[1, 12, 9, 9] = Concat(%x, %f) {axis = 1} @g
  %h: float32[1, 12, 1, 1] = ReduceMean(%g, %axes) {keepdims = 1} @h
  %i: float32[1, 12, 1, 1] = Mul(%h, %late) @i
  %j: float32[1, 12] = Reshape(%i, %shape) @j
  %k: float32[1, 12] = Softmax(%j) {axis = 1} @k
  %l: float32[1, 4, 9, 9] = Sub(%e, %f) @l
  const %axes: int64[2] = [2, 3]
  output %k
  output %l
}`);

/** Numbers as a constant's elements. */
const listed = (count: number) => `[${Array.from({ length: count }, (_, index) => ((index * 37) % 64) / 32 - 1).join(", ")}]`;

type Values = ReadonlyMap<string, Parameters<ReturnType<typeof createCore>["run"]>[0] extends ReadonlyMap<string, infer T> ? T : never>;

/** One request through the stages' programs. */
function run(stages: readonly Graph[], inputs: Values, of = graph): Map<string, unknown> {
  const values = new Map(inputs);
  for (const stage of stages) {
    const [{ loaded }] = compilePipeline(stage, 1, {}).stages;
    const core = createCore(loaded, { threads: 1 });
    for (const [name, data] of core.run(values)) values.set(name, data);
    core.dispose();
  }
  return new Map(of.outputs.map((name) => [name, values.get(name)]));
}

const graphsOf = ({ stages }: PipelinePlan) => stages.map((stage) => stage.graph);

describe("planPipeline", () => {
  const inputs: Values = new Map([
    ["x", randomTensor("bfloat16", [1, 8, 9, 9], 1, "x").data],
    ["late", randomTensor("float32", [1, 12, 1, 1], 1, "late").data],
  ]);
  const alone = run([graph], inputs);

  it("cuts so that every stage takes what the stages before it give, and no bit of the results changes", () => {
    const costs = fc.array(
      fc.record({ seconds: fc.double({ min: 1e-6, max: 1, noNaN: true }), weightBytes: fc.nat(9), valueBytes: fc.nat(9) }),
      {
        minLength: graph.nodes.length,
        maxLength: graph.nodes.length,
      },
    );
    fc.assert(
      fc.property(costs, fc.integer({ min: 2, max: 16 }), (list, cores) => {
        const costOf = ({ name }: { name: string }) => list[graph.nodes.findIndex((node) => node.name === name)];
        const plan = planPipeline(graph, { cores, costOf, weightCapacity: 20, keepsWeights: true, room: 20, streamingRoom: 20, hardware });
        expect(stageFaults(graph, graphsOf(plan), cores)).toEqual([]);
        expect(plan.boundSeconds).toBeLessThanOrEqual(plan.slowestSeconds);
        expect(run(graphsOf(plan), inputs)).toEqual(alone);
      }),
      { seed: 3, numRuns: 20 },
    );
  });

  it("divides what has many weights by its output channels, with the same bits", () => {
    const dense = parseGraph(`graph "dense" {
      input %x: bfloat16[2, 4, 6]
      input %rest: bfloat16[2, 4, 300]
      const %w: bfloat16[6, 300] = ${listed(1800)}
      const %bias: float32[300] = ${listed(300)}
      const %kernel: bfloat16[260, 2, 1, 1] = ${listed(520)}
      const %shape: int64[4] = [2, 2, 6, 100]
      const %offset: bfloat16[260] = ${listed(260)}
      const %scale: bfloat16[260, 1, 1] = ${listed(260)}
      %y: bfloat16[2, 4, 300] = MatMul(%x, %w, %bias, %rest) @y then Add(_, #2) from ["b"] then Mul(_, #3) from ["r"]
      %z: bfloat16[2, 2, 6, 100] = Reshape(%y, %shape) @z
      %c: bfloat16[2, 260, 6, 100] = Conv(%z, %kernel, %offset, %scale) @c then Mul(_, #3) from ["s"]
      output %c
      output %y
    }`);
    const given: Values = new Map(
      dense.inputs.map((name) => {
        const { shape } = staticType(dense, name);
        return [name, randomTensor("bfloat16", [...shape], 1, name).data];
      }),
    );
    const costOf = ({ name }: { name: string }) => ({ seconds: 1e-3, weightBytes: name === "z" ? 0 : 30, valueBytes: 1 });
    const whole = run([dense], given, dense);
    for (const cores of [2, 3, 5]) {
      const plan = planPipeline(dense, { cores, costOf, weightCapacity: 30, keepsWeights: true, room: 40, streamingRoom: 20, hardware });
      const faults = graphsOf(plan).flatMap((stage) => verifyGraph(stage));
      expect(faults).toEqual([]);
      expect(plan.stages.length).toBeGreaterThan(1);
      expect(plan.stages.reduce((sum, { weightBytes }) => sum + weightBytes, 0)).toBeCloseTo(60);
      expect(run(graphsOf(plan), given, dense)).toEqual(whole);
    }
  });

  const withWeights = (...bytes: number[]) => ({
    costOf: ({ name }: { name: string }) => {
      const weightBytes = bytes[graph.nodes.findIndex((node) => node.name === name)] ?? 0;
      return { seconds: 1e-3, weightBytes, valueBytes: 5 };
    },
    weightCapacity: 10,
    keepsWeights: true,
    room: 10,
    streamingRoom: 10,
    hardware,
  });

  it("takes the fewest stages that hold every weight", () => {
    const stagesFor = (...bytes: number[]) => planPipeline(graph, { cores: "auto", ...withWeights(...bytes) }).stages;
    expect(stagesFor(3, 3, 4)).toHaveLength(1);
    expect(stagesFor(3, 3, 5)).toHaveLength(2);
    const stages = stagesFor(9, 2, 9, 2, 9, 2);
    expect(stages).toHaveLength(5);
    expect(
      stageFaults(
        graph,
        stages.map((stage) => stage.graph),
        5,
      ),
    ).toEqual([]);
  });

  it("says when no number of cores holds every weight", () => {
    const fails = (...bytes: number[]) => refusal(() => planPipeline(graph, { cores: "auto", ...withWeights(...bytes) }));
    expect(fails(3, 11)).toMatch(/^NCC0691: b: its weights take 1408 bytes, a core has 1280 .*--neuroncore-pipeline-cores N/);
    const many = planPipeline(graph, { cores: "auto", least: 12, ...withWeights(9) });
    expect(many.stages.length).toBeLessThanOrEqual(12);
    const chain = Array.from({ length: 70 }, (_, i) => `%v${i + 1}: float32[1, 4] = Relu(%v${i}) @n${i}`).join("\n");
    const long = parseGraph(`graph "long" { input %v0: float32[1, 4]\n${chain}\noutput %v70 }`);
    const costOf = () => ({ seconds: 1e-3, weightBytes: 9, valueBytes: 0 });
    expect(refusal(() => planPipeline(long, { cores: "auto", ...withWeights(), costOf }))).toMatch(
      /^NCC0692: long: its weights take 80640 bytes, more than 64 cores/,
    );
  });
});
