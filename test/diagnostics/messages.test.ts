import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { messages } from "../../src/diagnostics/messages.js";

const root = join(import.meta.dirname, "../..");
const read = (path: string) => readFileSync(join(root, path), "utf8");

describe("messages", () => {
  const ids = [...read("src/diagnostics/messages.ts").matchAll(/^ {2}(NCC\d{4}):/gm)].map(([, id]) => id);

  it("have ids that are unique and ascend", () => {
    expect(ids).toEqual([...new Set(ids)].sort());
    expect(ids).toEqual(Object.keys(messages));
  });

  it("are each named by a test", () => {
    const files = readdirSync(join(root, "test"), { recursive: true, encoding: "utf8" }).filter((file) => file.endsWith(".ts"));
    const tests = files.map((file) => read(join("test", file))).join("\n");
    expect(ids.filter((id) => !tests.includes(id))).toEqual([]);
  });
});
