/**
 * The response cache on the host's side: answers requests about it.
 *
 * Finds what there is, decides who computes what there is not, and keeps what
 * was computed. Computing itself is the client's: it may be the engine's work
 * or any function of the page. A fault of the cache costs a hit and no answer.
 */

import { type LayersContext, openLayers } from "../cache-layers/open.js";
import type { Engine, EngineModule } from "../engine.js";
import { CacherError, messageOf } from "../errors.js";
import { Asking } from "./asking.js";
import { readCacheFile, writeCacheFile } from "./cache-file.js";
import { CacheChannel, type CacheMessage } from "./channel.js";
import type { Core, NewEntry } from "./core.js";
import { Journal } from "./journal.js";
import { Leases } from "./leases.js";
import { listEntries } from "./listing.js";
import { PageCalls } from "./page-layers.js";
import type {
  CacheRequestMessage,
  CacheRequestName,
  CacheRequests,
  CacheSettings,
  Keeping,
  Outcome,
} from "./requests.js";
import { Semantics } from "./semantics.js";
import { Subjects, type Asked } from "./subjects.js";
import { Tiers } from "./tiers.js";
import type { CacheEntry, CacheEvent, Invalidation } from "./types.js";
import { Upkeep } from "./upkeep.js";

export interface CacheEnvironment {
  module: EngineModule;
  /** `undefined`: there is no model. */
  engine: (() => Engine) | undefined;
  /** A state's request (JSON), from its options in JSON. */
  describeState: (id: string, options: string) => Promise<string>;
  /** The vector of a text's meaning. */
  embed: (text: string, signal: AbortSignal) => Promise<Float32Array>;
  /** In Node. */
  openFileLayer?: LayersContext["openFileLayer"];
}

type Value<Name extends CacheRequestName> = CacheRequests[Name]["value"];

/** Records up to this size are handed about between tabs. */
const MAX_SHARED_BYTES = 1 << 20;

export class CacheHost {
  readonly #settings: CacheSettings;
  readonly #core: Core;
  readonly #statics: EngineModule["ResponseCacheCore"];
  readonly #tiers: Tiers;
  readonly #channel: CacheChannel;
  readonly #leases: Leases;
  readonly #page = new PageCalls();
  readonly #journal: Journal;
  readonly #subjects: Subjects;
  readonly #asking: Asking;
  readonly #upkeep: Upkeep;
  readonly #writing = new Set<Promise<void>>();
  #tidied = false;

