/** The response cache as this page uses it. */

import type {
  CacheControls,
  CacheEntry,
  CacheEvent,
  CacheLabel,
  CacheOptions,
  CacheStats,
  ListCacheEntries,
} from "../../../../pkg/dist/cache/types.js";

export type * from "../../../../pkg/dist/cache/types.js";

/** What `configure` can change while the cache is open. */
export type CacheTuning = Partial<
  Pick<
    CacheOptions,
    | "maxEntries"
    | "maxBytes"
    | "ttlMs"
    | "ttlJitter"
    | "staleMs"
    | "earlyRefresh"
    | "compressOver"
    | "semantic"
    | "use"
    | "logLevel"
  >
>;

export interface GenerationCache {
  explainGeneration(prompt: string, options: CacheControls): Promise<{ key: string; json: string; reproducible: boolean }>;
  entries(query?: ListCacheEntries): Promise<{ items: CacheEntry[]; total: number }>;
  entry(key: string): Promise<(CacheEntry & { value: unknown }) | undefined>;
  delete(keys: string | readonly string[]): Promise<number>;
  clear(options?: { remote?: boolean }): Promise<void>;
  pin(key: string, pinned?: boolean): Promise<void>;
  configure(tuning: CacheTuning): Promise<void>;
  stats(): Promise<CacheStats>;
  resetStats(): Promise<void>;
  prometheus(): Promise<string>;
  subscribe(listener: (event: CacheEvent) => void): () => void;
  export(): Promise<Blob>;
  import(file: Blob): Promise<number>;
}

/** The parts of results and engines that the cache adds. */
export interface Labelled {
  cache: CacheLabel;
}
export interface Cached {
  cache: GenerationCache;
}
