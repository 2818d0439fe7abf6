/**
 * What the commands use: of the package, and of the process around them. Tests
 * put others in the place of either.
 */

import type { CacheEntry, CacheLabel, CacheControls, CacheOptions, CacheStats, Invalidation, ListCacheEntries } from "../cache/types.js";
import type { EngineOptions, GenerationChunk, GenerationResult, LoadOptions, ModelInfo } from "../types.js";

export interface Api {
  load(options: Pick<LoadOptions, "model" | "dtype" | "onProgress" | "signal"> & { cache: CacheOptions | false }): Promise<Model>;
  openCache(options: CacheOptions): Promise<Cache>;
  version(): Promise<string>;
}

export interface Model {
  readonly model: ModelInfo;
  readonly cache: { warm(requests: WarmRequest[], options: WarmOptions): Promise<WarmResult> };
  generate(prompt: string, options: EngineOptions & CacheControls & { signal: AbortSignal }): Answer;
  dispose(): Promise<void>;
}

export interface Answer extends AsyncIterable<GenerationChunk> {
  result: Promise<GenerationResult & { cache: CacheLabel }>;
}

export interface Cache {
  entries(query?: ListCacheEntries): Promise<{ items: CacheEntry[]; total: number }>;
  invalidate(invalidation: Invalidation): Promise<number>;
  clear(options: { remote: boolean }): Promise<void>;
  stats(): Promise<CacheStats>;
  close(): Promise<void>;
}

export interface WarmRequest {
  prompt: string;
  options: EngineOptions & CacheControls;
}

export interface WarmOptions {
  concurrency: number;
  signal: AbortSignal;
  onProgress(progress: WarmResult): void;
}

export interface WarmResult {
  computed: number;
  present: number;
  failed: number;
}

/** The process. */
export interface Io {
  out(text: string): void;
  err(text: string): void;
  outIsTerminal: boolean;
  errIsTerminal: boolean;
  stdin(): Promise<string>;
  readFile(path: string): Promise<string>;
  env: Readonly<Record<string, string | undefined>>;
  platform: string;
  home: string;
  /** Fires at the first Ctrl-C. */
  interrupted: AbortSignal;
}
