/**
 * How one entry lies in its file.
 *
 * A head of fixed length, then the facts as JSON, then the record: so all facts
 * can be listed without reading a record. What changes with each use is in the
 * head, where it can be written over in place.
 *
 * | at | bytes | |
 * |---|---|---|
 * | 0 | 8 | `cacher`, 0, and the format's version |
 * | 8 | 4 | length of the facts |
 * | 12 | 4 | 1: pinned |
 * | 16 | 8 | last used, milliseconds since 1970 |
 * | 24 | 8 | hits |
 *
 * Numbers are little endian, those of 8 bytes floating point. The record has a
 * checksum of its own, which who reads it checks.
 */

import type { CacheEntry } from "../cache/types.js";

const MAGIC = [0x63, 0x61, 0x63, 0x68, 0x65, 0x72, 0, 1];
const FACTS_LENGTH = 8;
export const PINNED = 12;
export const USED = 16;
const HITS = 24;
export const HEAD_BYTES = 32;
/** Above what title, tags and the rest can come to. */
export const MAX_FACTS_BYTES = 1 << 14;

export interface Head {
  factsLength: number;
  pinned: boolean;
  lastUsed: number;
  hits: number;
}

/** The beginning of a file; the record follows. */
export function encode(entry: CacheEntry): Uint8Array {
  const facts = new TextEncoder().encode(JSON.stringify({ ...entry, layers: [] }));
  const bytes = new Uint8Array(HEAD_BYTES + facts.length);
  bytes.set(MAGIC);
  bytes.set(facts, HEAD_BYTES);
  const view = new DataView(bytes.buffer);
  view.setUint32(FACTS_LENGTH, facts.length, true);
  bytes.set(encodePinned(entry.pinned), PINNED);
  bytes.set(encodeUsed(entry), USED);
  return bytes;
}

/** What lies at `PINNED`. */
export function encodePinned(pinned: boolean): Uint8Array {
  return Uint8Array.of(pinned ? 1 : 0, 0, 0, 0);
}

/** What lies at `USED`. */
export function encodeUsed({ lastUsed, hits }: { lastUsed: number; hits: number }): Uint8Array {
  const bytes = new Uint8Array(HEAD_BYTES - USED);
  const view = new DataView(bytes.buffer);
  view.setFloat64(0, lastUsed, true);
  view.setFloat64(HITS - USED, hits, true);
  return bytes;
}

/** `undefined` where the file, of `fileBytes`, is damaged or something else. */
export function decodeHead(bytes: Uint8Array, fileBytes: number): Head | undefined {
  if (bytes.length < HEAD_BYTES || MAGIC.some((byte, index) => bytes[index] !== byte)) return undefined;
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.length);
  const factsLength = view.getUint32(FACTS_LENGTH, true);
  const pinned = view.getUint32(PINNED, true);
  const lastUsed = view.getFloat64(USED, true);
  const hits = view.getFloat64(HITS, true);
  const fits = factsLength <= MAX_FACTS_BYTES && HEAD_BYTES + factsLength <= fileBytes;
  if (!fits || pinned > 1 || !isTime(lastUsed) || !Number.isSafeInteger(hits) || hits < 0) return undefined;
  return { factsLength, pinned: pinned === 1, lastUsed, hits };
}

/** The entry that a head and its facts tell of; `undefined` where they do not tell of `key`. */
export function decodeFacts(key: string, head: Head, facts: Uint8Array): CacheEntry | undefined {
  let entry: unknown;
  try {
    entry = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(facts));
  } catch {
    return undefined;
  }
  if (!isEntry(entry) || entry.key !== key) return undefined;
  // By name: a file may hold what is no part of an entry.
  const { title, kind, model, created, expires, bytes, rawBytes, costMs, tokens, tags, source } = entry;
  const { pinned, lastUsed, hits } = head;
  return {
    ...{ key, title, kind, model, created, expires, lastUsed, hits, bytes, rawBytes, costMs, tokens },
    ...{ tags, pinned, source, layers: [] },
  };
}

function isEntry(value: unknown): value is CacheEntry {
  if (typeof value !== "object" || value === null) return false;
  const entry = value as Record<string, unknown>;
  return (
    ["key", "title", "source"].every((name) => typeof entry[name] === "string") &&
    (entry.kind === "generation" || entry.kind === "value") &&
    (entry.model === null || typeof entry.model === "string") &&
    isTime(entry.created) &&
    (entry.expires === null || isTime(entry.expires)) &&
    ["bytes", "rawBytes", "costMs", "tokens"].every((name) => isTime(entry[name])) &&
    Array.isArray(entry.tags) &&
    entry.tags.every((tag) => typeof tag === "string")
  );
}

/** JSON has no number that is not finite, but one too large becomes `Infinity`. */
function isTime(value: unknown): value is number {
  return typeof value === "number" && Number.isFinite(value) && value >= 0;
}
