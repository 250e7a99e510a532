/**
 * File tests: each file of golden/ holds a graph, then sections `--- pass NAME [key=value]...` with the graph that the pass makes of
 * the one before. Keys: keep=a,b; batch=N. The pass `precision` takes fast-math words, `saturate` the type that FP32 values may be moved in.
 * `UPDATE_GOLDEN=1` writes the expectations anew.
 */
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import type { Graph } from "../../src/graph/graph.js";
import { parseGraph, printGraph } from "../../src/graph/text.js";
import { verifyGraph } from "../../src/graph/verify.js";
import { recordOf } from "../../src/operators/index.js";
import { applyPrecision, parsePrecision, passes, saturateInfinity } from "../../src/passes/index.js";
import { options } from "./support.js";

const folder = new URL("golden/", import.meta.url);

function oneOf(word: string): "float32" | "float16" | "bfloat16" {
  if (word === "float32" || word === "float16" || word === "bfloat16") return word;
  throw new Error(`no type ${word}`);
}

async function runPass(graph: Graph, name: string, words: readonly string[]): Promise<Graph> {
  if (name === "precision") return applyPrecision(graph, parsePrecision(words.length > 0 ? words : undefined, undefined), recordOf);
  if (name === "saturate") return saturateInfinity(graph, oneOf(words[0] ?? "float32"));
  const pass = passes.find((known) => known.name === name);
  if (!pass) throw new Error(`no pass ${name}`);
  const values = new Map(words.map((word): [string, string] => [word.split("=")[0], word.split("=")[1]]));
  const batch = values.get("batch");
  return pass.run(graph, options(batch ? { batchSize: Number(batch) } : {}, values.get("keep")?.split(",")));
}

describe("golden files", () => {
  for (const file of readdirSync(folder).sort()) {
    test(file, async () => {
      const text = readFileSync(new URL(file, folder), "utf8");
      const [input, ...sections] = text.split(/^(?=--- pass )/m);
      let graph = parseGraph(input);
      let seen = input;
      for (const section of sections) {
        const header = section.slice(0, section.indexOf("\n"));
        const [name, ...words] = header.slice("--- pass ".length).split(" ");
        graph = await runPass(graph, name, words);
        expect(verifyGraph(graph)).toEqual([]);
        seen += `${header}\n${printGraph(graph)}`;
      }
      if (process.env.UPDATE_GOLDEN) writeFileSync(new URL(file, folder), seen);
      else expect(seen).toBe(text);
    });
  }
});
