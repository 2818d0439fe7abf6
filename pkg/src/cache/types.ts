/**
 * The public types of the response cache.
 */

import type { JsonValue } from "../wasm/cacher_wasm.js";

/** Whether one request uses the cache. */
export type CacheMode =
  /** Answer from the cache, else compute and keep; also where chance decides the answer and no seed is set. */
  | true
  /** Neither read nor write. */
  | false
  /** Answer from the cache, else fail with code `not-cached`; an equal request in progress is not waited for. */
  | "only"
  /** Compute, and keep the answer in place of what is there. */
  | "refresh";

/** What a request may say of the cache. */
export interface CacheControls {
  /** Default: of generations, as the cache was set up; of functions, `true`. */
  cache?: CacheMode;
  /** The same as `cache: "refresh"`, but nothing beside `cache: false`. Default: false. */
  forceRefresh?: boolean;
  /** How long the answer is kept, in milliseconds; `0`: for ever. Default: the cache's `ttlMs`. */
  cacheTtl?: number;
  /** To invalidate or pin by; up to 16 of 1 to 64 bytes. They are not part of the key. Default: none. */
  tags?: readonly string[];
  /** How a kept stream comes back: at once, or in the time that it took when it was made. Default: `"instant"`. */
  replay?: "instant" | "recorded";
}

/** Where an answer came from. */
export interface CacheLabel {
  /** `false`: computed for this request, or for an equal one in progress in this tab (`shared`). */
  hit: "exact" | "stale" | "semantic" | false;
  /** Name of the layer that had it, `"other-tab"` where a tab has just sent it; `null` where it was computed. */
  layer: string | null;
  /**
   * SHA-256 of the request, hexadecimal; for a semantic hit that of the request
   * that was matched. `null` where the cache was not asked, and of an aborted generation.
   */
  key: string | null;
  /** Since it was computed, in milliseconds; 0 where it was just now. */
  ageMs: number;
  /** True where an equal request in progress, in this tab or another, computed it. */
  shared: boolean;
  /** What computing took when it was made, and so was saved, in milliseconds; 0 where it was computed. */
  savedMs: number;
  /** Similarity, for a semantic hit; else `null`. */
  score: number | null;
  /** The prompt that was matched, for a semantic hit; else `null`. */
  matchedPrompt: string | null;
}

/** An entry, without its value. Times are milliseconds since 1970. */
export interface CacheEntry {
  key: string;
  /** The beginning of the prompt, or of the request as JSON: up to 200 characters. */
  title: string;
  kind: "generation" | "value";
  /** SHA-256 of the model's weights; `null` for values of functions. */
  model: string | null;
  created: number;
  /** `null`: never. */
  expires: number | null;
  lastUsed: number;
  hits: number;
  /** As it is kept, compressed where that was worth it. */
  bytes: number;
  /** Before compression. */
  rawBytes: number;
  /** What computing it took, in milliseconds. */
  costMs: number;
  /** Generated tokens. */
  tokens: number;
  tags: string[];
  /** Exempt from eviction and clean-up; it still expires. */
  pinned: boolean;
  /** What made it: `"cacher-wasm"`, or the caller's word. */
  source: string;
  /** Names of the layers that have it, of those that were listed. */
  layers: string[];
}

export interface ListCacheEntries {
  /** In title, tags or key; case-insensitive. */
  search?: string;
  /** All of these. */
  tags?: readonly string[];
  /** Default: `"used"`. */
  sort?: "used" | "created" | "expires" | "bytes" | "hits" | "cost";
  /** Default: `"desc"`. */
  order?: "asc" | "desc";
  /** Default: 0. */
  offset?: number;
  /** Default: 100. */
  limit?: number;
  /**
   * Also those of remote and custom layers, of which each record is fetched for
   * it; they know nothing of uses. Rejects where one cannot be listed. Default: false.
   */
  remote?: boolean;
}

/** Entries that all of the given limits fit; at least one must be given. */
export interface Invalidation {
  keys?: readonly string[];
  /** Any of these. */
  tags?: readonly string[];
  /** SHA-256 of the weights. */
  model?: string;
  /** Computed longer ago than this, in milliseconds. */
  olderThanMs?: number;
}

