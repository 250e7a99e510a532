/** An ONNX model, decoded, as a graph: names made unique, functions expanded, constants collected, operators upgraded. */
import type { onnx as Onnx } from "onnx-proto";
import { userError } from "../../diagnostics/diagnostic.js";
import { type Attribute, type Dim, type Graph, type Node, PINNED_OPSET, type TensorType } from "../../graph/graph.js";
import { orderItems } from "../../graph/order.js";
import type { Tensor } from "../../graph/tensor.js";
import { constantTensor, convertAttribute } from "./attributes.js";
import { hintedType } from "./hints.js";
import { definitions, mentionedValues, Names, nodeLabel, resolve, type Scope, takeNames } from "./scope.js";
import { type ExternalData, elementTypeOf, tensorFromProto, tensorFromSparse } from "./tensor.js";
import { upgradeNode } from "./upgrade.js";
import type { UpgradeContext } from "./upgrade-types.js";

/** Limits on what small files can expand to. */
const deepestCalls = 64;
const mostNodes = 2_000_000;

/** A graph that is being made. */
interface Body {
  readonly nodes: Node[];
  readonly types: Map<string, TensorType>;
  readonly constants: Map<string, Tensor>;
}

/** The graph of a model. Its large constants may refer to the buffer that the model was decoded from. Throws UserErrors. */
export function convertModel(model: Onnx.IModelProto, external: ExternalData, limit = mostNodes): Graph {
  return new Converter(model, external, limit).convert();
}

/** Domain "ai.onnx" is another name of the default one. */
function domainOf(name: string | null | undefined): string {
  return name === undefined || name === null || name === "ai.onnx" ? "" : name;
}

export function opsetsOf(imports: readonly Onnx.IOperatorSetIdProto[] | null | undefined): Map<string, number> {
  return new Map((imports ?? []).map((entry) => [domainOf(entry.domain), Number(entry.version ?? 0)]));
}

function functionKey(domain: string, name: string, overload: string): string {
  return JSON.stringify([domain, name, overload]);
}

class Converter {
  private readonly valueNames = new Names();
  private readonly nodeNames = new Names();
  private readonly functions: ReadonlyMap<string, Onnx.IFunctionProto>;
  private readonly tensors = new WeakMap<Onnx.ITensorProto, Tensor>();
  /** Types as far as known, of all graphs: IR names differ wherever one graph sees another's. */
  private readonly hints = new Map<string, TensorType>();
  private nodeCount = 0;

  constructor(
    private readonly model: Onnx.IModelProto,
    private readonly external: ExternalData,
    private readonly limit: number,
  ) {
    this.functions = new Map(
      (model.functions ?? []).map((item) => [functionKey(domainOf(item.domain), item.name ?? "", item.overload ?? ""), item]),
    );
  }

  convert(): Graph {
    const proto = this.model.graph ?? {};
    takeNames(proto, this.valueNames);
    const scope: Scope = {
      label: "the model's graph",
      values: new Map(),
      opsets: opsetsOf(this.model.opsetImport),
      callers: [],
      prefix: "",
    };
    const graph = this.graph(proto, scope);
    if (graph.outputs.length === 0) throw userError("NCC0205", { graph: scope.label });
    for (const input of graph.inputs) if (!graph.types.has(input)) throw userError("NCC0212", { value: `input ${input}` });
    return graph;
  }

