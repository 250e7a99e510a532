/** Tensors across the border to ONNX Runtime. Every conversion shares memory where both sides hold the elements alike. */
import { Tensor as OrtTensor } from "onnxruntime-node";
import { userError } from "../diagnostics/diagnostic.js";
import { type DType, dtypes, type Tensor, toFloat32 } from "../graph/tensor.js";

/** Element types that ONNX Runtime's JavaScript binding carries, in the same array types as ours. */
const shared: ReadonlySet<string> = new Set<DType>([
  "float32",
  "float64",
  "float16",
  "int8",
  "uint8",
  "int16",
  "uint16",
  "int32",
  "uint32",
  "int64",
  "uint64",
  "bool",
  "string",
]);

function isSharedType(dtype: DType): dtype is DType & OrtTensor.Type {
  return shared.has(dtype);
}

/** Whether the binding carries tensors of a type, by ONNX Runtime's name of it. */
export function crosses(type: string): boolean {
  return shared.has(type);
}

/** bfloat16 crosses as float32. Throws UserError (NCC0851) for an element type that cannot cross, naming the value. */
export function toOrtTensor(name: string, tensor: Tensor): OrtTensor {
  if (tensor.dtype === "bfloat16") return new OrtTensor("float32", toFloat32(tensor), tensor.shape);
  if (!isSharedType(tensor.dtype)) throw userError("NCC0851", { name, dtype: tensor.dtype });
  // The binding takes the array's own extent: a view of a larger buffer is fine, a shared buffer is not.
  const data = ArrayBuffer.isView(tensor.data) && tensor.data.buffer instanceof SharedArrayBuffer ? tensor.data.slice() : tensor.data;
  return new OrtTensor(tensor.dtype, data, tensor.shape);
}

function isOurType(type: string): type is DType {
  return dtypes.some((dtype) => dtype === type);
}

/** The element type's array for data that the binding hands out in another one (half floats as Float16Array on newer hosts). */
function ownArray(dtype: DType, data: OrtTensor["data"]): Tensor["data"] {
  if (dtype === "float16" && !(data instanceof Uint16Array) && ArrayBuffer.isView(data)) {
    return new Uint16Array(data.buffer, data.byteOffset, data.byteLength / 2);
  }
  return data;
}

/** Throws UserError (NCC0851) for a type of value that has no tensor form here. */
export function fromOrtTensor(name: string, tensor: OrtTensor): Tensor {
  if (!isOurType(tensor.type)) throw userError("NCC0851", { name, dtype: tensor.type });
  return { dtype: tensor.type, shape: [...tensor.dims], data: ownArray(tensor.type, tensor.data) };
}