  constructor(settings: CacheSettings, environment: CacheEnvironment) {
    this.#settings = settings;
    this.#statics = environment.module.ResponseCacheCore;
    this.#core = new this.#statics(JSON.stringify(coreSettings(settings)), Date.now());
    this.#journal = new Journal(this.#core, () => settings.logLevel);
    const tiers = openLayers(settings.layers, {
      cacheName: settings.name,
      askPage: (index) => {
        const plan = settings.layers[index]!;
        return plan.kind === "localstorage" ? this.#page.localLayer(index, plan) : this.#page.layer(index);
      },
      ...(environment.openFileLayer === undefined ? {} : { openFileLayer: environment.openFileLayer }),
      observe: (layer, what, ms, error) => {
        this.#core.observe(layer, what, ms);
        if (error !== undefined) this.#journal.tell({ type: "error", layer, reason: error.message });
      },
      onhealth: (layer, health, reason) => {
        this.#journal.tell({ type: "health", layer, reason: reason ?? health });
        if (health === "ok") void this.#tiers.settle(layer);
      },
      onrejected: (layer, count) => {
        for (let each = 0; each < count; each++) this.#core.observe(layer, "rejected", 0);
        this.#journal.tell({ type: "error", layer, count, reason: "entries that were none were dropped" });
      },
      onevicted: (layer, keys) => {
        if (keys.length > 0) this.#journal.tell({ type: "evict", layer, count: keys.length, reason: "quota" });
      },
    });
    this.#tiers = new Tiers(this.#core, this.#statics, tiers, (layer, key, reason) => this.#journal.rejected(layer, key, reason));
    this.#channel = new CacheChannel(settings.name);
    this.#channel.listen((message) => this.#hear(message));
    this.#leases = new Leases(settings, this.#channel);
    this.#subjects = new Subjects(this.#statics, environment);
    const semantics = new Semantics(this.#core, this.#tiers, environment.embed);
    this.#upkeep = new Upkeep(this.#core, this.#statics, this.#tiers, this.#journal, settings);
    this.#asking = new Asking({
      ...{ settings, semantics, core: this.#core, tiers: this.#tiers, leases: this.#leases },
      ...{ subjects: this.#subjects, journal: this.#journal, upkeep: this.#upkeep },
    });
    this.#tiers.open();
  }

  async answer({ name, args }: CacheRequestMessage, signal: AbortSignal, onEvent: (event: never) => void): Promise<Value<CacheRequestName>> {
    switch (name) {
      case "ask":
        return this.#asking.ask(args, signal);
      case "settle":
        return this.#settle(args);
      case "set":
        return this.#set(args);
      case "get":
        return this.#asking.get({ kind: "value", json: args.json, stream: false });
      case "explain": {
        const { key, json, reproducible } = await this.#subjects.describe(args.subject);
        return { key, json, reproducible };
      }
      case "count":
        return this.#count(args);
      case "entries":
        await this.#upkeep.tellUses();
        return listEntries(await this.#tiers.entries(args.remote), args);
      case "entry":
        return this.#entry(args.key);
      case "delete":
        return this.#delete(args.keys);
      case "invalidate":
        return this.#invalidate(args);
      case "clear":
        return this.#clear(args.remote);
      case "pin":
        return this.#pin(args.key, args.pinned);
      case "configure":
        Object.assign(this.#settings, args);
        this.#core.configure(JSON.stringify(coreSettings(this.#settings)), Date.now());
        this.#journal.tellOfCore();
        return null;
      case "stats":
        return this.#upkeep.stats();
      case "resetStats":
        this.#core.resetStats(Date.now());
        return null;
      case "prometheus":
        return this.#core.prometheus();
      case "export":
        return writeCacheFile(this.#tiers.records());
      case "import":
        return this.#import(args.file);
      case "watch":
        return this.#journal.watch(signal, onEvent as (event: CacheEvent) => void);
      case "serve":
        return this.#page.serve(onEvent as Parameters<PageCalls["serve"]>[0], signal);
      case "served":
        this.#page.answered(args);
        return null;
    }
  }

  /** Writes in progress come to their end. `alive`: the wasm instance can still be called. */
  close(alive: boolean): void {
    this.#upkeep.stop();
    this.#leases.close();
    this.#channel.close();
    if (alive) this.#core.clear();
    void Promise.all([this.#upkeep.tellUses(), ...this.#writing]).finally(() => {
      for (const { local } of this.#tiers.local) local.close();
    });
  }

  async #settle({ lease, outcome, keeping }: CacheRequests["settle"]["args"]): Promise<CacheEntry | null> {
    const asked = this.#asking.settle(lease);
    // Its prompt's vector goes with it, where one is being made.
    await asked?.placing;
    const ended = this.#leases.end(lease);
    if (asked === undefined || ended === undefined) return null;
    const { key } = asked;
    if (outcome.type === "failed") this.#channel.post({ kind: "failed", key, code: outcome.code, message: outcome.message });
    if (outcome.type === "failed" || outcome.type === "dropped") {
      ended.release();
      return null;
    }
    try {
      const { entry, local } = this.#put(asked, outcome, keeping);
      void local.finally(() => ended.release());
      return entry;
    } catch (error) {
      ended.release();
      this.#journal.fault(key, "memory", messageOf(error));
      return null;
    }
  }

  #put(asked: Asked, outcome: Extract<Outcome, { type: "generation" | "value" }>, keeping: Keeping): Pick<ReturnType<Tiers["put"]>, "entry" | "local" | "written"> {
    const { key, title, model } = asked;
    const vector = this.#settings.semantic && asked.semantic !== null ? asked.vector : undefined;
    const made: NewEntry = {
      ...{ key, title, model, ...keeping },
      kind: outcome.type,
      tokens: outcome.type === "generation" ? outcome.result.tokens.length : 0,
      source: (outcome.type === "value" ? outcome.source : null) ?? asked.source,
      semantic: vector === undefined ? null : asked.semantic,
    };
    const value = outcome.type === "value" ? outcome.value : toRecording(outcome);
    const { entry, record, local, written } = this.#tiers.put(made, value, vector);
    this.#writing.add(written);
    void written.finally(() => this.#writing.delete(written));
    if (!this.#tidied) {
      // A process or a page may be gone before the clock strikes.
      this.#tidied = true;
      void written.then(() => this.#upkeep.cleanUp());
    }
    const shared = record.length <= MAX_SHARED_BYTES ? record : null;
    // Once it is stored, lest a tab that hears of it read what was there before.
    void local.then(() => this.#channel.post({ kind: "set", key, record: shared }));
    this.#journal.tell({ type: "set", key });
    this.#journal.tellOfCore();
    return { entry, local, written };
  }

  async #set({ json, value, source, keeping }: CacheRequests["set"]["args"]): Promise<CacheEntry> {
    const asked = await this.#subjects.describe({ kind: "value", json, stream: false });
    const { entry, written } = this.#put(asked, { type: "value", value, source }, keeping);
    await written;
    return entry;
  }

  #count({ what, reason }: CacheRequests["count"]["args"]): null {
    if (what === "shared") this.#core.answered("shared", undefined, 0, 0, 0);
    else this.#journal.fault(null, null, reason);
    return null;
  }

  async #entry(key: string): Promise<Value<"entry">> {
    const hit = await this.#tiers.find(key, { stale: true, count: false });
    if (hit === undefined) return null;
    const listed = (await this.#tiers.entries()).find((entry) => entry.key === key);
    const entry = listed ?? { ...hit.entry, layers: [hit.layer] };
    return { entry, value: hit.value, text: this.#subjects.textOf(entry, hit.value) };
  }

  /** Of what layers are to forget or to pin, nothing may still be on its way to them. */
  async #allWritten(): Promise<void> {
    await Promise.all(this.#writing);
  }

  /** How many of them were on this device. */
  async #delete(keys: string[]): Promise<number> {
    if (keys.length === 0) return 0;
    await this.#allWritten();
    const known = new Set((await this.#tiers.entries()).map(({ key }) => key));
    await this.#tiers.delete(keys);
    this.#upkeep.forgetUses(keys);
    this.#channel.post({ kind: "deleted", keys });
    this.#journal.tell({ type: "delete", key: keys.length === 1 ? keys[0]! : null, count: keys.length });
    return keys.filter((key) => known.has(key)).length;
  }

  /** Deletes what is found; rejects where a layer could not be searched. */
  async #invalidate(invalidation: Invalidation): Promise<number> {
    await this.#allWritten();
    const { keys, fault } = await this.#tiers.matching(invalidation);
    const count = await this.#delete(keys);
    if (fault !== undefined) throw fault;
    return count;
  }

  async #clear(remote: boolean): Promise<null> {
    await this.#allWritten();
    try {
      await this.#tiers.clear(remote);
    } finally {
      this.#upkeep.forgetUses();
      this.#channel.post({ kind: "deleted", keys: null });
      this.#journal.tell({ type: "clear" });
    }
    return null;
  }

  async #pin(key: string, pinned: boolean): Promise<null> {
    await this.#allWritten();
    let known = this.#core.setPinned(key, pinned);
    for (const { local } of this.#tiers.local) known = (await local.setPinned(key, pinned)) || known;
    if (!known) throw new CacherError("not-cached", "there is no such entry on this device", { key });
    return null;
  }

  async #import(file: Blob): Promise<number> {
    let count = 0;
    for await (const record of readCacheFile(file)) {
      const key = await this.#tiers.adopt(record);
      if (key === undefined) continue;
      this.#journal.tell({ type: "set", key });
      count++;
    }
    this.#journal.tellOfCore();
    return count;
  }

  /** What another tab has told. */
  #hear(message: CacheMessage): void {
    if (message.kind === "deleted") {
      if (message.keys === null) this.#core.clear();
      else this.#core.delete(message.keys);
      this.#journal.tell({ type: message.keys === null ? "clear" : "delete", origin: "other-tab" });
    } else if (message.kind === "set") {
      // What is here of it is of before.
      if (this.#core.delete([message.key]) > 0 && message.record !== null) this.#tiers.take(message.key, message.record, { stale: true });
      this.#journal.tell({ type: "set", key: message.key, origin: "other-tab" });
    }
  }

}

/** Ends that do not follow from the tokens. */
const ENDS_TO_KEEP = ["time", "probability", "entropy"];

/** As the engine replays it. */
function toRecording({ result, chunks }: Extract<Outcome, { type: "generation" }>): string {
  const { seed, tokens, timings, logprobs, finishReason, matched } = result;
  const ending = ENDS_TO_KEEP.includes(finishReason) ? { reason: finishReason, matched } : undefined;
  return JSON.stringify({ seed: seed.toString(), tokens, chunks, timings, logprobs: logprobs ?? undefined, ending });
}

function coreSettings(settings: CacheSettings): object {
  const { maxEntries, maxBytes, ttlMs, ttlJitter, staleMs, earlyRefresh, compressOver, pinnedTags, semanticThreshold } = settings;
  return { maxEntries, maxBytes, ttlMs, ttlJitter, staleMs, earlyRefresh, compressOver, pinnedTags, semanticThreshold };
}