  /** Converts a graph into names of `scope`, whose `values` this fills. */
  private graph(proto: Onnx.IGraphProto, scope: Scope): Graph {
    for (const value of definitions(proto, scope.label).keys()) scope.values.set(value, this.localName(value, scope));
    const body: Body = { nodes: [], types: new Map(), constants: new Map() };
    for (const initializer of proto.initializer ?? []) {
      const name = initializer.name ?? "";
      this.addConstant(this.nameOf(scope, name), this.tensor(initializer, `initializer ${name}`), body);
    }
    for (const sparse of proto.sparseInitializer ?? []) {
      const name = sparse.values?.name ?? "";
      this.addConstant(this.nameOf(scope, name), this.sparse(sparse, `initializer ${name}`), body);
    }
    const inputs: string[] = [];
    for (const input of proto.input ?? []) {
      const name = this.nameOf(scope, input.name ?? "");
      if (body.constants.has(name)) continue;
      inputs.push(name);
      const type = this.valueType(input, scope.parent === undefined ? "input" : undefined);
      if (type !== undefined) this.setType(name, type, body);
    }
    for (const info of [...(proto.valueInfo ?? []), ...(proto.output ?? [])]) {
      const name = resolve(scope, info.name ?? "");
      const type = this.valueType(info);
      if (name !== undefined && type !== undefined && !this.hints.has(name)) this.hints.set(name, type);
    }
    this.nodes(proto.node ?? [], scope, body);
    const outputs = (proto.output ?? []).map((output) => {
      const name = output.name ?? "";
      const value = resolve(scope, name);
      if (value === undefined || value === "") throw userError("NCC0204", { graph: scope.label, value: JSON.stringify(name) });
      const type = this.valueType(output, scope.parent === undefined ? "output" : undefined);
      if (type !== undefined && !body.types.has(value) && scope.parent === undefined) body.types.set(value, type);
      return value;
    });
    return { name: proto.name ?? "", inputs, outputs, nodes: body.nodes, types: body.types, constants: body.constants };
  }

  /** The IR's name for a value that a graph defines: its own unless a graph around it has the same, or it is in a function. */
  private localName(value: string, scope: Scope): string {
    const isFree = scope.prefix === "" && (scope.parent === undefined || resolve(scope.parent, value) === undefined);
    return isFree ? value : this.valueNames.fresh(`${scope.prefix}${value}`);
  }

  private nameOf(scope: Scope, value: string): string {
    const name = resolve(scope, value);
    if (name === undefined) throw new Error(`value ${value} was not declared`);
    return name;
  }

  private addConstant(name: string, tensor: Tensor, body: Body): void {
    body.constants.set(name, tensor);
    this.setType(name, { dtype: tensor.dtype, shape: tensor.shape }, body);
  }

  private setType(name: string, type: TensorType, body: Body): void {
    body.types.set(name, type);
    this.hints.set(name, type);
  }

  /** Tensors are converted once: a payload may have been moved within the file's buffer. */
  private tensor(proto: Onnx.ITensorProto, label: string): Tensor {
    const known = this.tensors.get(proto);
    if (known !== undefined) return known;
    const tensor = tensorFromProto(proto, { label, ownsBuffer: true, external: this.external });
    this.tensors.set(proto, tensor);
    return tensor;
  }

  private sparse(proto: Onnx.ISparseTensorProto, label: string): Tensor {
    return tensorFromSparse(proto, { label, ownsBuffer: false, external: this.external });
  }

  /** The declared type of a tensor. At the model's border anything else than a tensor is an error: NCC0211. */
  private valueType(info: Onnx.IValueInfoProto, border?: "input" | "output"): TensorType | undefined {
    const name = info.name ?? "";
    const { tensorType, sequenceType, mapType, optionalType, sparseTensorType } = info.type ?? {};
    const other = Object.entries({ sequenceType, mapType, optionalType, sparseTensorType }).find(([, type]) => type);
    if (other !== undefined && border) throw userError("NCC0211", { value: `${border} ${name}`, kind: other[0].replace(/Type$/, "") });
    const dtype = elementTypeOf(tensorType?.elemType);
    if (dtype === undefined) return undefined;
    const shape = tensorType?.shape?.dim?.map((dim, axis): Dim => {
      const extent = Object.hasOwn(dim, "dimValue") ? Number(dim.dimValue) : -1;
      if (extent >= 0) return extent;
      return dim.dimParam ? dim.dimParam : `${name}_dim_${axis}`;
    });
    return shape === undefined ? { dtype } : { dtype, shape };
  }

