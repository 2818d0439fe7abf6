/**
 * Checks what callers pass, before it is sent anywhere.
 *
 * Typed arrays wrap silently: -1 would become token 4294967295. So numbers are
 * looked at one by one before they go into one.
 */

import { CacherError } from "./errors.js";
import type { Input, LogitsOptions } from "./types.js";

const MAX_U32 = 0xffff_ffff;

/** Text as it is, token ids as a typed array. */
export function toInput(name: string, input: Input): string | Uint32Array {
  return typeof input === "string" ? input : toTokenIds(name, input);
}

export function toTokenIds(name: string, ids: readonly number[] | Uint32Array): Uint32Array {
  if (ids instanceof Uint32Array) return ids;
  if (!Array.isArray(ids)) {
    throw new CacherError("invalid-argument", `${name}: must be text, an array of token ids or a Uint32Array`);
  }
  ids.forEach((id: unknown, index) => {
    if (!Number.isInteger(id) || (id as number) < 0 || (id as number) > MAX_U32) {
      throw new CacherError("invalid-token", `${name}: ${String(id)} at index ${index} is not a token id`, { id, index });
    }
  });
  return Uint32Array.from(ids as readonly number[]);
}

/** `undefined` asks for every position. */
export function toPositions(positions: LogitsOptions["positions"] = [-1]): Int32Array | undefined {
  if (positions === "all") return undefined;
  const valid = Array.isArray(positions) && positions.every((p) => Number.isInteger(p) && Math.abs(p) <= 0x7fff_ffff);
  if (!valid) throw new CacherError("invalid-argument", 'positions: must be "all" or an array of whole numbers');
  return Int32Array.from(positions);
}

/** Refuses a misspelt option by name: one that does nothing is the worst kind. */
export function requireKnown(options: object, known: readonly string[], where: string): void {
  if (typeof options !== "object" || options === null) {
    throw new CacherError("invalid-argument", `${where}: its options must be an object`);
  }
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new CacherError("invalid-argument", `${where}: there is no option "${name}" (there are ${known.join(", ")})`);
    }
  }
}
