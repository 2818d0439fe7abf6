/**
 * The package's entry for Node: the same API, with paths and `file:` URLs.
 */

import { Cacher as BrowserCacher } from "./cacher.js";
import { modelStore } from "./model-store.js";
import { nodePlatform } from "./node-platform.js";
import type { LoadOptions } from "./types.js";

export { CacherError } from "./errors.js";

export class Cacher extends BrowserCacher {
  static override readonly models = modelStore(nodePlatform);

  static override load(options: LoadOptions): Promise<Cacher> {
    return Cacher.loadOn(nodePlatform, options);
  }
}
