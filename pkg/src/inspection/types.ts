/**
 * The public types of `cacher.inspect()`. All of it is plain JSON: to export it,
 * `JSON.stringify` it.
 */

import type { CacheStats } from "../cache/types.js";
import type { ModelInfo } from "../wasm/cacher_wasm.js";
import type { RuntimeInfo, StatesUsage, StorageInfo, StoredModel } from "../types.js";

/** What the engine holds, and what is stored, at one moment. */
export interface EngineInspection {
  /** When, in milliseconds since 1970. */
  time: number;
  model: ModelInfo;
  runtime: RuntimeInfo;
  /** Where this model's files are kept. */
  storage: StorageInfo;
  memory: MemoryByOwner;
  kv: KvInspection;
  /** As `cacher.states.usage()`; `null` where no state has been used yet. */
  states: StatesUsage | null;
  /** As `cacher.cache.stats()`; `null` where the response cache has not been used yet, or there is none. */
  cache: CacheStats | null;
  /** As `Cacher.models.list()`: models stored on this device. */
  models: StoredModel[];
}

/** Bytes of the WebAssembly memory. The others sum to `wasmBytes`. */
export interface MemoryByOwner {
  /** All of it; it never shrinks. */
  wasmBytes: number;
  weightBytes: number;
  /** KV blocks in the table. */
  kvBytes: number;
  /** Attention that was captured while writing. */
  attentionBytes: number;
  /** What passes of the model keep for the next. */
  scratchBytes: number;
  /** The tokenizer, states, the response cache, jobs in work with what they alone hold. */
  otherBytes: number;
  /** Constants, variables and the stack. */
  staticBytes: number;
  /** Given back, or lost between what is in use; taken before the memory grows. */
  freeBytes: number;
}

/** KV blocks, and what became of them. */
export interface KvInspection {
  /** How keys and values are stored: 8-bit numbers with scales, or as they are. */
  dtype: "q8" | "f32";
  /** Positions of a block, */
  blockTokens: number;
  /** and its bytes, whether it is full or not. */
  blockBytes: number;
  /** How often texts were looked up or kept; `lastUse` and `droppedAt` count these. */
  uses: number;
  /** Tokens that texts began with and were found, */
  hits: number;
  /** and those that were not and had to be run. */
  misses: number;
  /** Blocks dropped to keep to the budget. */
  evictions: number;
  memory: {
    blocks: number;
    bytes: number;
    /** `kvCacheBytes` of the states' options. */
    budget: number;
    /** Of blocks that are never dropped. */
    pinnedBytes: number;
  };
  /** In IndexedDB; `null` where no state has been used yet, or nothing is stored. */
  stored: { blocks: number; bytes: number } | null;
  /** Those in memory, used last first; then those that are only stored. */
  blocks: KvBlock[];
  /** Blocks that went from memory since the model was loaded, by reason, and the last 64 of them, oldest first. */
  dropped: { budget: number; extended: number; forgotten: number; last: DroppedKvBlock[] };
  /** Rows of attention that were captured; `hits` are those that analyses took. */
  attention: { rows: number; bytes: number; budget: number; dropped: number; hits: number };
}

/** Keys and values of up to 32 positions. */
export interface KvBlock {
  /** A hash of the model, the tokens before it and its own: 32 hexadecimal digits. */
  name: string;
  /** The block before it, or the root of its text; `null` where only storage knows of the block: a state's history has it, or another model's state. */
  parent: string | null;
  /** How many blocks come before it; `null` as above. */
  depth: number | null;
  /** The token ids of its positions; `null` as above. */
  tokens: number[] | null;
  where: ("memory" | "indexeddb")[];
  /** In memory, or else in storage. */
  bytes: number;
  /** Sequences that are in work with it. */
  references: number;
  /** Never dropped from memory: a pinned state has it. */
  pinned: boolean;
  /** The number of the use (see `uses`); `null` where it is not in memory. */
  lastUse: number | null;
  /** How many texts began with it. */
  hits: number;
  /** Ids of the states whose text has all of it. */
  states: string[];
}

export interface DroppedKvBlock {
  name: string;
  depth: number;
  /** How many. */
  tokens: number;
  bytes: number;
  lastUse: number;
  droppedAt: number;
  /** The budget was full and it was not used for longest; a longer version came; it was given up. */
  reason: "budget" | "extended" | "forgotten";
}