/**
 * A place for records, by name. What is in a record is the cache's business: it
 * is checked when it comes back, so a layer need not. Any may be slow or fail:
 * the cache then goes on without it for a while. `get`, `set` and `delete` have
 * two seconds, after which their signal fires; those of `keys` and `clear` do not.
 */
export interface CacheLayer {
  /** The record, or `undefined` where there is none. */
  get(key: string, signal: AbortSignal): Promise<Uint8Array | undefined>;
  /** Puts a record in place of what is there. */
  set(key: string, record: Uint8Array, entry: CacheEntry, signal: AbortSignal): Promise<void>;
  delete(keys: readonly string[], signal: AbortSignal): Promise<void>;
  /** All keys; in batches, so that a large layer need not be held at once. */
  keys(signal: AbortSignal): AsyncIterable<readonly string[]>;
  clear(signal: AbortSignal): Promise<void>;
}

/** Redis behind HTTP. */
export interface RemoteLayerOptions {
  /** `"webdis"`: a Webdis server; `"upstash"`: Upstash's REST interface, or one like it. */
  kind: "webdis" | "upstash";
  /** Of the server: `https://cache.example.org/`. */
  url: string | URL;
  /** Sent with each request, authorisation among them. Default: none. */
  headers?: Readonly<Record<string, string>>;
  /** Put before each key in Redis; not empty. Default: `"cacher:"`. */
  prefix?: string;
  /** For one request, in milliseconds. Default: 1,000. */
  timeoutMs?: number;
  /**
   * Records are signed with it (HMAC-SHA-256) and those that are not are refused,
   * so that who can write to the server but does not know the secret cannot
   * plant answers. What is refused stays until an answer of this client takes its
   * place, so each secret needs a prefix of its own. Default: none.
   */
  secret?: string;
  /** `"read"`: nothing is written to it or deleted there. Default: `"read-write"`. */
  access?: "read" | "read-write";
}

/** One layer behind memory. */
export type LayerOptions =
  | "indexeddb"
  | "localstorage"
  /** Default: 10,000 entries, 256 MiB. */
  | { kind: "indexeddb"; maxEntries?: number; maxBytes?: number }
  /** The page's, also where the cache is in a worker. Default: 200 entries, 1 MiB. */
  | { kind: "localstorage"; maxEntries?: number; maxBytes?: number }
  | RemoteLayerOptions
  /** In Node: a folder with one file an entry. Default: 10,000 entries, 256 MiB. */
  | { kind: "file"; folder: string | URL; maxEntries?: number; maxBytes?: number }
  /** Any object with the five methods. */
  | { kind: "custom"; name: string; layer: CacheLayer };

/** How a cache is set up; every part has a default. */
export interface CacheOptions {
  /** Of the database and of the line to other tabs. Default: `"cacher-answers"`. */
  name?: string;
  /** What lies behind memory, nearest first. Default: `["indexeddb"]` in browsers, nothing in Node. */
  layers?: readonly LayerOptions[];
  /**
   * Which generations use the cache without saying so: `"reproducible"`, those
   * whose answer the request decides (greedy, or with a seed); `"none"`.
   * Default: `"reproducible"`.
   */
  use?: "reproducible" | "none";
  /** In memory. Default: 1,000. */
  maxEntries?: number;
  /** In memory. Default: 16,777,216 (16 MiB). */
  maxBytes?: number;
  /** How long an answer is kept, in milliseconds; `0`: for ever. Default: 0. */
  ttlMs?: number;
  /** Takes a random part of up to this share off each TTL, so that entries made together do not expire together. From 0 to 1. Default: 0.1. */
  ttlJitter?: number;
  /**
   * How long after it has expired an answer is still given, while it is computed
   * anew; not to `get` and to states within a text of theirs, and not from servers,
   * which delete it. Default: 0.
   */
  staleMs?: number;
  /**
   * Computes popular answers anew before they expire, by chance, the sooner the
   * longer computing takes and the nearer the end (XFetch, Vattani et al. 2015,
   * with this as beta, up to 100; 1 is the paper's optimum). `0`: off. Default: 0.
   */
  earlyRefresh?: number;
  /** Values of at least this many bytes are compressed (LZ4) where that makes them smaller; `0`: none. Default: 4,096. */
  compressOver?: number;
  /** Entries with any of these tags are pinned. Default: none. */
  pinnedTags?: readonly string[];
  /** Equal requests in several tabs are computed once. Default: true. */
  acrossTabs?: boolean;
  /** How long to wait for another tab's answer without a sign of life from it, in milliseconds; at least 1,000. Default: 5,000. */
  waitMs?: number;
  /** How often expired and surplus entries are deleted from storage, in milliseconds; at least 1,000. Default: 60,000. */
  cleanUpIntervalMs?: number;
  /** Answer also with that of a prompt that means the same. Default: false. */
  semantic?: boolean | SemanticOptions;
  /** To the console: `"debug"` tells of hits, misses, sets and evictions, `"error"` of faults alone. Default: `"silent"`. */
  logLevel?: "silent" | "error" | "debug";
}

