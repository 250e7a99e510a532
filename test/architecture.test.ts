/** The rules of ARCHITECTURE.md that can be seen in the imports. */
import { readdirSync, readFileSync } from "node:fs";
import { dirname, join, normalize, relative } from "node:path";
import ts from "typescript";
import { describe, expect, it } from "vitest";

const root = join(import.meta.dirname, "..");
const shared = ["graph", "program", "hardware", "options", "diagnostics"];
/** Read by every phase: the operator records. */
const exception = "operators";
/** Files beside the folders: the package's API, and its version. */
const [api, version] = ["index.ts", "version.ts"];

interface Import {
  readonly target: string;
  /** Erased when compiled, or only loaded when it is reached. */
  readonly later: boolean;
}

interface Source {
  readonly imports: readonly Import[];
  /** What it prints with. */
  readonly prints: readonly string[];
}

function parse(file: string, text: string): Source {
  const imports: Import[] = [];
  const prints: string[] = [];
  const take = (specifier: ts.Node | undefined, later: boolean) => {
    if (specifier === undefined || !ts.isStringLiteralLike(specifier) || !specifier.text.startsWith(".")) return;
    imports.push({ target: normalize(join(dirname(file), specifier.text)).replace(/\.js$/, ".ts"), later });
  };
  const visit = (node: ts.Node): void => {
    if (ts.isImportDeclaration(node)) take(node.moduleSpecifier, node.importClause?.isTypeOnly === true);
    if (ts.isExportDeclaration(node)) take(node.moduleSpecifier, node.isTypeOnly);
    if (ts.isImportTypeNode(node) && ts.isLiteralTypeNode(node.argument)) take(node.argument.literal, true);
    if (ts.isCallExpression(node) && node.expression.kind === ts.SyntaxKind.ImportKeyword) take(node.arguments[0], true);
    if (ts.isPropertyAccessExpression(node) && /^(console\.\w+|process\.std(out|err))$/.test(node.getText())) prints.push(node.getText());
    ts.forEachChild(node, visit);
  };
  visit(ts.createSourceFile(file, text, ts.ScriptTarget.Latest, true));
  return { imports, prints };
}

const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" }).filter((name) => name.endsWith(".ts"));
const sources = new Map(
  files.map((name) => {
    const file = join("src", name);
    return [file, parse(file, readFileSync(join(root, file), "utf8"))];
  }),
);

/** `src/graph/text.ts` is in `graph`, `src/index.ts` in `index.ts`. */
const folderOf = (file: string): string => relative("src", file).split("/")[0];

/** The folders of the table of phases, first to last. */
function phases(): string[] {
  const lines = readFileSync(join(root, "ARCHITECTURE.md"), "utf8").split("\n## Phases\n")[1].split("\n## ")[0].split("\n");
  const cells = lines.filter((line) => line.startsWith("|")).map((line) => line.split("|")[3]);
  return [...new Set(cells.flatMap((cell) => [...cell.matchAll(/`src\/(\w+)\/`/g)].map((match) => match[1])))];
}

/** Why a file of one folder may not import one of another; undefined where it may. */
function fault(from: string, to: string, order: readonly string[]): string | undefined {
  if (from === to || to === version) return undefined;
  if (from === api) return to === "cli" ? "the API prints nothing" : undefined;
  if (shared.includes(to)) return undefined;
  if (shared.includes(from) || from === version) return "what all share rests on no phase";
  if (to === exception) return undefined;
  const [own, other] = [order.indexOf(from), order.indexOf(to)];
  return own < 0 || other < 0 || other > own ? "it is no phase above" : undefined;
}

/** A way from a folder back to itself. */
function cycle(edges: ReadonlyMap<string, ReadonlySet<string>>): string[] | undefined {
  const done = new Set<string>();
  const search = (folder: string, path: readonly string[]): string[] | undefined => {
    if (path.includes(folder)) return [...path.slice(path.indexOf(folder)), folder];
    if (done.has(folder)) return undefined;
    for (const next of edges.get(folder) ?? []) {
      const found = search(next, [...path, folder]);
      if (found) return found;
    }
    done.add(folder);
    return undefined;
  };
  for (const folder of edges.keys()) {
    const found = search(folder, []);
    if (found) return found;
  }
  return undefined;
}

