/**
 * Checks the options of a cache and of its calls, and fills in the defaults.
 */

import { requireKnown } from "../arguments.js";
import { pageLayer } from "../cache-layers/page-layer.js";
import { planLayers } from "../cache-layers/plan.js";
import { CacherError } from "../errors.js";
import { requireKinds } from "../states/arguments.js";
import type { AskMode, CacheSettings, CacheTuning } from "./requests.js";
import { DEFAULT_THRESHOLD } from "./semantics.js";
import type { CacheControls, CacheLayer, CacheOptions, LayerOptions } from "./types.js";

const TUNING = [
  ...["use", "maxEntries", "maxBytes", "ttlMs", "ttlJitter", "staleMs", "earlyRefresh"],
  ...["compressOver", "pinnedTags", "semantic", "logLevel"],
];
const OPTIONS = [...TUNING, "name", "layers", "acrossTabs", "waitMs", "cleanUpIntervalMs"];

const DEFAULTS: CacheTuning = {
  use: "reproducible",
  maxEntries: 1_000,
  maxBytes: 16 << 20,
  ttlMs: 0,
  ttlJitter: 0.1,
  staleMs: 0,
  earlyRefresh: 0,
  compressOver: 4_096,
  pinnedTags: [],
  semantic: false,
  semanticThreshold: DEFAULT_THRESHOLD,
  logLevel: "silent",
};

export const CONTROLS = ["cache", "forceRefresh", "cacheTtl", "tags", "replay"] as const satisfies (keyof CacheControls)[];

/** What the host is told, and the layers that stay on the page, by index. */
export interface CacheSetUp {
  settings: CacheSettings;
  pageLayers: (CacheLayer | undefined)[];
}

/** `true`: the defaults; `undefined`: the same, for requests that ask for it alone; `false`: none. */
export function cacheSetUp(options: boolean | CacheOptions | undefined, defaultLayers: readonly LayerOptions[]): CacheSetUp | null {
  if (options === false) return null;
  const given: CacheOptions = options === undefined ? { use: "none" } : options === true ? {} : options;
  requireKinds("load", { cache: given }, { cache: "object" });
  requireKnown(given, OPTIONS, "cache");
  requireKinds("cache", given, { name: "text", acrossTabs: "flag", waitMs: "interval", cleanUpIntervalMs: "interval" });
  const { name = "cacher-answers", layers = defaultLayers, acrossTabs = true, waitMs = 5_000, cleanUpIntervalMs = 60_000 } = given;
  const plans = planLayers(layers);
  const settings: CacheSettings = {
    ...DEFAULTS,
    ...cacheTuning(given),
    ...{ name, acrossTabs, waitMs, cleanUpIntervalMs },
    layers: plans,
  };
  return { settings, pageLayers: plans.map((plan, index) => pageLayer(plan, layers[index]!, name)) };
}

/** The settings that may change, of those that are given. */
export function cacheTuning(options: CacheOptions): Partial<CacheTuning> {
  requireKinds("cache", options, {
    use: ["reproducible", "none"],
    maxEntries: "count",
    maxBytes: "bytes",
    ttlMs: "bytes",
    staleMs: "bytes",
    compressOver: "count",
    pinnedTags: "texts",
    logLevel: ["silent", "error", "debug"],
  });
  const tuning: Partial<CacheTuning> = {};
  const { use, maxEntries, maxBytes, ttlMs, ttlJitter, staleMs, earlyRefresh, compressOver, pinnedTags, semantic, logLevel } = options;
  if (maxEntries === 0) throw invalid("maxEntries", "must be at least 1");
  if (ttlJitter !== undefined) requireNumber("ttlJitter", ttlJitter, 0, 1);
  if (earlyRefresh !== undefined) requireNumber("earlyRefresh", earlyRefresh, 0, 100);
  if (semantic !== undefined) {
    tuning.semantic = semantic !== false;
    if (typeof semantic === "object") {
      requireKnown(semantic, ["threshold"], "semantic");
      if (semantic.threshold !== undefined) tuning.semanticThreshold = requireNumber("threshold", semantic.threshold, 0, 1);
    } else requireKinds("cache", { semantic }, { semantic: "flag" });
  }
  const others = { use, maxEntries, maxBytes, ttlMs, ttlJitter, staleMs, earlyRefresh, compressOver, logLevel };
  for (const [name, value] of Object.entries(others)) if (value !== undefined) Object.assign(tuning, { [name]: value });
  if (pinnedTags !== undefined) tuning.pinnedTags = [...pinnedTags];
  return tuning;
}

/** The names of what may be tuned, and nothing else, lest a setting that needs a new cache be passed over. */
export function requireTuning(options: object): void {
  requireKnown(options, TUNING, "configure");
}

/** A request's own settings, checked. */
export interface Controls {
  /** `null`: without the cache. */
  mode: AskMode | null;
  ttlMs: number | null;
  tags: string[];
  paced: boolean;
}

const MAX_TAGS = 16;
const MAX_TAG_BYTES = 64;

/** `unsaid`: what counts where the request says nothing. */
export function readControls(controls: CacheControls, unsaid: "auto" | "on"): Controls {
  const { cache, forceRefresh = false, cacheTtl, tags = [], replay = "instant" } = controls;
  requireKinds("cache", { forceRefresh, cacheTtl, tags, replay }, { forceRefresh: "flag", cacheTtl: "bytes", tags: "texts", replay: ["instant", "recorded"] });
  const tooLong = (tag: string) => tag === "" || new TextEncoder().encode(tag).length > MAX_TAG_BYTES;
  if (tags.length > MAX_TAGS || tags.some(tooLong)) throw invalid("tags", `must be at most ${MAX_TAGS}, of 1 to ${MAX_TAG_BYTES} bytes`);
  return {
    mode: forceRefresh && cache !== false ? "refresh" : toMode(cache, unsaid),
    ttlMs: cacheTtl ?? null,
    tags: [...tags],
    paced: replay === "recorded",
  };
}

function toMode(cache: CacheControls["cache"], unsaid: "auto" | "on"): AskMode | null {
  switch (cache) {
    case undefined:
      return unsaid;
    case false:
      return null;
    case true:
      return "on";
    case "only":
    case "refresh":
      return cache;
    default:
      throw invalid("cache", 'must be true, false, "only" or "refresh"');
  }
}

function requireNumber(name: string, value: number, least: number, most: number): number {
  if (typeof value === "number" && value >= least && value <= most) return value;
  throw invalid(name, `must be a number from ${least} to ${most}`);
}

function invalid(name: string, rule: string): CacherError {
  return new CacherError("invalid-argument", `${name}: ${rule}`, { name });
}
