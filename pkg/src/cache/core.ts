/**
 * The part of the response cache that is in wasm: keys, the entries in memory
 * with their order and limits, the format of records, and the figures.
 *
 * It does no I/O and has no clock: `now` (milliseconds since 1970) and `chance`
 * (from 0 to below 1) are given with each call.
 */

/** What `find` and `admit` say. */
export const Found = {
  /** Nothing. */
  Miss: 0,
  Fresh: 1,
  /** Good, but to be computed anew in the background before it expires. */
  Due: 2,
  /** Expired, and may be given while it is computed anew. */
  Stale: 3,
} as const;

/** An entry to be: all but what the core works out. */
export interface NewEntry {
  key: string;
  title: string;
  kind: "generation" | "value";
  model: string | null;
  source: string;
  costMs: number;
  tokens: number;
  tags: string[];
  /** `0`: never expires; `null`: the cache's own. */
  ttlMs: number | null;
  /** What else of the request a semantic match must share, and the prompt's text; `null`: not to be found so. */
  semantic: { family: string; prompt: string } | null;
}

export interface CoreSettings {
  maxEntries: number;
  maxBytes: number;
  ttlMs: number;
  ttlJitter: number;
  staleMs: number;
  earlyRefresh: number;
  compressOver: number;
  pinnedTags: string[];
  semanticThreshold: number;
}

/** As `new Core(JSON.stringify(settings))`. Every method throws errors with `code`, `message` and `details`. */
export interface Core {
  free(): void;
  /** The settings anew; what no longer fits is evicted. */
  configure(settings: string, now: number): void;

  /** Looks in memory; what was found stays at hand until the next call. `stale`: expired ones within `staleMs` count. `count`: as a use and in the figures. */
  find(key: string, now: number, chance: number, stale: boolean, count: boolean): number;
  /** The value that was found, decompressed: text (JSON) or bytes. */
  foundValue(): string | Uint8Array;
  /** JSON of its `CacheEntry`, `layers` empty. */
  foundEntry(): string;
  /** Its record, to put into other layers. */
  foundRecord(): Uint8Array;

  /** Makes a record of a new entry, puts it into memory and has it at hand as found. `vector`: of its prompt, with `semantic`. */
  insert(entry: string, value: string | Uint8Array, vector: Float32Array | undefined, now: number, chance: number): void;
  /** Takes a record that a layer had under `key`: checks all of it, puts it into memory, has it at hand. Error: `invalid-cache-record`. */
  admit(key: string, record: Uint8Array, layer: string, now: number, chance: number, stale: boolean): number;

  delete(keys: string[]): number;
  clear(): void;
  /** Deletes what is expired beyond use; how many. */
  sweep(now: number): number;
  /** Keys in memory that an `Invalidation` (JSON) names; with `delete` to do it. */
  matching(invalidation: string, now: number): string[];
  setPinned(key: string, pinned: boolean): boolean;
  /** JSON of the `CacheEntry`s in memory, `layers: ["memory"]`. */
  entries(): string;
  /** JSON `[{type: "evict" | "expire", key, reason, count}]` since the last call. */
  takeEvents(): string;

  /**
   * The most similar entry of a family, whatever its score, JSON
   * `{key, score, prompt, guard: string | null}`: `guard` says why it must not be taken; `undefined`: none.
   */
  similar(family: string, prompt: string, vector: Float32Array, now: number): string | undefined;
  /** Makes an entry of another layer findable by `similar`. */
  addVector(key: string, family: string, prompt: string, vector: Float32Array): void;

  /** Counts what happened outside: `what` is "hit", "miss", "set", "error" or "rejected" of a layer, with its time. */
  observe(layer: string, what: string, ms: number): void;
  /** Counts a request's end: `what` is "exact", "stale", "semantic", "miss", "shared", "refresh" or "error"; `ms` its lookup, then what was saved. */
  answered(what: string, model: string | undefined, ms: number, savedMs: number, savedTokens: number): void;
  /** JSON of `CacheStats`, `layers` with the figures alone (`name`, `hits`, `misses`, `sets`, `errors`, `rejected`, `get`, `set`). */
  stats(): string;
  resetStats(now: number): void;
  /** The figures in Prometheus' text format, names `cacher_cache_…`. */
  prometheus(): string;
}

/** What needs no cache. */
export interface CoreStatics {
  new (settings: string, now: number): Core;
  /** The one spelling of a JSON text (RFC 8785). Error: `invalid-argument`. */
  canonical(json: string): string;
  /** SHA-256 of the canonical spelling, hexadecimal. */
  key(json: string): string;
  /** JSON of a record's `CacheEntry` (`layers` empty, `hits` 0), after a check of all of it. Error: `invalid-cache-record`. */
  inspect(record: Uint8Array): string;
  /** The record with its HMAC-SHA-256. */
  sign(record: Uint8Array, secret: string): Uint8Array;
  /** The record of a signed one. Error: `invalid-cache-record`. */
  verify(signed: Uint8Array, secret: string): Uint8Array;
  /** Which rows of a layer to delete, given JSON `{rows: [{key, bytes, lastUsed, expires, pinned}], maxEntries, maxBytes, staleMs, now}`; those expired beyond use, then the least recently used; JSON `{expired: string[], evicted: string[]}`. */
  cleanUp(request: string): string;
}
