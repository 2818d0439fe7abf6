/**
 * What the cache did, told to whoever listens, and to the console where that
 * is wanted.
 */

import type { Core } from "./core.js";
import type { CacheSettings } from "./requests.js";
import type { CacheEvent } from "./types.js";

type Told = Pick<CacheEvent, "type"> & Partial<CacheEvent>;

export class Journal {
  readonly #core: Core;
  readonly #level: () => CacheSettings["logLevel"];
  readonly #listeners = new Set<(event: CacheEvent) => void>();

  constructor(core: Core, level: () => CacheSettings["logLevel"]) {
    this.#core = core;
    this.#level = level;
  }

  tell(told: Told): void {
    const event: CacheEvent = { time: Date.now(), key: null, layer: null, origin: "this-tab", ...told };
    for (const listener of this.#listeners) listener(event);
    this.#log(event);
  }

  /** A layer has given a record that is none. */
  rejected(layer: string, key: string, reason: string): void {
    this.#core.observe(layer, "rejected", 0);
    this.tell({ type: "error", key, layer, reason });
  }

  /** A fault of the cache that is none of its layers'. */
  fault(key: string | null, layer: string | null, reason: string): void {
    this.#core.answered("error", undefined, 0, 0, 0);
    this.tell({ type: "error", key, layer, reason });
  }

  /** Tells of what left memory. */
  tellOfCore(): void {
    for (const event of JSON.parse(this.#core.takeEvents()) as Told[]) this.tell({ layer: "memory", ...event });
  }

  watch(signal: AbortSignal, listener: (event: CacheEvent) => void): Promise<null> {
    this.#listeners.add(listener);
    return new Promise((resolve) => {
      signal.addEventListener("abort", () => {
        this.#listeners.delete(listener);
        resolve(null);
      });
    });
  }

  #log({ type, key, layer, hit, reason, count }: CacheEvent): void {
    const level = this.#level();
    if (level === "silent") return;
    const isFault = type === "error" || type === "health";
    if (!isFault && level !== "debug") return;
    const words = [type, hit, layer, key?.slice(0, 12), count, reason].filter((word) => word !== undefined && word !== null);
    console[isFault ? "warn" : "debug"](`cacher cache: ${words.join(" ")}`);
  }
}