describe("the sources", () => {
  const order = phases();
  const crossing = [...sources].flatMap(([file, { imports }]) =>
    imports.map(({ target }) => ({ file, target, from: folderOf(file), to: folderOf(target) })).filter(({ from, to }) => from !== to),
  );

  it("are in folders that the architecture names", () => {
    expect(order.length).toBeGreaterThan(10);
    const known = new Set([...order, ...shared, api, version]);
    expect([...new Set([...sources.keys()].map(folderOf))].filter((folder) => !known.has(folder))).toEqual([]);
    const missing = [...sources].flatMap(([file, { imports }]) =>
      imports.filter(({ target }) => !sources.has(target) && !target.endsWith(".json")).map(({ target }) => `${file}: ${target}`),
    );
    expect(missing).toEqual([]);
  });

  it("import only phases above their own, and what all share", () => {
    expect(crossing.length).toBeGreaterThan(300);
    const faults = crossing.flatMap(({ file, target, from, to }) => {
      const why = fault(from, to, order);
      return why ? [`${file} imports ${target}: ${why}`] : [];
    });
    expect(faults).toEqual([]);
  });

  it("have no cycle between folders", () => {
    const edges = new Map<string, Set<string>>();
    for (const { from, to } of crossing) edges.set(from, (edges.get(from) ?? new Set()).add(to));
    expect(cycle(edges)).toBeUndefined();
  });

  it("print in src/cli alone", () => {
    const printing = [...sources].flatMap(([file, { prints }]) => (prints.length > 0 && folderOf(file) !== "cli" ? [file] : []));
    expect(printing).toEqual([]);
  });

  it("load for a compile of an ONNX model nothing of TensorFlow and no command line", () => {
    const loaded = new Set<string>();
    const load = (file: string): void => {
      if (loaded.has(file)) return;
      loaded.add(file);
      for (const { target, later } of sources.get(file)?.imports ?? []) if (!later) load(target);
    };
    load("src/driver/compile.ts");
    expect(loaded.size).toBeGreaterThan(100);
    expect([...loaded].filter((file) => /tensorflow\/(convert|read)|src\/cli/.test(file))).toEqual([]);
  });
});

describe("the rules", () => {
  it("see every form of import, and printing", () => {
    const text = `import a from "./a.js"; import type { B } from "../b/b.js"; export * from "./c.js"; type D = import("./d.js").D;
      const e = async () => import("../e/e.js"); console.log(process.stderr);`;
    const { imports, prints } = parse("src/x/x.ts", text);
    expect(imports).toEqual([
      { target: "src/x/a.ts", later: false },
      { target: "src/b/b.ts", later: true },
      { target: "src/x/c.ts", later: false },
      { target: "src/x/d.ts", later: true },
      { target: "src/e/e.ts", later: true },
    ]);
    expect(prints).toEqual(["console.log", "process.stderr"]);
  });

  it("refuse what they should", () => {
    const order = ["frontend", "passes", "operators", "lower", "driver", "cli"];
    expect(fault("driver", "cli", order)).toBeDefined();
    expect(fault("graph", "frontend", order)).toBeDefined();
    expect(fault("passes", "lower", order)).toBeDefined();
    expect(fault("index.ts", "cli", order)).toBeDefined();
    expect(fault("passes", "unknown", order)).toBeDefined();
    expect(fault("passes", "operators", order)).toBeUndefined();
    expect(fault("lower", "passes", order)).toBeUndefined();
    expect(cycle(new Map([["a", new Set(["b"])], ["b", new Set(["c"])], ["c", new Set(["b"])]]))).toEqual(["b", "c", "b"]); // biome-ignore format: one line
  });
});
