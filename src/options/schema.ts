/** Shapes of JSON as data: one description checks a parsed value and is its TypeScript type. */
import type { Dim } from "../graph/graph.js";
import { dtypes } from "../graph/tensor.js";

export type Schema =
  /** Anything that JSON has. */
  | "json"
  | "string"
  | "number"
  | "count"
  | "dim"
  | "boolean"
  | "dtype"
  | { readonly optional: Schema }
  | { readonly list: Schema }
  | { readonly oneOf: readonly string[] }
  | { readonly record: Schema }
  | { readonly fields: { readonly [name: string]: Schema } };

type Flatten<T> = { readonly [K in keyof T]: T[K] };
type OptionalKeys<F> = { [K in keyof F]: F[K] extends { readonly optional: Schema } ? K : never }[keyof F];

/** The type of the values that a schema accepts. */
export type Of<S> = S extends "json"
  ? unknown
  : S extends "string"
    ? string
    : S extends "number" | "count"
      ? number
      : S extends "dim"
        ? Dim
        : S extends "boolean"
          ? boolean
          : S extends "dtype"
            ? (typeof dtypes)[number]
            : S extends { readonly optional: infer T }
              ? Of<T> | undefined
              : S extends { readonly list: infer T }
                ? readonly Of<T>[]
                : S extends { readonly oneOf: readonly (infer W)[] }
                  ? W
                  : S extends { readonly record: infer T }
                    ? { readonly [name: string]: Of<T> }
                    : S extends { readonly fields: infer F }
                      ? Flatten<
                          { readonly [K in Exclude<keyof F, OptionalKeys<F>>]: Of<F[K]> } & { readonly [K in OptionalKeys<F>]?: Of<F[K]> }
                        >
                      : never;

/** What does not fit, as `path: what is expected`; undefined if the value fits. Fields that the schema does not name are allowed. */
export function mismatch(schema: Schema, value: unknown, path = "$"): string | undefined {
  if (typeof schema === "string") return fitsScalar(schema, value) ? undefined : `${path}: not a ${schema}`;
  if ("optional" in schema) return value === undefined ? undefined : mismatch(schema.optional, value, path);
  if ("oneOf" in schema) {
    return schema.oneOf.some((word) => word === value) ? undefined : `${path}: not one of ${schema.oneOf.join(", ")}`;
  }
  if ("list" in schema) {
    if (!Array.isArray(value)) return `${path}: not a list`;
    return first(value.map((item: unknown, index) => () => mismatch(schema.list, item, `${path}[${index}]`)));
  }
  if (typeof value !== "object" || value === null || Array.isArray(value)) return `${path}: not an object`;
  const own = new Map<string, unknown>(Object.entries(value));
  if ("record" in schema)
    return first(
      [...own].map(
        ([name, item]) =>
          () =>
            mismatch(schema.record, item, `${path}.${name}`),
      ),
    );
  return first(
    Object.entries(schema.fields).map(
      ([name, field]) =>
        () =>
          mismatch(field, own.get(name), `${path}.${name}`),
    ),
  );
}

function first(checks: readonly (() => string | undefined)[]): string | undefined {
  for (const check of checks) {
    const found = check();
    if (found !== undefined) return found;
  }
  return undefined;
}

function fitsScalar(schema: Extract<Schema, string>, value: unknown): boolean {
  if (schema === "json") return value !== undefined;
  if (schema === "number") return typeof value === "number" && Number.isFinite(value);
  if (schema === "count") return typeof value === "number" && Number.isSafeInteger(value) && value >= 0;
  if (schema === "dim") return typeof value === "string" || fitsScalar("count", value);
  if (schema === "dtype") return dtypes.some((dtype) => dtype === value);
  return typeof value === schema;
}

/** The type guard of a schema. */
export function fits<const S extends Schema>(schema: S, value: unknown): value is Of<S> {
  return mismatch(schema, value) === undefined;
}
