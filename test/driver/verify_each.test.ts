import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeEach, expect, it, vi } from "vitest";
import { compileModel } from "../../src/driver/compile.js";
import type { Graph } from "../../src/graph/graph.js";
import { passNames } from "../../src/passes/names.js";
import { writeSmallNet } from "../small_net.js";

/** Every graph that was verified, and faults to find: of the graph with a name, of partitions, of programs. */
const seen: Graph[] = [];
const faulty = { graph: "", partition: false, program: false };
vi.mock("../../src/graph/verify.js", async (original) => ({
  ...(await original<object>()),
  verifyGraph: (graph: Graph) => {
    seen.push(graph);
    return graph.name === faulty.graph ? ["a fault"] : [];
  },
}));
vi.mock("../../src/partition/check.js", () => ({ checkPartition: () => (faulty.partition ? ["a fault"] : []) }));
vi.mock("../../src/program/check.js", () => ({
  checkProgram: () => (faulty.program ? ["a fault"] : []),
  describeFault: (fault: string) => fault,
}));

const folder = mkdtempSync(join(tmpdir(), "neuronc-verify-"));
afterAll(() => rmSync(folder, { recursive: true }));
const model = writeSmallNet(folder);
const compile = (verifyEach: boolean) => compileModel(model, { verifyEach, minimumSegmentSize: 1, neuroncorePipelineCores: 2 });

beforeEach(() => {
  seen.length = 0;
  Object.assign(faulty, { graph: "", partition: false, program: false });
});

it("--verify-each checks the imported graph, that after each pass, the typed one and those of the stages", async () => {
  await compile(true);
  const names = seen.map(({ name }) => name);
  expect(names).toEqual([...new Array(1 + passNames.length).fill("net"), "sg00", "sg00", "sg00.0"]);
});

it("--verify-each stops at a fault, and says where it was made", async () => {
  for (const [fault, message] of [
    [{ graph: "net" }, "after import: a fault"],
    [{ graph: "sg00.0" }, "after pipeline sg00.0: a fault"],
    [{ partition: true }, "after partition: a fault"],
    [{ program: true }, "after schedule sg00.0: a fault"],
  ] as const) {
    Object.assign(faulty, { graph: "", partition: false, program: false }, fault);
    await expect(compile(true)).rejects.toThrow(message);
    await expect(compile(false)).resolves.toBeDefined();
  }
});
