/**
 * Keeps the layers in order: tells them what was used, deletes what is expired
 * or too much, and says how they are.
 */

import { messageOf } from "../errors.js";
import type { CleanUpPlan, CleanUpRow } from "../cache-layers/layer.js";
import type { Core, CoreStatics } from "./core.js";
import type { Journal } from "./journal.js";
import type { CacheSettings } from "./requests.js";
import type { Tiers } from "./tiers.js";
import type { CacheEntry, CacheStats, LayerStats } from "./types.js";

const NO_LATENCY = { count: 0, mean: 0, p50: 0, p90: 0, p99: 0, max: 0 };

export class Upkeep {
  readonly #core: Core;
  readonly #statics: CoreStatics;
  readonly #tiers: Tiers;
  readonly #journal: Journal;
  readonly #settings: CacheSettings;
  /** What the layers have not been told of. */
  readonly #uses = new Map<string, { lastUsed: number; hits: number }>();
  readonly #clock: ReturnType<typeof setInterval>;

  /** `settings` may change under it. */
  constructor(core: Core, statics: CoreStatics, tiers: Tiers, journal: Journal, settings: CacheSettings) {
    this.#core = core;
    this.#statics = statics;
    this.#tiers = tiers;
    this.#journal = journal;
    this.#settings = settings;
    this.#clock = setInterval(() => void this.cleanUp(), settings.cleanUpIntervalMs);
    // In Node it would keep the process alive.
    if (typeof this.#clock === "object") (this.#clock as { unref?(): void }).unref?.();
  }

  noteUse({ key }: CacheEntry): void {
    this.#uses.set(key, { lastUsed: Date.now(), hits: (this.#uses.get(key)?.hits ?? 0) + 1 });
  }

  /** `undefined`: all. */
  forgetUses(keys?: readonly string[]): void {
    if (keys === undefined) this.#uses.clear();
    else for (const key of keys) this.#uses.delete(key);
  }

  async tellUses(): Promise<void> {
    const uses = [...this.#uses].map(([key, use]) => ({ key, ...use }));
    this.#uses.clear();
    if (uses.length === 0) return;
    // An order of use that is lost costs a worse choice, once.
    for (const { local } of this.#tiers.local) await local.used(uses).catch(() => undefined);
  }

  async cleanUp(): Promise<void> {
    try {
      await this.tellUses();
      this.#core.sweep(Date.now());
      this.#journal.tellOfCore();
      for (const { name, local } of this.#tiers.local) {
        const { expired, evicted } = await local.cleanUp((rows, limits) => this.#choose(rows, limits));
        if (expired.length > 0) this.#journal.tell({ type: "expire", layer: name, count: expired.length });
        if (evicted.length > 0) this.#journal.tell({ type: "evict", layer: name, count: evicted.length, reason: "limits" });
      }
    } catch (error) {
      this.#journal.tell({ type: "error", reason: `clean-up: ${messageOf(error)}` });
    }
  }

  async stats(): Promise<CacheStats> {
    const stats = JSON.parse(this.#core.stats()) as CacheStats;
    const figures = (name: string) =>
      stats.layers.find((each) => each.name === name) ?? { hits: 0, misses: 0, sets: 0, errors: 0, rejected: 0, get: NO_LATENCY, set: NO_LATENCY };
    const { entries, bytes } = stats.memory;
    const layers: LayerStats[] = [{ ...figures("memory"), name: "memory", health: "ok", reason: null, retryAt: null, entries, bytes }];
    for (const { name, layer, local } of this.#tiers.all) {
      const usage = await local?.usage().catch(() => undefined);
      layers.push({ ...figures(name), name, ...layer.health, entries: usage?.entries ?? null, bytes: usage?.bytes ?? null });
    }
    return { ...stats, layers };
  }

  stop(): void {
    clearInterval(this.#clock);
  }

  #choose(rows: CleanUpRow[], { maxEntries, maxBytes }: { maxEntries: number; maxBytes: number }): CleanUpPlan {
    const { pinnedTags, staleMs } = this.#settings;
    const chosenFrom = rows.map(({ tags, ...row }) => ({ ...row, pinned: row.pinned || tags.some((tag) => pinnedTags.includes(tag)) }));
    return JSON.parse(this.#statics.cleanUp(JSON.stringify({ rows: chosenFrom, maxEntries, maxBytes, staleMs, now: Date.now() }))) as CleanUpPlan;
  }
}
