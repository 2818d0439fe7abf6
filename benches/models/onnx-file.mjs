/**
 * ONNX's format: a graph of named nodes, and the constants that they use.
 *
 * The field numbers are those of onnx.proto.
 */
import { writeChunks } from "./output.mjs";
import { float, integer, nested, string } from "./protobuf.mjs";

/** Numbers of the element types. */
const TYPES = { float: 1, int8: 3, int32: 6, int64: 7, bool: 9 };
const ATTRIBUTE = { float: 1, integer: 2, string: 3, integers: 7 };
const IR_VERSION = 9;
const OPSET = 20;

const typeOf = (values) =>
  values instanceof Float32Array ? TYPES.float : values instanceof Int8Array ? TYPES.int8 : TYPES.int64;

function attribute(name, value) {
  if (Array.isArray(value)) {
    const items = value.flatMap((item) => integer(8, item));
    return [...string(1, name), ...items, ...integer(20, ATTRIBUTE.integers)];
  }
  if (typeof value === "string") return [...string(1, name), ...string(4, value), ...integer(20, ATTRIBUTE.string)];
  if (Number.isInteger(value)) return [...string(1, name), ...integer(3, value), ...integer(20, ATTRIBUTE.integer)];
  return [...string(1, name), ...float(2, value), ...integer(20, ATTRIBUTE.float)];
}

/** A value that goes in or out; a dimension that is a string may have any length. */
function valueInfo(name, type, shape) {
  const dimensions = shape.flatMap((size) =>
    nested(1, typeof size === "string" ? string(2, size) : integer(1, size)),
  );
  const tensor = [...integer(1, TYPES[type]), ...nested(2, dimensions)];
  return [...string(1, name), ...nested(2, nested(1, tensor))];
}

export class Graph {
  #parts = [];
  #constants = new Map();
  #count = 0;

  input(name, type, shape) {
    this.#parts.push(...nested(11, valueInfo(name, type, shape)));
    return name;
  }

  output(name, type, shape) {
    this.#parts.push(...nested(12, valueInfo(name, type, shape)));
  }

  /** A constant; its type is that of the array, a `BigInt64Array` being int64. */
  constant(name, values, shape = [values.length]) {
    const dims = shape.flatMap((size) => integer(1, size));
    const bytes = new Uint8Array(values.buffer, values.byteOffset, values.byteLength);
    this.#parts.push(...nested(5, [...dims, ...integer(2, typeOf(values)), ...string(8, name), ...nested(9, [bytes])]));
    return name;
  }

  /** A constant of small integers, made once however often it is asked for. */
  integers(...values) {
    return this.#shared("i", values, (name) => this.constant(name, BigInt64Array.from(values, BigInt)));
  }

  /** An integer of no dimension. */
  scalar(value) {
    return this.#shared("n", [value], (name) => this.constant(name, BigInt64Array.of(BigInt(value)), []));
  }

  /** A number of no dimension. */
  number(value) {
    return this.#shared("f", [value], (name) => this.constant(name, Float32Array.of(value), []));
  }

  #shared(kind, values, make) {
    const name = `${kind}_${values.join("_")}`;
    if (!this.#constants.has(name)) this.#constants.set(name, make(name));
    return this.#constants.get(name);
  }

  /**
   * Adds a node; the names of what it puts out, or the name where there is
   * one. `outputs` is how many, or what to call them.
   */
  node(op, inputs, { outputs = 1, ...attributes } = {}) {
    const id = `${op}_${this.#count++}`;
    const names = Array.isArray(outputs) ? outputs : Array.from({ length: outputs }, (_, i) => `${id}_${i}`);
    this.#parts.push(
      ...nested(1, [
        ...inputs.flatMap((name) => string(1, name)),
        ...names.flatMap((name) => string(2, name)),
        ...string(3, id),
        ...string(4, op),
        ...Object.entries(attributes).flatMap(([name, value]) => nested(5, attribute(name, value))),
      ]),
    );
    return names.length === 1 ? names[0] : names;
  }

  write(path) {
    writeChunks(path, [
      ...integer(1, IR_VERSION),
      ...string(2, "cacher-benches"),
      ...nested(7, [...string(2, "gpt2"), ...this.#parts]),
      ...nested(8, integer(2, OPSET)),
    ]);
  }
}
