/**
 * How the visitor wants answers kept and used, from visit to visit in
 * localStorage, read as foreign input. Some of it holds for the next request,
 * some at once for the whole cache, and some when the model is next loaded.
 * The token of a server and the secret that records are signed with are never
 * stored.
 */

import type { CacheControls, CacheOptions, LayerOptions, RemoteLayerOptions } from "cacher-wasm";
import type { Range } from "../settings.svelte.ts";

type TuningName = "use" | "maxEntries" | "maxBytes" | "ttlMs" | "ttlJitter" | "staleMs" | "earlyRefresh" | "compressOver" | "pinnedTags" | "semantic" | "logLevel";
/** What an open cache takes over at once. */
export type CacheTuning = Required<Pick<CacheOptions, TuningName>>;

/** Times in seconds but for `remoteTimeoutMs`, `maxMegabytes` in decimal megabytes, the rest as the cache has it. */
export const cacheRanges = {
  maxEntries: { min: 1, max: 100_000, step: 1, initial: 1000 },
  maxMegabytes: { min: 1, max: 512, step: 1, initial: 16 },
  ttlSeconds: { min: 0, max: 31_536_000, step: 1, initial: 0 },
  staleSeconds: { min: 0, max: 31_536_000, step: 1, initial: 0 },
  ttlJitter: { min: 0, max: 1, step: 0.05, initial: 0.1 },
  earlyRefresh: { min: 0, max: 4, step: 0.1, initial: 0 },
  compressOver: { min: 0, max: 1_000_000, step: 1, initial: 4096 },
  threshold: { min: 0, max: 1, step: 0.01, initial: 0.6 },
  waitSeconds: { min: 1, max: 3600, step: 1, initial: 5 },
  cleanUpSeconds: { min: 1, max: 86_400, step: 1, initial: 60 },
  remoteTimeoutMs: { min: 1, max: 600_000, step: 1, initial: 1000 },
} as const satisfies Record<string, Range>;

export const modes = {
  default: { name: "As set up", help: "Asked again with the same seed, or greedily, it answers from the cache." },
  on: { name: "On", help: "Answer from the cache, else compute and keep. Where no seed is set, it is 0." },
  off: { name: "Off", help: "Neither read nor write." },
  only: { name: "Only kept answers", help: "Fail rather than compute. Where no seed is set, it is 0." },
  refresh: { name: "Compute anew", help: "Replace what is kept. Where no seed is set, it is 0." },
} as const;

const choices = {
  mode: Object.keys(modes) as (keyof typeof modes)[],
  replay: ["instant", "recorded"],
  stored: ["indexeddb", "localstorage", "nowhere"],
  logLevel: ["silent", "error", "debug"],
  remoteKind: ["none", "webdis", "upstash"],
  remoteAccess: ["read-write", "read"],
} as const satisfies Record<string, readonly string[]>;

type Choice<Name extends keyof typeof choices> = (typeof choices)[Name][number];
type NumberName = keyof typeof cacheRanges;

const numberNames = Object.keys(cacheRanges) as NumberName[];
const choiceNames = Object.keys(choices) as (keyof typeof choices)[];
const switchNames = ["forceRefresh", "reproducible", "semantic", "acrossTabs"] as const;
const textNames = ["requestTtl", "tags", "pinnedTags", "name", "storedEntries", "storedMegabytes", "remoteUrl", "remotePrefix"] as const;
const LONGEST_TEXT = 2000;
const MOST_TAGS = 16;
const LONGEST_TAG = 64;
const MOST_STORED = 1_000_000;
const STORAGE_KEY = "cacher-demo-cache";

/** What the package takes where nothing is typed, as people read it. */
export const storedDefaults = {
  indexeddb: { entries: "10,000", megabytes: "268" },
  localstorage: { entries: "200", megabytes: "1" },
} as const;
export const DEFAULT_NAME = "cacher-answers";
export const DEFAULT_PREFIX = "cacher:";

export class CacheSettings {
  // Of the next request.
  mode = $state<Choice<"mode">>("default");
  forceRefresh = $state(false);
  /** Seconds, as typed; empty leaves it to the cache. */
  requestTtl = $state("");
  /** As typed, with commas between them. */
  tags = $state("");
  replay = $state<Choice<"replay">>("instant");