export interface SemanticOptions {
  /** Least similarity of a match, from 0 to 1; `score >= threshold` is a hit. */
  threshold?: number;
}

/** Something that the cache did. */
export interface CacheEvent {
  type: "hit" | "miss" | "set" | "evict" | "expire" | "delete" | "clear" | "refresh" | "error" | "health";
  /** Milliseconds since 1970. */
  time: number;
  /** `null` where there are several, or none. */
  key: string | null;
  layer: string | null;
  /** Of a hit. */
  hit?: "exact" | "stale" | "semantic";
  /** Why an entry was evicted, or what went wrong. */
  reason?: string;
  /** How many entries, of those that went. */
  count?: number;
  /** In this tab, or told by another. */
  origin: "this-tab" | "other-tab";
}

export interface Latency {
  count: number;
  /** Milliseconds. */
  mean: number;
  p50: number;
  p90: number;
  p99: number;
  max: number;
}

export interface LayerStats {
  name: string;
  hits: number;
  misses: number;
  sets: number;
  /** Timeouts among them. */
  errors: number;
  /** Records that were refused: damaged, foreign, or not signed. */
  rejected: number;
  health: "ok" | "down";
  /** Why it is down; else `null`. */
  reason: string | null;
  /** When it is tried again; `null` where it is well. */
  retryAt: number | null;
  /** `null` where it is not known. */
  entries: number | null;
  bytes: number | null;
  get: Latency;
  set: Latency;
}

export interface CacheStats {
  /** Since when these are counted. */
  since: number;
  /** Hits, misses and shared ones. */
  requests: number;
  hits: { exact: number; stale: number; semantic: number; total: number };
  misses: number;
  /** Hits, of hits and misses, 0 to 1. */
  hitRate: number;
  /** Requests that joined one in progress, in this tab or another. */
  shared: number;
  sets: number;
  /** Answers computed anew: by `"refresh"`, or in the background. */
  refreshes: number;
  /** From memory. */
  evictions: { entries: number; bytes: number; tooLarge: number; total: number };
  /** From memory. */
  expirations: number;
  /** Values that could not be kept, lookups by meaning that failed. Those of layers are with the layers. */
  errors: number;
  savedMs: number;
  savedTokens: number;
  /** In memory: as kept, and before compression. */
  memory: { entries: number; bytes: number; rawBytes: number; maxEntries: number; maxBytes: number; pinned: number };
  /** Memory first, then as set up. */
  layers: LayerStats[];
  /** Of lookups, whatever they found. */
  lookup: Latency;
  /** Up to 32 by themselves, the rest as `"other"`. */
  models: { model: string; hits: number; misses: number; savedMs: number; savedTokens: number }[];
}

/** A value that was found. */
export interface CacheHit<T> {
  value: T;
  entry: CacheEntry;
  cache: CacheLabel;
}

/** Anything that identifies a request; the order of its keys does not matter. */
export type CacheRequest = JsonValue;
