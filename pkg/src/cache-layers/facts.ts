/**
 * The facts of entries as local layers keep them, read with care: another
 * version of this package, or another script of the origin, may have written
 * them.
 */

import type { CacheEntry } from "../cache/types.js";
import { CacherError } from "../errors.js";
import type { CleanUpRow, Use } from "./layer.js";

/** What a local layer holds at most; `cleanUp` sees to it. */
export interface Limits {
  maxEntries: number;
  maxBytes: number;
}

/** What a local layer tells of its own accord. */
export interface LayerNotices {
  /** Rows were none of this library's making, and have been deleted. */
  onrejected(count: number): void;
  /** Entries were deleted because the browser had no room for another. */
  onevicted(keys: string[]): void;
}

/** The facts, and nothing else that lay there; `undefined` where they are not right. */
export function readFacts(value: unknown): CacheEntry | undefined {
  const { key, title, kind, model, created, expires, lastUsed, hits, bytes, rawBytes, costMs, tokens, tags, pinned, source } =
    (value ?? {}) as CacheEntry;
  const numbers = [created, lastUsed, hits, bytes, rawBytes, costMs, tokens, expires ?? 0];
  const valid =
    [key, title, source, model ?? ""].every((text) => typeof text === "string") &&
    (kind === "generation" || kind === "value") &&
    numbers.every((number) => Number.isFinite(number) && number >= 0) &&
    Array.isArray(tags) &&
    tags.every((tag) => typeof tag === "string") &&
    typeof pinned === "boolean";
  if (!valid) return undefined;
  const nullable = { model: model ?? null, expires: expires ?? null };
  return { key, title, kind, ...nullable, created, lastUsed, hits, bytes, rawBytes, costMs, tokens, tags, pinned, source, layers: [] };
}

export function afterUse(facts: CacheEntry, { lastUsed, hits }: Use): CacheEntry {
  return { ...facts, lastUsed: Math.max(facts.lastUsed, lastUsed), hits: facts.hits + hits };
}

export function toRow({ key, bytes, lastUsed, expires, pinned, tags }: CacheEntry): CleanUpRow {
  return { key, bytes, lastUsed, expires, pinned, tags };
}

/** Refuses a record that a clean-up would delete at once. */
export function requireFits(record: Uint8Array, { maxBytes }: Limits): void {
  if (record.length > maxBytes) {
    throw new CacherError("storage-full", `a record of ${record.length} bytes is more than the layer holds (${maxBytes})`);
  }
}