  /** Converts nodes, sorted if the file does not have them in order, into `body`. */
  private nodes(protos: readonly Onnx.INodeProto[], scope: Scope, body: Body): void {
    const producer = new Map<string, Onnx.INodeProto>();
    for (const proto of protos) for (const output of proto.output ?? []) if (output !== "") producer.set(output, proto);
    const ordering = orderItems(protos, (proto) =>
      mentionedValues(proto).flatMap((value) => {
        const source = producer.get(value);
        return source === undefined ? [] : [source];
      }),
    );
    if (ordering.kind === "cycle") {
      const shown = ordering.items.slice(0, 8).map(nodeLabel);
      if (ordering.items.length > shown.length) shown.push("...");
      throw userError("NCC0201", { graph: scope.label, nodes: shown.join(" -> ") });
    }
    const position = new Map(protos.map((proto, index) => [proto, index]));
    for (const proto of ordering.items) this.node(proto, position.get(proto) ?? 0, scope, body);
  }

  private node(proto: Onnx.INodeProto, position: number, scope: Scope, body: Body): void {
    const label = nodeLabel(proto);
    const op = proto.opType ?? "";
    const domain = domainOf(proto.domain);
    if (op === "") throw userError("NCC0218", { node: label });
    const inputs = (proto.input ?? []).map((input) => {
      const value = resolve(scope, input);
      if (value === undefined) throw userError("NCC0203", { node: label, value: JSON.stringify(input) });
      return value;
    });
    const outputs = (proto.output ?? []).map((output) => this.nameOf(scope, output));
    const attributes = this.attributes(proto, scope);
    const name = this.nodeNames.fresh(`${scope.prefix}${proto.name ? proto.name : `${op}_${position}`}`);
    const node: Node = { name, op, domain, inputs, outputs, attributes, origins: [name] };
    const called = this.functions.get(functionKey(domain, op, proto.overload ?? ""));
    if (called !== undefined) this.call(called, node, scope, body);
    else if (op === "Constant" && domain === "") this.constantNode(node, body);
    else this.operator(node, scope, body);
  }

  private attributes(proto: Onnx.INodeProto, scope: Scope): Record<string, Attribute> {
    const label = nodeLabel(proto);
    const entries: [string, Attribute][] = [];
    for (const attribute of proto.attribute ?? []) {
      const name = attribute.name ?? "";
      if (!attribute.refAttrName) entries.push([name, this.attribute(attribute, label, scope)]);
      else {
        const reference = attribute.refAttrName;
        const bound = this.functionAttributes(scope);
        if (bound === undefined) throw userError("NCC0214", { node: label, attribute: name, reference });
        const value = bound.get(reference);
        if (value !== undefined) entries.push([name, value]);
      }
    }
    return Object.fromEntries(entries);
  }

  private functionAttributes(scope: Scope): ReadonlyMap<string, Attribute> | undefined {
    let at: Scope | undefined = scope;
    while (at !== undefined && at.attributes === undefined) at = at.parent;
    return at?.attributes;
  }

  private attribute(proto: Onnx.IAttributeProto, label: string, scope: Scope): Attribute {
    return convertAttribute(proto, label, {
      tensor: (tensor, tensorLabel) => this.tensor(tensor, tensorLabel),
      sparse: (sparse, tensorLabel) => this.sparse(sparse, tensorLabel),
      graph: (graph, graphLabel) => {
        const { opsets, callers, prefix } = scope;
        return this.graph(graph, { label: `the graph in ${graphLabel}`, values: new Map(), parent: scope, opsets, callers, prefix });
      },
    });
  }

  private constantNode(node: Node, body: Body): void {
    const [attribute, ...more] = Object.values(node.attributes);
    const tensor = attribute === undefined ? undefined : constantTensor(attribute);
    if (tensor === undefined || more.length > 0 || node.outputs.length !== 1) {
      throw userError("NCC0220", { node: node.name, found: attribute === undefined ? "none" : Object.keys(node.attributes).join(", ") });
    }
    this.addConstant(node.outputs[0], tensor, body);
  }