  // Of the cache, at once.
  reproducible = $state(true);
  maxEntries = $state(cacheRanges.maxEntries.initial as number);
  maxMegabytes = $state(cacheRanges.maxMegabytes.initial as number);
  ttlSeconds = $state(cacheRanges.ttlSeconds.initial as number);
  staleSeconds = $state(cacheRanges.staleSeconds.initial as number);
  ttlJitter = $state(cacheRanges.ttlJitter.initial as number);
  earlyRefresh = $state(cacheRanges.earlyRefresh.initial as number);
  compressOver = $state(cacheRanges.compressOver.initial as number);
  /** As typed, with commas between them. */
  pinnedTags = $state("");
  semantic = $state(false);
  threshold = $state(cacheRanges.threshold.initial as number);
  logLevel = $state<Choice<"logLevel">>("silent");

  // Of the cache, from the next time a model is loaded.
  /** Empty: the default. */
  name = $state("");
  stored = $state<Choice<"stored">>("indexeddb");
  /** Of what is stored, as typed; empty leaves it to the package. */
  storedEntries = $state("");
  storedMegabytes = $state("");
  cleanUpSeconds = $state(cacheRanges.cleanUpSeconds.initial as number);
  acrossTabs = $state(true);
  waitSeconds = $state(cacheRanges.waitSeconds.initial as number);
  remoteKind = $state<Choice<"remoteKind">>("none");
  remoteUrl = $state("");
  remotePrefix = $state<string>(DEFAULT_PREFIX);
  remoteToken = $state("");
  remoteSecret = $state("");
  remoteAccess = $state<Choice<"remoteAccess">>("read-write");
  remoteTimeoutMs = $state(cacheRanges.remoteTimeoutMs.initial as number);

  restore(): void {
    try {
      this.#take(JSON.parse(localStorage.getItem(STORAGE_KEY) ?? "{}"));
    } catch {
      // Storage is forbidden or its content is damaged: the defaults serve.
    }
  }

  save(): void {
    const content = JSON.stringify(this.#kept());
    try {
      localStorage.setItem(STORAGE_KEY, content);
    } catch {
      // Storage is forbidden or full: the settings last until the page closes.
    }
  }

  /** The cache's own; what the next request says of it stays. */
  reset(): void {
    const { mode, forceRefresh, requestTtl, tags, replay } = this;
    this.#take({ ...new CacheSettings().#kept(), mode, forceRefresh, requestTtl, tags, replay });
    this.remoteToken = "";
    this.remoteSecret = "";
  }

  /** Empty where the TTL can be used, else what is wrong with it. */
  get ttlProblem(): string {
    const text = this.requestTtl.trim();
    return text === "" || (/^\d{1,9}$/.test(text) && Number(text) <= cacheRanges.ttlSeconds.max) ? "" : "A whole number of seconds, at most a year.";
  }

  get tagsProblem(): string {
    const tags = splitTags(this.tags);
    return tags.length > MOST_TAGS ? `At most ${MOST_TAGS} tags.` : lengthProblem(tags);
  }

  /** Any number of them may be pinned; none that no answer can have. */
  get pinnedTagsProblem(): string {
    return lengthProblem(splitTags(this.pinnedTags));
  }

  get storedEntriesProblem(): string {
    return storedProblem(this.storedEntries);
  }

  get storedMegabytesProblem(): string {
    return storedProblem(this.storedMegabytes);
  }

  /** Empty where the server can be used or none is wanted. */
  get remoteProblem(): string {
    if (this.remoteKind === "none") return "";
    const text = this.remoteUrl.trim();
    const { protocol, hostname } = URL.canParse(text) ? new URL(text) : { protocol: "", hostname: "" };
    if (protocol === "https:") return "";
    if (protocol !== "http:") return "Not used yet: the address is not complete. It begins with https://";
    // So the page's Content Security Policy has it.
    return /^(localhost|127\.0\.0\.1)$/.test(hostname) ? "" : "Not used: this page may ask servers elsewhere by https only.";
  }

  /** Whether the next request wants an answer that is or will be kept: with a fresh seed it would never be found again. */
  get wantsKept(): boolean {
    return this.mode !== "off" && (this.mode !== "default" || this.forceRefresh);
  }

  /** For the next request. */
  toControls(): CacheControls {
    const problem = this.ttlProblem || this.tagsProblem;
    if (problem) throw Object.assign(new Error(problem), { code: "invalid-argument" });
    const cache = ({ default: undefined, on: true, off: false, only: "only", refresh: "refresh" } as const)[this.mode];
    const ttl = this.requestTtl.trim();
    return {
      ...(cache === undefined ? {} : { cache }),
      forceRefresh: this.forceRefresh,
      ...(ttl === "" ? {} : { cacheTtl: Number(ttl) * 1000 }),
      tags: splitTags(this.tags),
      replay: this.replay,
    };
  }

  toTuning(): CacheTuning {
    const { maxEntries, ttlJitter, earlyRefresh, compressOver, logLevel, semantic, threshold } = this;
    return {
      use: this.reproducible ? "reproducible" : "none",
      maxEntries,
      maxBytes: this.maxMegabytes * 1e6,
      ttlMs: this.ttlSeconds * 1000,
      ttlJitter,
      staleMs: this.staleSeconds * 1000,
      earlyRefresh,
      compressOver,
      pinnedTags: splitTags(this.pinnedTags),
      semantic: semantic && { threshold },
      logLevel,
    };
  }

  /** What it takes over when a model is loaded. */
  toSetup(): Pick<CacheOptions, "name" | "layers" | "acrossTabs" | "waitMs" | "cleanUpIntervalMs"> {
    const remote = this.#remote();
    return {
      name: this.name.trim() || DEFAULT_NAME,
      layers: [...this.#onDevice(), ...(remote ? [remote] : [])],
      acrossTabs: this.acrossTabs,
      waitMs: this.waitSeconds * 1000,
      cleanUpIntervalMs: this.cleanUpSeconds * 1000,
    };
  }

  #onDevice(): LayerOptions[] {
    const { stored } = this;
    if (stored === "nowhere") return [];
    const [entries, megabytes] = [this.storedEntries, this.storedMegabytes].map((text) => (storedProblem(text) ? "" : text.trim()));
    return [{ kind: stored, ...(entries ? { maxEntries: Number(entries) } : {}), ...(megabytes ? { maxBytes: Number(megabytes) * 1e6 } : {}) }];
  }

  #remote(): RemoteLayerOptions | null {
    const { remoteKind, remotePrefix, remoteSecret, remoteAccess, remoteTimeoutMs } = this;
    if (remoteKind === "none" || this.remoteProblem) return null;
    const token = this.remoteToken.trim();
    return {
      kind: remoteKind,
      url: this.remoteUrl.trim(),
      // Without one, what is cleared would be everything.
      prefix: remotePrefix || DEFAULT_PREFIX,
      access: remoteAccess,
      timeoutMs: remoteTimeoutMs,
      ...(remoteSecret === "" ? {} : { secret: remoteSecret }),
      ...(token === "" ? {} : { headers: { Authorization: remoteKind === "upstash" ? `Bearer ${token}` : `Basic ${base64(token)}` } }),
    };
  }

