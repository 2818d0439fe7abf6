/**
 * The response cache on the host's side: answers requests about it.
 *
 * Finds what there is, decides who computes what there is not, and keeps what
 * was computed. Computing itself is the client's: it may be the engine's work
 * or any function of the page. A fault of the cache costs a hit and no answer.
 */

import { type LayersContext, openLayers } from "../cache-layers/open.js";
import type { Engine, EngineModule } from "../engine.js";
import { CacherError, messageOf, toCacherError } from "../errors.js";
import type { CacheEntry, CacheEvent, CacheLabel } from "./types.js";
import { readCacheFile, writeCacheFile } from "./cache-file.js";
import { CacheChannel, type CacheMessage } from "./channel.js";
import type { Core, NewEntry } from "./core.js";
import { Journal } from "./journal.js";
import { Leases } from "./leases.js";
import { listEntries } from "./listing.js";
import { PageCalls } from "./page-layers.js";
import type {
  Answer,
  CacheRequestMessage,
  CacheRequestName,
  CacheRequests,
  CacheSettings,
  Content,
  Keeping,
  Outcome,
  Subject,
} from "./requests.js";
import { Semantics } from "./semantics.js";
import { Subjects, type Asked } from "./subjects.js";
import { type Hit, Tiers } from "./tiers.js";
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
type HitAnswer = Extract<Answer, { status: "hit" }>;

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
  readonly #semantics: Semantics;
  /** What the leases are for. */
  readonly #leased = new Map<number, Asked>();
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
    this.#tiers = new Tiers(this.#core, this.#statics, tiers, (layer, key, reason) => this.#rejected(layer, key, reason));
    this.#channel = new CacheChannel(settings.name);
    this.#channel.listen((message) => this.#hear(message));
    this.#leases = new Leases(settings, this.#channel);
    this.#subjects = new Subjects(this.#statics, environment);
    this.#semantics = new Semantics(this.#core, this.#tiers, environment.embed);
    this.#upkeep = new Upkeep(this.#core, this.#statics, this.#tiers, this.#journal, settings);
    this.#tiers.open();
  }

  async answer({ name, args }: CacheRequestMessage, signal: AbortSignal, onEvent: (event: never) => void): Promise<Value<CacheRequestName>> {
    switch (name) {
      case "ask":
        return this.#ask(args, signal);
      case "settle":
        return this.#settle(args);
      case "set":
        return this.#set(args);
      case "get":
        return this.#get(args.json);
      case "explain": {
        const { key, json, reproducible } = await this.#subjects.describe(args.subject);
        return { key, json, reproducible };
      }
      case "count":
        return this.#count(args);
      case "entries":
        await this.#upkeep.tellUses();
        return listEntries(await this.#tiers.entries(), args);
      case "entry":
        return this.#entry(args.key);
      case "delete":
        return this.#delete(args.keys);
      case "invalidate":
        return this.#delete(await this.#tiers.matching(args));
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

  async #ask({ subject, mode }: CacheRequests["ask"]["args"], signal: AbortSignal): Promise<Answer> {
    const asked = await this.#subjects.describe(subject);
    if (mode === "auto" && (this.#settings.use === "none" || !asked.reproducible)) return { status: "off" };
    const begun = performance.now();
    const { key } = asked;
    if (mode !== "refresh") {
      const hit = (await this.#lookUp(asked, subject, begun, mode !== "only")) ?? (await this.#lookUpMeaning(asked, subject, begun, signal));
      if (hit !== undefined) return hit;
      if (mode === "only") {
        this.#missed(asked, begun);
        throw new CacherError("not-cached", "the cache has no answer to this request", { key });
      }
    }
    for (;;) {
      const got = await this.#leases.take(key, signal);
      if (got === "join") return { status: "join", key };
      if (typeof got !== "number") {
        const shared = got.record === null ? await this.#tiers.findAgain(key) : this.#tiers.take(key, got.record, { stale: false });
        const answer = shared && (await this.#toAnswer(shared, asked, subject, begun, { shared: true }));
        if (answer !== undefined) return answer;
        continue;
      }
      // Another tab may have ended it between the look and the lock.
      const late = mode === "refresh" || !this.#leases.acrossTabs ? undefined : await this.#tiers.findAgain(key);
      const answer = late && (await this.#toAnswer(late, asked, subject, begun, { shared: true }));
      if (answer !== undefined) {
        this.#leases.end(got)?.release();
        return answer;
      }
      if (mode === "refresh") this.#refreshes(key);
      else this.#missed(asked, begun);
      this.#leased.set(got, asked);
      return { status: "lead", key, lease: got };
    }
  }

  async #lookUp(asked: Asked, subject: Subject, begun: number, refresh: boolean): Promise<HitAnswer | undefined> {
    // A state's answer cannot be computed in the background: it would be written on.
    const hit = await this.#tiers.find(asked.key, { stale: subject.kind !== "state", count: true });
    return hit && this.#toAnswer(hit, asked, subject, begun, { refresh });
  }

  /** Looks for the answer to a prompt that means the same. */
  async #lookUpMeaning(asked: Asked, subject: Subject, begun: number, signal: AbortSignal): Promise<HitAnswer | undefined> {
    if (!this.#settings.semantic || asked.semantic === null) return undefined;
    try {
      const match = await this.#semantics.match(asked, this.#settings.semanticThreshold, signal);
      if (match === undefined) return undefined;
      const content = await this.#subjects.content(subject, asked, match.hit.value);
      const label = { ...toLabel(match.hit, match.hit.entry.key, false), hit: "semantic" as const, score: match.score, matchedPrompt: match.prompt };
      this.#counted("semantic", match.hit, begun);
      return { status: "hit", label, content, entry: match.hit.entry, refresh: null };
    } catch (error) {
      if (toCacherError(error).code === "aborted") throw error;
      this.#fault(asked.key, null, messageOf(error));
      return undefined;
    }
  }

  /** A hit as an answer; `undefined` where it turns out to be none, and is then dropped. */
  async #toAnswer(hit: Hit, asked: Asked, subject: Subject, begun: number, { shared = false, refresh: may = false }): Promise<HitAnswer | undefined> {
    let content: Content;
    try {
      content = await this.#subjects.content(subject, asked, hit.value);
    } catch (error) {
      this.#rejected(hit.layer, asked.key, messageOf(error));
      await this.#tiers.delete([asked.key]);
      return undefined;
    }
    this.#counted(hit.stale ? "stale" : shared ? "shared" : "exact", hit, begun);
    let refresh: number | null = null;
    if (may && (hit.stale || hit.due) && subject.kind !== "state") {
      refresh = await this.#leases.takeIfFree(asked.key);
      if (refresh !== null) {
        this.#leased.set(refresh, asked);
        this.#refreshes(asked.key);
      }
    }
    return { status: "hit", label: toLabel(hit, asked.key, shared), content, entry: hit.entry, refresh };
  }

  #counted(what: "exact" | "stale" | "semantic" | "shared", { entry, layer }: Hit, begun: number): void {
    this.#core.answered(what, entry.model ?? undefined, performance.now() - begun, entry.costMs, entry.tokens);
    this.#upkeep.noteUse(entry);
    this.#journal.tell({ type: "hit", key: entry.key, layer, hit: what === "shared" ? "exact" : what });
  }

  #refreshes(key: string): void {
    this.#core.answered("refresh", undefined, 0, 0, 0);
    this.#journal.tell({ type: "refresh", key });
  }

  #missed(asked: Asked, begun: number): void {
    this.#core.answered("miss", asked.model ?? undefined, performance.now() - begun, 0, 0);
    this.#journal.tell({ type: "miss", key: asked.key });
  }

  async #settle({ lease, outcome, keeping }: CacheRequests["settle"]["args"]): Promise<CacheEntry | null> {
    const asked = this.#leased.get(lease);
    this.#leased.delete(lease);
    const ended = this.#leases.end(lease);
    if (asked === undefined || ended === undefined) return null;
    const { key } = asked;
    if (outcome.type === "failed") this.#channel.post({ kind: "failed", key, code: outcome.code, message: outcome.message });
    if (outcome.type === "failed" || outcome.type === "dropped") {
      ended.release();
      return null;
    }
    try {
      const { entry, written } = this.#put(asked, outcome, keeping);
      void written.finally(() => ended.release());
      return entry;
    } catch (error) {
      ended.release();
      this.#fault(key, "memory", messageOf(error));
      return null;
    }
  }

  #put(asked: Asked, outcome: Extract<Outcome, { type: "generation" | "value" }>, keeping: Keeping): { entry: CacheEntry; written: Promise<void> } {
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
    const { entry, record, written } = this.#tiers.put(made, value, vector);
    const shared = record.length <= MAX_SHARED_BYTES;
    this.#writing.add(written);
    void written.finally(() => this.#writing.delete(written));
    if (!this.#tidied) {
      // A process or a page may be gone before the clock strikes.
      this.#tidied = true;
      void written.then(() => this.#upkeep.cleanUp());
    }
    const announce = () => this.#channel.post({ kind: "set", key, record: shared ? record : null });
    if (shared) announce();
    else void written.then(announce);
    this.#journal.tell({ type: "set", key });
    this.#journal.tellOfCore();
    return { entry, written };
  }

  async #set({ json, value, source, keeping }: CacheRequests["set"]["args"]): Promise<CacheEntry> {
    const asked = await this.#subjects.describe({ kind: "value", json, stream: false });
    const { entry, written } = this.#put(asked, { type: "value", value, source }, keeping);
    await written;
    return entry;
  }

  async #get(json: string): Promise<HitAnswer | null> {
    const subject: Subject = { kind: "value", json, stream: false };
    const asked = await this.#subjects.describe(subject);
    const begun = performance.now();
    const hit = await this.#tiers.find(asked.key, { stale: false, count: true });
    const answer = hit && (await this.#toAnswer(hit, asked, subject, begun, {}));
    if (answer === undefined) this.#missed(asked, begun);
    return answer ?? null;
  }

  #count({ what, reason }: CacheRequests["count"]["args"]): null {
    if (what === "shared") this.#core.answered("shared", undefined, 0, 0, 0);
    else this.#fault(null, null, reason);
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

  #rejected(layer: string, key: string, reason: string): void {
    this.#core.observe(layer, "rejected", 0);
    this.#journal.tell({ type: "error", key, layer, reason });
  }

  #fault(key: string | null, layer: string | null, reason: string): void {
    this.#core.answered("error", undefined, 0, 0, 0);
    this.#journal.tell({ type: "error", key, layer, reason });
  }
}

function toLabel({ stale, layer, entry }: Hit, key: string, shared: boolean): CacheLabel {
  return {
    hit: stale ? "stale" : "exact",
    layer,
    key,
    ageMs: Math.max(0, Date.now() - entry.created),
    shared,
    savedMs: entry.costMs,
    score: null,
    matchedPrompt: null,
  };
}

/** As the engine replays it. */
function toRecording({ result, chunks }: Extract<Outcome, { type: "generation" }>): string {
  const { seed, tokens, timings } = result;
  return JSON.stringify({ seed: seed.toString(), tokens, chunks, timings });
}

function coreSettings(settings: CacheSettings): object {
  const { maxEntries, maxBytes, ttlMs, ttlJitter, staleMs, earlyRefresh, compressOver, pinnedTags, semanticThreshold } = settings;
  return { maxEntries, maxBytes, ttlMs, ttlJitter, staleMs, earlyRefresh, compressOver, pinnedTags, semanticThreshold };
}
