/**
 * `Cacher.models`: what is stored on this device, and what a model would take.
 */

import { parseSource } from "./models/source.js";
import type { Platform } from "./platform.js";
import type { DescribeOptions, ModelDescription, StoredModel } from "./types.js";

export interface ModelStoreApi {
  /** Models stored on this device, with partial downloads. */
  list(): Promise<StoredModel[]>;
  /** Deletes a model by its `id`; rejects with `not-found` where there is none. */
  delete(id: string): Promise<void>;
  /** What loading would take, so that a page can say so before it begins. */
  describe(options: DescribeOptions): Promise<ModelDescription>;
  /**
   * Asks the browser not to evict what is stored when space gets short; best
   * called after the user did something. `false`: it may still be evicted.
   */
  persist(): Promise<boolean>;
}

/** Most pages never manage models, so the code for it is loaded on first use. */
export function modelStore(platform: Platform): ModelStoreApi {
  return {
    async list() {
      return (await import("./store/management.js")).listModels();
    },
    async delete(id) {
      return (await import("./store/management.js")).deleteModel(id);
    },
    async describe({ signal, ...options }) {
      const source = parseSource(options, platform.base());
      return (await import("./store/management.js")).describeModel(source, platform.fetch, signal);
    },
    async persist() {
      const storage = typeof navigator === "undefined" ? undefined : navigator.storage;
      return storage?.persist === undefined ? false : storage.persist();
    },
  };
}
