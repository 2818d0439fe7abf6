/**
 * What the cache asks of the layers that are its own, beside the five methods.
 */

import type { CacheEntry, CacheLayer } from "../cache/types.js";

/** How an entry was used since it was last told. */
export interface Use {
  key: string;
  lastUsed: number;
  hits: number;
}

/** Rows to delete, as the core has chosen them. */
export interface CleanUpPlan {
  expired: string[];
  evicted: string[];
}

/** What the core chooses from. */
export interface CleanUpRow {
  key: string;
  bytes: number;
  lastUsed: number;
  expires: number | null;
  pinned: boolean;
  /** Tags may be pinned too. */
  tags: string[];
}

/** A prompt's place in the space of meanings. */
export interface StoredVector {
  key: string;
  family: string;
  prompt: string;
  vector: Float32Array;
}

/**
 * A layer on this device, which keeps the facts of its entries beside their
 * records. What `set` puts in the place of a pinned entry is pinned too.
 */
export interface LocalLayer extends CacheLayer {
  /** The facts, in batches, without reading the records; `layers` is empty. */
  entries(signal: AbortSignal): AsyncIterable<readonly CacheEntry[]>;
  /** Notes uses; unknown keys are passed over. May be lost in a crash. */
  used(uses: readonly Use[]): Promise<void>;
  /** False where there is no such entry. */
  setPinned(key: string, pinned: boolean): Promise<boolean>;
  /** Deletes what `choose` takes of all rows within the layer's limits; what that was. */
  cleanUp(choose: (rows: CleanUpRow[], limits: { maxEntries: number; maxBytes: number }) => CleanUpPlan): Promise<CleanUpPlan>;
  usage(): Promise<{ entries: number; bytes: number }>;
  /** Keeps a prompt's vector beside an entry that is there, and for as long as it is there. */
  setVector?(vector: StoredVector): Promise<void>;
  vectors?(signal: AbortSignal): AsyncIterable<readonly StoredVector[]>;
  close(): void;
}