  private operator(node: Node, scope: Scope, body: Body): void {
    const opset = scope.opsets.get("");
    if (node.domain !== "" || opset === undefined) {
      this.emit(node, body);
      return;
    }
    const context: UpgradeContext = {
      typeOf: (value) => this.hints.get(value),
      constantOf: (value) => body.constants.get(value),
      addConstant: (base, tensor) => {
        const name = this.valueNames.fresh(base);
        this.addConstant(name, tensor, body);
        return name;
      },
      freshValue: (base) => this.valueNames.fresh(base),
      refuse: (refused, reason) => {
        throw userError("NCC0217", { node: refused.name, op: refused.op, opset, pinned: PINNED_OPSET, reason });
      },
    };
    for (const upgraded of upgradeNode(node, opset, context)) {
      this.emit(upgraded.name === node.name ? upgraded : { ...upgraded, name: this.nodeNames.fresh(upgraded.name) }, body);
    }
  }

  private emit(node: Node, body: Body): void {
    this.nodeCount++;
    if (this.nodeCount > this.limit) throw userError("NCC0216", { node: node.name, limit: this.limit });
    body.nodes.push(node);
    const type = hintedType(
      node,
      (value) => this.hints.get(value),
      (value) => body.constants.get(value)?.data.length,
    );
    if (type === undefined) return;
    for (const output of node.outputs.slice(0, 1)) if (!this.hints.has(output)) this.hints.set(output, type);
  }

  /** Puts a function's nodes in the place of a node that calls it, under names of their own. */
  private call(definition: Onnx.IFunctionProto, node: Node, scope: Scope, body: Body): void {
    const key = functionKey(node.domain, node.op, definition.overload ?? "");
    const shown = `${node.domain === "" ? "" : `${node.domain}::`}${node.op}`;
    if (scope.callers.includes(key) || scope.callers.length >= deepestCalls) {
      throw userError("NCC0215", { node: node.name, function: shown, depth: scope.callers.length });
    }
    for (const [kind, given, declared] of [
      ["inputs", node.inputs, definition.input ?? []],
      ["outputs", node.outputs, definition.output ?? []],
    ] as const) {
      if (given.length > declared.length) {
        throw userError("NCC0219", { node: node.name, function: shown, found: given.length, kind, count: declared.length });
      }
    }
    const values = new Map((definition.input ?? []).map((input, index) => [input, node.inputs[index] ?? ""]));
    const declaredOpsets = opsetsOf(definition.opsetImport);
    const opsets = declaredOpsets.size === 0 ? scope.opsets : declaredOpsets;
    const prefix = `${node.name}/`;
    const defaults = (definition.attributeProto ?? []).map((attribute): [string, Attribute] => [
      attribute.name ?? "",
      this.attribute(attribute, `function ${shown}`, scope),
    ]);
    const attributes = new Map([...defaults, ...Object.entries(node.attributes)]);
    const inner: Scope = { label: `function ${shown}`, values, opsets, attributes, callers: [...scope.callers, key], prefix };
    const copies: Node[] = [];
    for (const [index, output] of (definition.output ?? []).entries()) {
      const target = node.outputs[index] ?? "";
      const source = values.get(output);
      if (source === undefined) values.set(output, target === "" ? this.valueNames.fresh(`${prefix}${output}`) : target);
      else if (target !== "") copies.push(identity(`${prefix}${output}_copy`, source, target, node));
    }
    for (const proto of definition.node ?? []) {
      for (const output of proto.output ?? []) {
        if (output !== "" && !values.has(output)) values.set(output, this.valueNames.fresh(`${prefix}${output}`));
      }
    }
    this.nodes(definition.node ?? [], inner, body);
    for (const copy of copies) this.emit({ ...copy, name: this.nodeNames.fresh(copy.name) }, body);
  }
}

function identity(name: string, source: string, target: string, caller: Node): Node {
  return { name, op: "Identity", domain: "", inputs: [source], outputs: [target], attributes: {}, origins: caller.origins };
}
