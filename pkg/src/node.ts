/**
 * The package's entry for Node: the same API, with paths and `file:` URLs.
 */

import { Cacher as BrowserCacher } from "./cacher.js";
import { ResponseCache as BrowserResponseCache } from "./cache/cache.js";
import type { CacheOptions } from "./cache/types.js";
import { modelStore } from "./model-store.js";
import { nodePlatform } from "./node-platform.js";
import type { OpenOptions } from "./start.js";
import type { LoadOptions } from "./types.js";

export { CacherError } from "./errors.js";

export class ResponseCache extends BrowserResponseCache {
  static override open(options: CacheOptions & OpenOptions = {}): Promise<ResponseCache> {
    return ResponseCache.openOn(nodePlatform, options);
  }
}

export class Cacher extends BrowserCacher {
  static override readonly models = modelStore(nodePlatform);

  static override load(options: LoadOptions): Promise<Cacher> {
    return Cacher.loadOn(nodePlatform, options);
  }
}
