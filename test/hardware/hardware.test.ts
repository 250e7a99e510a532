import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";
import { figures } from "../../src/hardware/hardware.js";
import inf1 from "../../src/hardware/inf1.json" with { type: "json" };

const source = fileURLToPath(new URL("../../src", import.meta.url));
const modules = readdirSync(source, { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const code = modules.map((name) => readFileSync(join(source, name), "utf8")).join("\n");

describe("inf1.json", () => {
  it.each(Object.keys(figures))("%s has a reader", (name) => {
    expect(code).toMatch(new RegExp(`\\b${name}\\b`));
  });

  it.each(Object.entries(figures))("%s says where it comes from", (_, { from, unit }) => {
    expect(Object.keys(inf1.provenance)).toContain(from);
    expect(unit).not.toBe("");
  });
});
