/**
 * Commands and answers of the engine's states, which are JSON.
 *
 * JSON knows no integers above 2^53, and seeds may be: they cross as strings of
 * digits, and only where a seed is expected does such a string become one
 * again. What users put into metadata stays as it is.
 */

import { CacherError, invalidOption } from "../errors.js";
import type { Change, HistoryEntry, StateInfo } from "../types.js";

/** Half a character, which UTF-8 cannot have. */
const LONE_SURROGATE = /\p{Surrogate}/gu;

export function toJson(value: unknown): string {
  return inJson(value, (key, number) => new CacherError("invalid-argument", `${key}: must be a finite number, not ${number}`, { name: key }));
}

/** Of a generation. Error: `invalid-option`. */
export function optionsToJson(options: object): string {
  return inJson(options, (key, number) => invalidOption(key, number, "a finite number"));
}

function inJson(value: unknown, notFinite: (key: string, number: number) => CacherError): string {
  return JSON.stringify(value, (key, each: unknown) => {
    if (typeof each === "bigint") return each.toString();
    // As where the browser itself makes bytes of a text.
    if (typeof each === "string") return each.replace(LONE_SURROGATE, "\ufffd");
    // JSON would make them null, and null takes a key out.
    if (typeof each === "number" && !Number.isFinite(each)) throw notFinite(key, each);
    return each;
  });
}

export function toStateInfo(json: string): StateInfo {
  return withSeeds(JSON.parse(json) as StateInfo);
}

export function withSeeds(info: StateInfo): StateInfo {
  info.rng.seed = toSeed(info.rng.seed);
  if (info.config.seed !== undefined) info.config.seed = toSeed(info.config.seed);
  return info;
}

export function withSeed(entry: HistoryEntry): HistoryEntry {
  entry.seed = toSeed(entry.seed);
  entry.configChanges.forEach(withSeedOfChange);
  return entry;
}

/** Of a change of config. */
export function withSeedOfChange(change: Change): void {
  if (change.key !== "seed") return;
  change.a = toSeed(change.a as number | string);
  change.b = toSeed(change.b as number | string);
}

function toSeed(seed: number | bigint | string): number | bigint {
  return typeof seed === "string" ? BigInt(seed) : seed;
}