  #kept(): Record<string, unknown> {
    const names = [...numberNames, ...choiceNames, ...switchNames, ...textNames];
    return Object.fromEntries(names.map((name) => [name, this[name]]));
  }

  #take(fields: Readonly<Record<string, unknown>>): void {
    for (const name of numberNames) {
      const value = fields[name];
      const { min, max, step } = cacheRanges[name];
      if (typeof value === "number" && value >= min && value <= max && (step < 1 || Number.isInteger(value))) this[name] = value;
    }
    for (const name of choiceNames) {
      const value = fields[name];
      if ((choices[name] as readonly unknown[]).includes(value)) this[name] = value as never;
    }
    for (const name of switchNames) {
      const value = fields[name];
      if (typeof value === "boolean") this[name] = value;
    }
    for (const name of textNames) {
      const value = fields[name];
      if (typeof value === "string" && value.length <= LONGEST_TEXT) this[name] = value;
    }
  }
}

/** Each once, without the spaces around it. */
export function splitTags(text: string): string[] {
  const tags = text.split(",").map((tag) => tag.trim());
  return [...new Set(tags.filter((tag) => tag !== ""))];
}

function lengthProblem(tags: readonly string[]): string {
  const long = tags.find((tag) => new TextEncoder().encode(tag).length > LONGEST_TAG);
  return long === undefined ? "" : `At most ${LONGEST_TAG} bytes a tag.`;
}

function storedProblem(text: string): string {
  const typed = text.trim();
  const fits = /^\d{1,7}$/.test(typed) && Number(typed) >= 1 && Number(typed) <= MOST_STORED;
  return typed === "" || fits ? "" : "Not used: a whole number from 1 to 1,000,000.";
}

function base64(text: string): string {
  return btoa(String.fromCharCode(...new TextEncoder().encode(text)));
}
