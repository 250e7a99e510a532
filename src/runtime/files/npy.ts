/** NumPy's `.npy` format, versions 1 to 3. Types that NumPy lacks are written as float32 (bfloat16, 8-bit floats) or one byte an element (sub-byte integers). */
import { userError } from "../../diagnostics/diagnostic.js";
import {
  allocateData,
  bytesPerElement,
  type DType,
  elementCount,
  isFloat,
  rowMajorStrides,
  type Tensor,
  toFloat32,
} from "../../graph/tensor.js";
import { rawBytes } from "./raw.js";

const descriptors: Readonly<Record<string, DType>> = {
  f2: "float16",
  f4: "float32",
  f8: "float64",
  i1: "int8",
  i2: "int16",
  i4: "int32",
  i8: "int64",
  u1: "uint8",
  u2: "uint16",
  u4: "uint32",
  u8: "uint64",
  b1: "bool",
  c8: "complex64",
  c16: "complex128",
};

const MAGIC = Buffer.from("\x93NUMPY", "latin1");

interface NpyHeader {
  readonly descriptor: string;
  readonly fortranOrder: boolean;
  readonly shape: readonly number[];
  /** Where the elements start. */
  readonly start: number;
}

/** Parses the bytes of a `.npy` file. `label` names the file in errors. Errors: NCC0803. */
export function readNpy(bytes: Uint8Array, label: string): Tensor {
  const { descriptor, fortranOrder, shape, start } = readNpyHeader(bytes, label);
  const data = bytes.subarray(start);
  const count = elementCount(shape);
  const text = /^([<>|=])([US])(\d+)$/.exec(descriptor);
  const plain = /^([<>|=])(\w+)$/.exec(descriptor);
  const dtype = text ? "string" : plain ? descriptors[plain[2]] : undefined;
  if (!dtype) throw refuse(label, `its type ${descriptor} is not one of ${Object.keys(descriptors).join(", ")}, U`);
  const width = text ? Number(text[3]) * (text[2] === "U" ? 4 : 1) : bytesPerElement[dtype];
  if (data.length < count * width) throw refuse(label, `shape [${shape}] needs ${count * width} bytes, the file holds ${data.length}`);
  const tensor = text ? readText(data, shape, text[2] === "U", width) : readElements(data, dtype, shape, plain?.[1] === ">");
  return fortranOrder ? fromColumnMajor(tensor) : tensor;
}

function readNpyHeader(bytes: Uint8Array, label: string): NpyHeader {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  if (view.length < 12 || !view.subarray(0, 6).equals(MAGIC)) throw refuse(label, "it does not start with NumPy's magic string");
  const wide = view[6] >= 2;
  const length = wide ? view.readUInt32LE(8) : view.readUInt16LE(8);
  const start = (wide ? 12 : 10) + length;
  const header = view.toString("latin1", wide ? 12 : 10, start);
  const descriptor = /'descr':\s*'([^']*)'/.exec(header)?.[1];
  const fortranOrder = /'fortran_order':\s*(True|False)/.exec(header)?.[1];
  const shape = /'shape':\s*\(([\d,\sL]*)\)/.exec(header)?.[1];
  if (start > view.length || descriptor === undefined || fortranOrder === undefined || shape === undefined) {
    throw refuse(label, "its header lacks descr, fortran_order or shape, or holds a structured type");
  }
  const extents = shape
    .split(",")
    .filter((extent) => extent.trim() !== "")
    .map((extent) => Number.parseInt(extent, 10));
  return { descriptor, fortranOrder: fortranOrder === "True", shape: extents, start };
}

function refuse(label: string, detail: string) {
  return userError("NCC0803", { file: label, format: ".npy", detail });
}

function readElements(bytes: Uint8Array, dtype: DType, shape: readonly number[], bigEndian: boolean): Tensor {
  const data = allocateData(dtype, elementCount(shape));
  const target = rawBytes({ dtype, shape, data });
  target.set(bytes.subarray(0, target.length));
  const width = dtype.startsWith("complex") ? bytesPerElement[dtype] / 2 : bytesPerElement[dtype];
  if (bigEndian) for (let at = 0; at < target.length; at += width) target.subarray(at, at + width).reverse();
  return { dtype, shape, data };
}

/** NumPy pads fixed-width text with zeros. */
function readText(bytes: Uint8Array, shape: readonly number[], unicode: boolean, width: number): Tensor {
  const view = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length);
  const data = Array.from({ length: elementCount(shape) }, (_, index) => {
    const from = index * width;
    if (!unicode) return view.toString("utf8", from, from + width).replace(/\0+$/, "");
    const points = Array.from({ length: width / 4 }, (_, position) => view.readUInt32LE(from + 4 * position));
    return String.fromCodePoint(...points).replace(/\0+$/, "");
  });
  return { dtype: "string", shape, data };
}

function fromColumnMajor(tensor: Tensor): Tensor {
  const { dtype, shape } = tensor;
  const count = elementCount(shape);
  const data = allocateData(dtype, count);
  const rowMajor = rowMajorStrides(shape);
  const parts = dtype.startsWith("complex") ? 2 : 1;
  for (let index = 0; index < count; index++) {
    let rest = index;
    const from = shape.reduce((sum, extent, axis) => {
      const coordinate = Math.floor(rest / rowMajor[axis]);
      rest %= rowMajor[axis];
      return sum + coordinate * elementCount(shape.slice(0, axis)) * (extent > 0 ? 1 : 0);
    }, 0);
    for (let part = 0; part < parts; part++) data[parts * index + part] = tensor.data[parts * from + part];
  }
  return { dtype, shape, data };
}

/** The bytes of a `.npy` file (version 1, row-major). */
export function writeNpy(tensor: Tensor): Uint8Array {
  const { descriptor, bytes } = elements(tensor);
  const shape = tensor.shape.length === 1 ? `(${tensor.shape[0]},)` : `(${tensor.shape.join(", ")})`;
  const header = `{'descr': '${descriptor}', 'fortran_order': False, 'shape': ${shape}, }`;
  const fixed = 10;
  const padded = `${header.padEnd(Math.ceil((header.length + fixed + 1) / 64) * 64 - fixed - 1)}\n`;
  const lead = Buffer.alloc(fixed);
  MAGIC.copy(lead);
  lead[6] = 1;
  lead.writeUInt16LE(padded.length, 8);
  return Buffer.concat([lead, Buffer.from(padded, "latin1"), bytes]);
}

function elements(tensor: Tensor): { descriptor: string; bytes: Uint8Array } {
  const { dtype, shape, data } = tensor;
  if (Array.isArray(data)) {
    const words = data.map((word) => Array.from(word, (character) => character.codePointAt(0) ?? 0));
    const width = Math.max(1, ...words.map((word) => word.length));
    const points = Uint32Array.from(words.flatMap((word) => [...word, ...new Array<number>(width - word.length).fill(0)]));
    return { descriptor: `<U${width}`, bytes: new Uint8Array(points.buffer) };
  }
  const kind = Object.keys(descriptors).find((key) => descriptors[key] === dtype);
  if (kind) return { descriptor: `${bytesPerElement[dtype] === 1 ? "|" : "<"}${kind}`, bytes: rawBytes(tensor) };
  if (isFloat(dtype) && bytesPerElement[dtype] === 2) return elements({ dtype: "float32", shape, data: toFloat32(tensor) });
  return { descriptor: data instanceof Int8Array ? "|i1" : "|u1", bytes: rawBytes(tensor) };
}
