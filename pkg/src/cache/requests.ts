/**
 * What the client asks of the host about the cache, and the answers, typed once.
 */

import type { LayerPlan } from "../cache-layers/plan.js";
import type { EngineOptions, GenerationChunk, GenerationResult } from "../types.js";
import type {
  CacheEntry,
  CacheEvent,
  CacheLabel,
  CacheStats,
  Invalidation,
  ListCacheEntries,
} from "./types.js";

/** Settings that may change while the cache is open. */
export interface CacheTuning {
  use: "reproducible" | "none";
  maxEntries: number;
  maxBytes: number;
  ttlMs: number;
  ttlJitter: number;
  staleMs: number;
  earlyRefresh: number;
  compressOver: number;
  pinnedTags: string[];
  semantic: boolean;
  semanticThreshold: number;
  logLevel: "silent" | "error" | "debug";
}

/** All settings, with defaults filled in. */
export interface CacheSettings extends CacheTuning {
  name: string;
  layers: LayerPlan[];
  acrossTabs: boolean;
  waitMs: number;
  cleanUpIntervalMs: number;
}

/** What is asked for. */
export type Subject =
  | { kind: "generation"; prompt: string | Uint32Array; options: EngineOptions }
  | { kind: "state"; id: string; options: EngineOptions }
  /** Any request, as JSON; a stream's answer is another kind of value. */
  | { kind: "value"; json: string; stream: boolean };

/** `"auto"`: as the cache is set up. */
export type AskMode = "auto" | "on" | "only" | "refresh";

/** A state's answer that was kept: for whom, and what. */
export interface Kept {
  /** The request's JSON; the state may have moved on since. */
  request: string;
  recording: string;
}

/** What was found, by the kind of subject. */
export type Content =
  | { kind: "generation"; chunks: GenerationChunk[]; times: number[]; result: GenerationResult }
  | { kind: "state"; times: number[]; kept: Kept }
  | { kind: "value"; value: string | Uint8Array };

export type Answer =
  /** Not for the cache: to be computed as ever. */
  | { status: "off" }
  /** `refresh`: a lease to compute it anew under, in the background. */
  | { status: "hit"; label: CacheLabel; content: Content; entry: CacheEntry; refresh: number | null }
  /** The asker computes it, and settles the lease. */
  | { status: "lead"; key: string; lease: number }
  /** Another call of this client computes it. */
  | { status: "join"; key: string };

/** What became of a lease. */
export type Outcome =
  | { type: "generation"; result: GenerationResult; chunks: [tokens: number, ms: number][] }
  | { type: "value"; value: string | Uint8Array; source: string | null }
  | { type: "failed"; code: string; message: string }
  /** Nothing came of it: it was aborted, or cannot be kept. */
  | { type: "dropped" };

export interface Keeping {
  ttlMs: number | null;
  tags: string[];
  costMs: number;
}

/** A call of a layer's method on the page. */
export interface LayerCall {
  call: number;
  layer: number;
  method: string;
  args: unknown[];
}

export interface CacheRequests {
  ask: { args: { subject: Subject; mode: AskMode }; value: Answer; event: never };
  settle: { args: { lease: number; outcome: Outcome; keeping: Keeping }; value: CacheEntry | null; event: never };
  /** Puts a value in without having asked. */
  set: { args: { json: string; value: string | Uint8Array; source: string | null; keeping: Keeping }; value: CacheEntry; event: never };
  get: { args: { json: string }; value: Extract<Answer, { status: "hit" }> | null; event: never };
  explain: { args: { subject: Subject }; value: { key: string; json: string; reproducible: boolean }; event: never };
  /** Counts what the client alone knows. */
  count: { args: { what: "shared" | "error"; reason: string }; value: null; event: never };
  entries: { args: ListCacheEntries; value: { items: CacheEntry[]; total: number }; event: never };
  entry: { args: { key: string }; value: { entry: CacheEntry; value: string | Uint8Array; text: string | null } | null; event: never };
  delete: { args: { keys: string[] }; value: number; event: never };
  invalidate: { args: Invalidation; value: number; event: never };
  clear: { args: { remote: boolean }; value: null; event: never };
  pin: { args: { key: string; pinned: boolean }; value: null; event: never };
  configure: { args: Partial<CacheTuning>; value: null; event: never };
  stats: { args: null; value: CacheStats; event: never };
  resetStats: { args: null; value: null; event: never };
  prometheus: { args: null; value: string; event: never };
  export: { args: null; value: Blob; event: never };
  import: { args: { file: Blob }; value: number; event: never };
  /** Tells of events until it is cancelled. */
  watch: { args: null; value: null; event: CacheEvent };
  /** Asks for the layers that live on the page, until it is cancelled. */
  serve: { args: null; value: null; event: LayerCall };
  served: { args: { call: number; value?: unknown; error?: string }; value: null; event: never };
}

export type CacheRequestName = keyof CacheRequests;

export type CacheRequestMessage = { [Name in CacheRequestName]: { name: Name; args: CacheRequests[Name]["args"] } }[CacheRequestName];
