/**
 * The package's entry for browsers, and the types for all.
 */

export { ResponseCache, type CachedStream, type ComputeContext, type FetchCached, type SetCacheValue, type WrapOptions } from "./cache/cache.js";
export type { ExplainedGeneration, GenerationCache, WarmOptions, WarmProgress, WarmRequest } from "./cache/generation-cache.js";
export { Cacher } from "./cacher.js";
export { CacherError, type ErrorCode } from "./errors.js";
export type { Analysis } from "./analysis/analysis.js";
export type { GenerationBatch } from "./batch/batch.js";
export type { BeamSearch } from "./beam/beam.js";
export type { Generation } from "./generation.js";
export type { ModelStoreApi } from "./model-store.js";
export type { State } from "./states/state.js";
export type { States } from "./states/states.js";
export type * from "./types.js";
