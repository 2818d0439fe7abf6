/**
 * `ResponseCache`: keeps the answers of any function, or of a model.
 */

import { requireKnown } from "../arguments.js";
import type { Client } from "../client.js";
import { CacherError } from "../errors.js";
import type { Platform } from "../platform.js";
import { browserPlatform } from "../platform.js";
import { requireKinds } from "../states/arguments.js";
import { roomAfter, UNLIMITED } from "../streaming/flow.js";
import type { Sink } from "../streaming/sink.js";
import { Streaming } from "../streaming/streaming.js";
import { openClient, type OpenOptions } from "../start.js";
import { Answers, CacheLine, requireContent, type Work } from "./answers.js";
import { fromKept, requestJson, toKept } from "./json-value.js";
import { pace } from "./pacing.js";
import { callLayer } from "./page-layers.js";
import type { Keeping } from "./requests.js";
import { type CacheSetUp, cacheTuning, CONTROLS, readControls, requireTuning } from "./settings.js";
import type {
  CacheControls,
  CacheEntry,
  CacheEvent,
  CacheHit,
  CacheLabel,
  CacheLayer,
  CacheOptions,
  CacheRequest,
  CacheStats,
  Invalidation,
  ListCacheEntries,
} from "./types.js";

interface Call {
  signal?: AbortSignal;
}

/** What a function that computes an answer is given. */
export interface ComputeContext {
  /** Fires when nobody waits for the answer any more. */
  signal: AbortSignal;
}

export interface SetCacheValue extends Call, Pick<CacheControls, "cacheTtl" | "tags"> {
  /** What computing it took, in milliseconds: what a hit saves. Default: 0. */
  costMs?: number;
  /** What made it, in a word. Default: `"cacher-wasm"`. */
  source?: string;
}

export interface FetchCached extends Call, CacheControls {}

export interface WrapOptions<Args extends unknown[]> extends CacheControls {
  /** Tells the function from others that are wrapped: its own name may be another after each build. */
  name?: string;
  /** What identifies a call. Default: `name` and its arguments, which must then be JSON values. */
  key?: (...args: Args) => CacheRequest;
}

/** A stream of parts, computed or kept; `result` has them all, and the label. */
export type CachedStream<Part> = Streaming<Part, { parts: Part[]; cache: CacheLabel }>;

const INVALIDATION = ["keys", "tags", "model", "olderThanMs"] as const satisfies (keyof Invalidation)[];
const LIST = ["search", "tags", "sort", "order", "offset", "limit", "remote"] as const satisfies (keyof ListCacheEntries)[];
const SORTS = ["used", "created", "expires", "bytes", "hits", "cost"];
const KEY = /^[0-9a-f]{64}$/;
const NEVER = new AbortController().signal;

export class ResponseCache {
  protected readonly line: CacheLine;
  protected readonly answers: Answers;
  readonly #client: Client;
  readonly #pageLayers: readonly (CacheLayer | undefined)[];
  readonly #stops = new Set<() => void>();
  #served: AbortController | undefined;

