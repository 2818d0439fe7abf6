/**
 * What differs between browsers and Node, so that nothing else has to ask.
 *
 * Nothing here runs at import: a page may be rendered on a server first.
 */

import type { HostEnvironment } from "./engine-host.js";
import type { LayerOptions } from "./cache/types.js";
import type { Fetch } from "./models/http.js";

export interface Platform {
  /** The address that relative URLs are relative to. */
  base(): string;
  /** Whether the engine runs in a worker unless the caller says otherwise. */
  defaultWorker(): boolean;
  fetch: Fetch;
  /** Of a cache, behind memory. */
  defaultLayers(): readonly LayerOptions[];
  /** For an engine on this thread. */
  environment(): Promise<HostEnvironment>;
}

const browserFetch: Fetch = (url, init) => fetch(url, init);

export const browserPlatform: Platform = {
  base: () => (typeof document === "undefined" ? location.href : document.baseURI),
  defaultWorker: () => typeof Worker !== "undefined",
  fetch: browserFetch,
  defaultLayers: () => ["indexeddb"],
  async environment() {
    const { wasmRuntime } = await import("./runtime.js");
    return {
      fetch: browserFetch,
      runtime: (fetch, wanted) => wasmRuntime(fetch, wanted, "the engine runs on the page's own thread, which may not wait for others"),
    };
  },
};
