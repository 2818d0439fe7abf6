/**
 * Commands and answers of the engine's states, which are JSON.
 *
 * JSON knows no integers above 2^53, and seeds may be: they cross as strings of
 * digits, and only where a seed is expected does such a string become one
 * again. What users put into metadata stays as it is.
 */

import type { HistoryEntry, StateInfo } from "../types.js";

export function toJson(value: unknown): string {
  return JSON.stringify(value, (_, each: unknown) => (typeof each === "bigint" ? each.toString() : each));
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
  return entry;
}

function toSeed(seed: number | bigint | string): number | bigint {
  return typeof seed === "string" ? BigInt(seed) : seed;
}