  /** @internal */
  constructor(client: Client, { pageLayers }: Pick<CacheSetUp, "pageLayers">) {
    this.#client = client;
    this.#pageLayers = pageLayers;
    this.line = new CacheLine(client);
    this.answers = new Answers(this.line);
    if (pageLayers.some((layer) => layer !== undefined)) {
      this.#serve();
      client.onrestart(() => this.#serve());
    }
  }

  /** A cache without a model, for the answers of your own functions. */
  static open(options: CacheOptions & OpenOptions = {}): Promise<ResponseCache> {
    return ResponseCache.openOn(browserPlatform, options);
  }

  /** @internal */
  static async openOn(platform: Platform, options: CacheOptions & OpenOptions): Promise<ResponseCache> {
    const { client, setUp } = await openClient(options, platform);
    return new this(client, setUp);
  }

  /** A kept value; `undefined` where there is none, or it has expired. */
  async get<T>(request: CacheRequest, { signal }: Call = {}): Promise<CacheHit<T> | undefined> {
    const hit = await this.line.ask("get", { json: requestJson(request) }, { signal });
    if (hit === null) return undefined;
    const { value } = requireContent(hit.content, "value");
    return { value: fromKept(value) as T, entry: hit.entry, cache: hit.label };
  }

  /**
   * Keeps a value: anything that JSON can hold, or bytes. Resolves once it is in
   * all layers. Error: `not-cacheable`.
   */
  async set(request: CacheRequest, value: unknown, options: SetCacheValue = {}): Promise<CacheEntry> {
    requireKnown(options, ["cacheTtl", "tags", "costMs", "source", "signal"], "set");
    requireKinds("set", options, { costMs: "number", source: "text" });
    const { signal, costMs = 0, source = null, ...controls } = options;
    const { ttlMs, tags } = readControls(controls, "on");
    const keeping: Keeping = { ttlMs, tags, costMs };
    return this.line.ask("set", { json: requestJson(request), value: toKept(value), source, keeping }, { signal });
  }

  /**
   * The kept answer to a request, else what `compute` gives. Equal requests at
   * the same time, in all tabs, compute it once. Errors go to all who wait, and
   * are not kept. A value that cannot be kept is given all the same.
   */
  async fetch<T>(request: CacheRequest, compute: (context: ComputeContext) => Promise<T> | T, options: FetchCached = {}): Promise<{ value: T; cache: CacheLabel }> {
    requireKnown(options, [...CONTROLS, "signal"], "fetch");
    const { signal = NEVER, ...controls } = options;
    const work: Work<never, T> = {
      subject: { kind: "value", json: requestJson(request), stream: false },
      compute: ({ signal: abort }) => untilAborted(async () => compute({ signal: abort }), abort),
      keep: (value) => ({ type: "value", value: toKept(value), source: null }),
      give: async (content) => fromKept(requireContent(content, "value").value) as T,
      shareable: true,
    };
    const { result, label } = await this.answers.answer(work, readControls(controls, "on"), { give: () => undefined, flow: UNLIMITED, signal });
    return { value: result, cache: label };
  }

  /** The same for a function that gives its answer part by part. A stream that was not read to its end by anybody is not kept. */
  stream<Part>(request: CacheRequest, compute: (context: ComputeContext) => AsyncIterable<Part>, options: FetchCached = {}): CachedStream<Part> {
    requireKnown(options, [...CONTROLS, "signal"], "stream");
    const { signal, ...rest } = options;
    const controls = readControls(rest, "on");
    const json = requestJson(request);
    const start = async (sink: Sink<Part>) => {
      const work: Work<Part, Part[]> = {
        subject: { kind: "value", json, stream: true },
        compute: async ({ give, flow, signal: stop }) => {
          const parts: Part[] = [];
          for await (const part of compute({ signal: stop })) {
            if (!stop.aborted) await roomAfter(parts.length, flow, stop).catch(() => undefined);
            if (stop.aborted) break;
            parts.push(part);
            give(part);
          }
          return parts;
        },
        keep: (parts, flight) => ({ type: "value", value: toKept({ parts, times: flight.parts.map(({ ms }) => ms) }), source: null }),
        give: async (content, reader) => {
          const { parts, times } = requireStream<Part>(fromKept(requireContent(content, "value").value));
          await pace(parts, controls.paced ? times : [], reader);
          return parts;
        },
        shareable: true,
      };
      const { result, label } = await this.answers.answer(work, controls, sink);
      return { parts: result, cache: label };
    };
    return new Streaming(start, { signal });
  }

  /** A function that answers like `fn`, from the cache where it can. `name` or `key` must be given. */
  wrap<Args extends unknown[], T>(fn: (...args: Args) => Promise<T> | T, options: WrapOptions<Args>): (...args: Args) => Promise<T> {
    requireKnown(options, [...CONTROLS, "name", "key"], "wrap");
    requireKinds("wrap", options, { name: "text" });
    const { name, key, ...controls } = options;
    readControls(controls, "on");
    if (name === undefined && key === undefined) throw new CacherError("invalid-argument", "wrap: needs `name` or `key`, lest it give another function's answers");
    const request = key ?? ((...args: Args) => ({ function: name!, arguments: args as unknown as CacheRequest }));
    return async (...args) => (await this.fetch(request(...args), () => fn(...args), controls)).value;
  }

  /** What a request's key is made of, and the key: SHA-256 of the JSON. `stream`: of what `stream` keeps. Default: false. */
  async explainKey(request: CacheRequest, { stream = false }: { stream?: boolean } = {}): Promise<{ key: string; json: string }> {
    requireKinds("explainKey", { stream }, { stream: "flag" });
    const subject = { kind: "value", json: requestJson(request), stream } as const;
    const { key, json } = await this.line.ask("explain", { subject });
    return { key, json };
  }

  /** Entries in memory and on this device, and in other layers where that is asked for. */
  async entries(query: ListCacheEntries = {}): Promise<{ items: CacheEntry[]; total: number }> {
    requireKnown(query, LIST, "entries");
    requireKinds("entries", query, { search: "text", tags: "texts", sort: SORTS, order: ["asc", "desc"], offset: "count", limit: "count", remote: "flag" });
    return this.line.ask("entries", query);
  }

  /** An entry with its value; of a generation, its text, where its model is loaded. */
  async entry(key: string): Promise<(CacheEntry & { value: unknown }) | undefined> {
    const found = await this.line.ask("entry", { key: requireKey(key) });
    return found === null ? undefined : { ...found.entry, value: found.text ?? fromKept(found.value) };
  }

  /** From all layers; how many of them were on this device. */
  async delete(keys: string | readonly string[]): Promise<number> {
    return this.line.ask("delete", { keys: (typeof keys === "string" ? [keys] : [...keys]).map(requireKey) });
  }

  /** Deletes all entries that are meant, in all layers; how many of them were on this device. A remote layer is searched through. */
  async invalidate(invalidation: Invalidation): Promise<number> {
    requireKnown(invalidation, INVALIDATION, "invalidate");
    requireKinds("invalidate", invalidation, { keys: "texts", tags: "texts", model: "text", olderThanMs: "bytes" });
    if (Object.values(invalidation).every((value) => value === undefined)) {
      throw new CacherError("invalid-argument", "invalidate: says of no entry that it is meant; `clear` deletes all");
    }
    return this.line.ask("invalidate", invalidation);
  }

  /** Deletes all. `remote`: also in layers that others share. Default: false. */
  async clear({ remote = false }: { remote?: boolean } = {}): Promise<void> {
    await this.line.ask("clear", { remote });
  }

  /** Exempts an entry from eviction and clean-up; `false`: no longer. Error: `not-cached`. */
  async pin(key: string, pinned = true): Promise<void> {
    requireKinds("pin", { pinned }, { pinned: "flag" });
    await this.line.ask("pin", { key: requireKey(key), pinned });
  }

  /** Pins all entries with any of these tags, in place of those named before. */
  async pinTags(tags: readonly string[]): Promise<void> {
    await this.configure({ pinnedTags: tags });
  }

  /** Changes settings; those that need a new cache (`name`, `layers`, `acrossTabs`, …) cannot be. */
  async configure(options: CacheOptions): Promise<void> {
    requireTuning(options);
    await this.line.ask("configure", cacheTuning(options));
  }

  async stats(): Promise<CacheStats> {
    return this.line.ask("stats", null);
  }

  /** Begins to count anew; entries stay. */
  async resetStats(): Promise<void> {
    await this.line.ask("resetStats", null);
  }

  /** The figures in Prometheus' text format. */
  async prometheus(): Promise<string> {
    return this.line.ask("prometheus", null);
  }

  /** Calls `listener` with all that the cache does from now on; returns the way out. */
  subscribe(listener: (event: CacheEvent) => void): () => void {
    const stop = new AbortController();
    const watch = () => void this.line.ask("watch", null, { signal: stop.signal, onEvent: listener }).catch(() => undefined);
    watch();
    const forget = this.#client.onrestart(watch);
    const end = () => {
      stop.abort();
      forget();
      this.#stops.delete(end);
    };
    this.#stops.add(end);
    return end;
  }

  /** All entries that are in memory and on this device, as a file. */
  async export(): Promise<Blob> {
    return this.line.ask("export", null);
  }

  /** Adds the entries of a file that are not expired, on this device; how many. Error: `invalid-cache-record`; those before the fault are kept. */
  async import(file: Blob): Promise<number> {
    if (!(file instanceof Blob)) throw new CacherError("invalid-argument", "file: must be a Blob");
    return this.line.ask("import", { file });
  }

  /** Ends the cache; what it holds in storage stays. */
  async close(): Promise<void> {
    this.unsubscribe();
    this.#served?.abort();
    this.#client.dispose();
  }

  protected unsubscribe(): void {
    for (const stop of this.#stops) stop();
    this.#stops.clear();
  }

  /** Answers the host's calls of layers that live here. */
  #serve(): void {
    this.#served?.abort();
    const served = new AbortController();
    this.#served = served;
    const serve = this.line.ask("serve", null, {
      signal: served.signal,
      onEvent: (call) => {
        const answer = callLayer(this.#pageLayers, call).then((outcome) => this.line.ask("served", { call: call.call, ...outcome }));
        // The host then waits for its time limit.
        answer.catch(() => undefined);
      },
    });
    serve.catch(() => undefined);
  }
}

function requireStream<Part>(kept: unknown): { parts: Part[]; times: number[] } {
  const { parts, times } = (kept ?? {}) as { parts: Part[]; times: number[] };
  if (Array.isArray(parts) && Array.isArray(times)) return { parts, times };
  throw new CacherError("invalid-cache-record", "the kept value is no stream");
}

function requireKey(key: string): string {
  if (typeof key === "string" && KEY.test(key)) return key;
  throw new CacherError("invalid-argument", "key: must be 64 hexadecimal digits");
}

/** The result, or the abort error as soon as the signal fires: a function need not look at its signal. */
function untilAborted<T>(work: () => Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const abort = () => reject(new CacherError("aborted", "the call was aborted", {}, { cause: signal.reason }));
    signal.addEventListener("abort", abort, { once: true });
    work().then(resolve, reject);
  });
}
