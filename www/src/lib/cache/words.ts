/** Answers of the cache, ages, sizes and layers, as people read them. */

import { formatCount } from "../words.ts";
import type { CacheEntry, CacheLabel, LayerStats } from "cacher-wasm";

const SECOND = 1000;
const MINUTE = 60 * SECOND;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

/** Layers on this device; any other is shared with others. */
const LOCAL: Readonly<Record<string, string>> = { memory: "memory", indexeddb: "IndexedDB", localstorage: "localStorage" };

export function layerName(layer: string): string {
  return LOCAL[layer] ?? layer;
}

export function isLocal(layer: string): boolean {
  return layer in LOCAL;
}

/** How many entries, in words. */
export function countEntries(count: number): string {
  return `${formatCount(count)} ${count === 1 ? "entry" : "entries"}`;
}

/** The answer in a few words: what it is, and from where. */
export function nameAnswer({ hit, layer, shared }: CacheLabel): string {
  if (hit === false) return shared ? "Computed, for an equal request" : "Computed";
  const from = place(layer);
  if (hit === "stale") return `Stale, ${from}`;
  if (hit === "semantic") return `Similar prompt, ${from}`;
  return from.charAt(0).toUpperCase() + from.slice(1);
}

function place(layer: string | null): string {
  if (layer === null || layer === "memory") return "from memory";
  if (layer === "other-tab") return "from another tab";
  return isLocal(layer) ? `stored in ${layerName(layer)}` : `remote, ${layer}`;
}

/** What there is to say of the answer beside its name. */
export function describeAnswer(label: CacheLabel, stopped: boolean): string {
  const { hit, key, ageMs, savedMs } = label;
  if (stopped) return "Stopped before its end, so not kept.";
  if (hit === false) return key === null ? "The cache was not asked." : "Kept for the next time.";
  return `Made ${formatSpan(ageMs)} ago. Saved ${formatTime(savedMs)}.`;
}

/** A stretch of time in its largest unit, as ages and expiries are told. */
export function formatSpan(milliseconds: number): string {
  const ms = Math.max(0, milliseconds);
  if (ms < SECOND) return "under 1 s";
  if (ms < MINUTE) return `${Math.floor(ms / SECOND)} s`;
  if (ms < HOUR) return `${Math.floor(ms / MINUTE)} min`;
  return ms < 2 * DAY ? `${Math.floor(ms / HOUR)} h` : `${Math.floor(ms / DAY)} days`;
}

/** What something took or saved, exact enough to compare. */
export function formatTime(milliseconds: number): string {
  if (milliseconds < 0.1) return milliseconds === 0 ? "0 ms" : `${(milliseconds * SECOND).toPrecision(2)} µs`;
  if (milliseconds < 10) return `${milliseconds.toFixed(milliseconds < 1 ? 2 : 1)} ms`;
  if (milliseconds < SECOND) return `${Math.round(milliseconds)} ms`;
  if (milliseconds < 2 * MINUTE) return `${(milliseconds / SECOND).toFixed(1)} s`;
  return milliseconds < 2 * HOUR ? `${(milliseconds / MINUTE).toFixed(1)} min` : `${(milliseconds / HOUR).toFixed(1)} h`;
}

/** Decimal, as the rest of the page counts; entries are small. */
export function formatSize(bytes: number): string {
  if (bytes < 1000) return `${bytes} B`;
  const [value, unit] = bytes < 1e6 ? [bytes / 1e3, "kB"] : [bytes / 1e6, "MB"];
  return `${value.toFixed(value >= 100 ? 0 : 1)} ${unit}`;
}

export function formatShare(share: number): string {
  return `${(share * 100).toFixed(share > 0 && share < 1 ? 1 : 0)} %`;
}

export function describeExpiry({ expires }: Pick<CacheEntry, "expires">, now: number): string {
  if (expires === null) return "never";
  return expires > now ? `in ${formatSpan(expires - now)}` : "expired";
}

export function describeCost({ costMs, tokens }: Pick<CacheEntry, "costMs" | "tokens">): string {
  return tokens > 0 ? `${formatTime(costMs)}, ${formatCount(tokens)} ${tokens === 1 ? "token" : "tokens"}` : formatTime(costMs);
}

const clock = new Intl.DateTimeFormat("en", { timeStyle: "medium" });

export function clockTime(time: number | Date): string {
  return clock.format(time);
}

export function describeHealth({ health, reason, retryAt }: Pick<LayerStats, "health" | "reason" | "retryAt">): string {
  if (health === "ok") return "ok";
  const why = reason ? `: ${reason}` : "";
  return `down${why}${retryAt === null ? "" : `; tried again at ${clockTime(retryAt)}`}`;
}
