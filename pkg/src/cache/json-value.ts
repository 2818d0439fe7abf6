/**
 * Values as they are kept: bytes as they are, all else as JSON, but only where
 * JSON gives back what it was given.
 */

import { CacherError, messageOf } from "../errors.js";

/** Error: `not-cacheable`, naming where in the value. */
export function toKept(value: unknown): string | Uint8Array {
  if (value instanceof Uint8Array) return value;
  const json = JSON.stringify(value, function (this: Record<string, unknown>, key: string, each: unknown) {
    // Before its `toJSON`, which would make a date a string.
    requirePlain(this, key, this[key]);
    return each;
  });
  if (json === undefined) throw notCacheable("", value);
  return json;
}

/** Error: `invalid-cache-record` where it is no JSON: a shared layer may have been fed anything. */
export function fromKept(kept: string | Uint8Array): unknown {
  if (typeof kept !== "string") return kept;
  try {
    return JSON.parse(kept);
  } catch (error) {
    throw new CacherError("invalid-cache-record", `the kept value is no JSON: ${messageOf(error)}`);
  }
}

/** A request as JSON. Error: `invalid-argument`. */
export function requestJson(request: unknown): string {
  try {
    const kept = toKept(request);
    if (typeof kept === "string") return kept;
  } catch (error) {
    if (!(error instanceof CacherError)) throw error;
    throw new CacherError("invalid-argument", `request: ${error.message}`, {}, { cause: error });
  }
  throw new CacherError("invalid-argument", "request: must be a JSON value, not bytes");
}

function requirePlain(holder: object, key: string, value: unknown): void {
  switch (typeof value) {
    case "string":
    case "boolean":
      return;
    case "undefined":
      // Of an object, a part that is not there; in an array it would become null.
      if (key !== "" && !Array.isArray(holder)) return;
      break;
    case "number":
      if (Number.isFinite(value)) return;
      break;
    case "object": {
      if (value === null || Array.isArray(value)) return;
      const prototype: unknown = Object.getPrototypeOf(value);
      if (prototype === null || prototype === Object.prototype) return;
    }
  }
  throw notCacheable(key, value);
}

function notCacheable(key: string, value: unknown): CacherError {
  const name = typeof value === "object" && value !== null ? (value.constructor?.name ?? "object") : String(value);
  const where = key === "" ? "the value" : `"${key}"`;
  return new CacherError("not-cacheable", `${where} is ${name}, which JSON cannot hold as it is`);
}
