/**
 * What every way of loading works with, and gives.
 */

import type { Engine, EngineModule } from "../engine.js";
import type { Fetch } from "../models/http.js";
import type { openStore } from "../store/open.js";
import type { Dtype, LoadProgress, StorageInfo } from "../types.js";

export interface LoadContext {
  module: EngineModule;
  /** The memory of the module's instance. */
  memory: WebAssembly.Memory;
  dtype: Dtype;
  fetch: Fetch;
  signal: AbortSignal;
  onProgress(progress: LoadProgress): void;
  openStore: typeof openStore;
}

export interface LoadedEngine {
  engine: Engine;
  storage: StorageInfo;
}
