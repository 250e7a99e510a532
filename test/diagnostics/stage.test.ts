import { expect, it, vi } from "vitest";
import { compilePipeline } from "../../src/driver/pipeline.js";
import { parseGraph } from "../../src/graph/text.js";
import { refusal } from "../refusal.js";

vi.mock("../../src/schedule/index.js", () => ({
  schedule: () => ({ fits: false, memory: "sbuf", neededBytes: 9, capacityBytes: 8, residentBytes: 0 }),
}));

it("a stage that no plan fits names its largest values", () => {
  const graph = parseGraph(`graph "big" { input %x: float32[2, 3]
    %y: float32[2, 3] = Relu(%x) @r
    output %y }`);
  expect(refusal(() => compilePipeline(graph, 1, {}))).toMatch(/^NCC0690: big: .*9 bytes of sbuf.*x float32\[2, 3\], y float32\[2, 3\]/);
});
