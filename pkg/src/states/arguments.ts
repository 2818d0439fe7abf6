/**
 * Checks what callers pass about states: the engine would refuse it too, but
 * could not name the argument.
 */

import { CacherError } from "../errors.js";

type Check = (value: unknown) => boolean;

const isText: Check = (value) => typeof value === "string";
const isObject: Check = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

export const isSeed: Check = (value) =>
  typeof value === "bigint" ? value >= 0n && value < 1n << 64n : Number.isSafeInteger(value) && (value as number) >= 0;

/** What an argument may be, and in words. */
const KINDS = {
  text: [isText, "a string"],
  textOrNull: [(value) => isText(value) || value === null, "a string or null"],
  texts: [(value) => Array.isArray(value) && value.every(isText), "an array of strings"],
  number: [(value) => typeof value === "number" && Number.isFinite(value) && value >= 0, "a number of at least 0"],
  flag: [(value) => typeof value === "boolean", "true or false"],
  object: [isObject, "an object"],
  count: [(value) => Number.isSafeInteger(value) && (value as number) >= 0 && (value as number) <= 0xffff_ffff, "a whole number from 0 to 2^32-1"],
  seed: [isSeed, "a whole number from 0 to 2^53-1, or a bigint up to 2^64-1"],
  interval: [(value) => Number.isSafeInteger(value) && (value as number) >= 1000 && (value as number) <= 0x7fff_ffff, "a whole number from 1000 to 2^31-1"],
  bytes: [(value) => Number.isSafeInteger(value) && (value as number) >= 0, "a whole number of at least 0"],
} satisfies Record<string, [Check, string]>;

export type Kind = keyof typeof KINDS | readonly string[];

/** Checks the arguments that are given, by the kind of each; a list is of the values allowed. */
export function requireKinds(where: string, values: object, kinds: Readonly<Record<string, Kind>>): void {
  for (const [name, kind] of Object.entries(kinds)) {
    const value = (values as Record<string, unknown>)[name];
    if (value === undefined) continue;
    const [check, words] =
      typeof kind === "string"
        ? KINDS[kind]
        : [(each: unknown) => kind.includes(each as string), `one of ${kind.map((each) => `"${each}"`).join(", ")}`];
    if (check(value)) continue;
    throw new CacherError("invalid-argument", `${name}: must be ${words}, not ${inWords(value)} (in ${where})`, { name });
  }
}

function inWords(value: unknown): string {
  if (typeof value === "string") return `"${value}"`;
  return typeof value === "object" ? (value === null ? "null" : "an object") : String(value);
}
